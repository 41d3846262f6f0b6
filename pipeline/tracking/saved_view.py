"""The saved view of an experiment in MLflow: columns that compare runs, lowest validation loss first."""

from __future__ import annotations

import json
import urllib.parse
from typing import TYPE_CHECKING

from pipeline.tracking.tags import BEATS_BASELINE, BEST_OF, DVC_EXPERIMENT, MISSED_CLASSES, STATUS, VERDICT

if TYPE_CHECKING:
    from mlflow import MlflowClient

VIEW = "best"
ORDER = "metrics.`val_loss_best`"
# The table sorts columns by kind and name. A third metric would move the learning rate out of sight in a window of
# 1,500 pixels with MLflow's side panel open.
COLUMNS = (
    "metrics.`gap`",
    ORDER,
    "params.`learning_rate`",
    "params.`seed`",
    "params.`variant`",
    f"tags.`{BEST_OF}`",
    f"tags.`{VERDICT}`",
    f"tags.`{BEATS_BASELINE}`",
    f"tags.`{MISSED_CLASSES}`",
    f"tags.`{STATUS}`",
)
USER_COLUMN = "attributes.`User`"
NOTE = (
    "Runs are ordered by val_loss_best, the validation loss at a run's best epoch (cross-entropy, nats per pixel); the "
    "first row is a single seed. The report ranks settings (a variant at a learning rate) by their mean over seeds, "
    "and its best run is the median seed of the best setting. That run has the tag "
    f"{BEST_OF} with the name of the person whose report it is; to find it, search for "
    f"tags.`{BEST_OF}` LIKE '%NAME%'. gap: validation minus training loss."
)


def save_view(client: MlflowClient, experiment: str, *, is_shared: bool) -> None:
    """Write view and note as tags of the experiment, unless it has them.

    MLflow documents neither tag; a test opens the page. Without the view its table shows no parameter and no metric.
    If the experiment is shared by several users, the table shows whose a run is.
    """
    has_dvc = len(client.search_runs([experiment], f"tags.`{DVC_EXPERIMENT}` != ''", max_results=1)) > 0
    state = {
        "orderByKey": ORDER,
        "orderByAsc": True,
        "searchFilter": "",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [
            *((USER_COLUMN,) if is_shared else ()),
            *((f"tags.`{DVC_EXPERIMENT}`",) if has_dvc else ()),
            *COLUMNS,
        ],
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "groupBy": None,
    }
    expected = {f"mlflow.sharedViewState.{VIEW}": json.dumps(state), "mlflow.note.content": NOTE}
    tags = client.get_experiment(experiment).tags
    for name, text in expected.items():
        if tags.get(name) != text:
            client.set_experiment_tag(experiment, name, text)


def format_view_url(server: str, experiment: str) -> str:
    """Return the URL of the table of runs in that view; the plain URL of an experiment opens another page."""
    options = {"workflowType": "machine_learning", "viewStateShareKey": VIEW}
    return f"{server.rstrip('/')}/#/experiments/{experiment}/runs?{urllib.parse.urlencode(options)}"
