"""Save a view of an experiment in MLflow: a table that compares runs, sorted by validation loss."""

from __future__ import annotations

import json
import urllib.parse
from typing import TYPE_CHECKING

from pipeline.tracking.tags import BEATS_BASELINE, BEST_OF, DVC_EXPERIMENT, MISSED_CLASSES, STATUS, VERDICT

if TYPE_CHECKING:
    from mlflow import MlflowClient

VIEW = "best"
ORDER = "metrics.`val_loss_best`"
# The table sorts columns by kind and name. With a third metric, the learning rate would not be visible in a window of
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
    "Runs are ordered by val_loss_best, the validation loss at a run's best epoch (cross-entropy, nats per pixel). "
    "Each row is one seed. The report instead ranks settings (a variant at a learning rate) by their mean loss over "
    "seeds. Its best run is the run of the best setting whose seed has the median loss. This run has the tag "
    f"{BEST_OF} with the name of the user who compared the grid; to find it, search for "
    f"tags.`{BEST_OF}` LIKE '%NAME%'. The metric gap is validation minus training loss."
)


def save_view(client: MlflowClient, experiment: str, *, is_shared: bool) -> None:
    """Write the view and its note as tags of the experiment, unless it already has them.

    Without the view, MLflow's table shows no parameters and no metrics. MLflow documents neither tag, so a test opens
    the page. If `is_shared`, the table has a column with each run's user.
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
    """Return the URL of the experiment's table of runs in the saved view; the experiment's own URL does not open it."""
    options = {"workflowType": "machine_learning", "viewStateShareKey": VIEW}
    return f"{server.rstrip('/')}/#/experiments/{experiment}/runs?{urllib.parse.urlencode(options)}"
