"""Save views of an experiment in MLflow: its settings by their mean metric over seeds, and its runs by this metric.

The metric is `compare.rank_by`, by default the validation loss.

MLflow's menu *Views* lists them by name. Without them, its table shows no parameters and no metrics, and its charts
show ten runs in the order in which they started.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.analysis.ranked_metric import RankedMetric, get_metric
from pipeline.artifacts.metric_names import RankBy
from pipeline.tracking.run_content import TRAIN_LOSS, VAL_LOSS, name_in_mlflow
from pipeline.tracking.run_images import GROUND_TRUTH, IMAGE, PREDICTION, RESULT_STEP
from pipeline.tracking.tags import BEATS_BASELINE, BEST_OF, DVC_EXPERIMENT, MISSED_CLASSES, SETTING, STATUS, VERDICT

if TYPE_CHECKING:
    from mlflow import MlflowClient

VIEW = "best"  # runs
SETTINGS_VIEW = "settings"
TAG = "mlflow.sharedViewState."
# The table sorts columns by kind and name. With a third metric, the learning rate would not be visible in a window of
# 1,500 pixels with MLflow's side panel open.
COLUMNS = (
    "metrics.`gap`",
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
# Means over the seeds of a setting, whose name contains the variant and the learning rate.
SETTING_COLUMNS = tuple(f"metrics.`{name}`" for name in ("gap", *map(name_in_mlflow, ("val_loss", "val_mean_iou"))))
MAX_COLLAPSED = 100  # settings whose runs are hidden at first; MLflow limits the length of the tag


def name_views(metric: RankedMetric) -> dict[str, str]:
    """Return the names of the views."""
    return {VIEW: f"Runs by {metric.title}", SETTINGS_VIEW: f"Settings by mean {metric.title}"}


def describe_ranking(metric: RankedMetric) -> str:
    """Describe the order of the runs, for the page of the experiment."""
    return (
        f"Runs are ordered by {name_in_mlflow(metric.column)}, the {metric.title} at a run's best epoch. "
        "Each row is one seed. The report instead ranks settings (a variant at a learning rate) by their mean over "
        f"seeds, like the view *{name_views(metric)[SETTINGS_VIEW]}* in the menu *Views*. Its best run is the run of "
        "the best setting whose seed has the median value. This run has the tag "
        f"{BEST_OF} with the name of the user who compared the grid; to find it, search for "
        f"tags.`{BEST_OF}` LIKE '%NAME%'. Losses are cross-entropy in nats per pixel. The metric gap is validation "
        "minus training loss."
    )


def save_view(client: MlflowClient, experiment: str, rank_by: RankBy, *, is_shared: bool) -> None:
    """Write the views and their note as tags of the experiment, unless it already has them.

    MLflow documents none of these tags, so tests open the pages.

    Args:
        client: client of the store.
        experiment: id of the experiment.
        rank_by: metric that settings are ranked by.
        is_shared: whether the tables have a column with each run's user.
    """
    metric = get_metric(rank_by, (), ("boundary",))  # MLflow may have runs on data with other classes
    found = client.get_experiment(experiment)
    has_dvc = len(client.search_runs([experiment], f"tags.`{DVC_EXPERIMENT}` != ''", max_results=1)) > 0
    columns = [
        *((USER_COLUMN,) if is_shared else ()),
        *((f"tags.`{DVC_EXPERIMENT}`",) if has_dvc else ()),
        f"metrics.`{name_in_mlflow(metric.column)}`",
        *COLUMNS,
    ]
    settings = _list_settings(client, experiment)
    states = {
        VIEW: _create_state(columns, metric) | _show_runs(metric),
        SETTINGS_VIEW: _create_state(SETTING_COLUMNS, metric) | _show_settings(settings, metric),
    }
    expected, names = {"mlflow.note.content": describe_ranking(metric)}, name_views(metric)
    for place, (view, state) in enumerate(states.items()):
        created_ms = (found.creation_time or 0) + place  # the menu lists the newest view first
        envelope = {"name": names[view], "createdAt": created_ms, "updatedAt": created_ms, "state": json.dumps(state)}
        expected[f"{TAG}{view}"] = json.dumps(envelope)
    for name, text in expected.items():
        if found.tags.get(name) != text:
            client.set_experiment_tag(experiment, name, text)


def format_view_url(server: str, experiment: str, view: str = VIEW) -> str:
    """Return the URL of a view, which the experiment's own URL does not open: settings as charts, runs as a table."""
    options = {"workflowType": "machine_learning", "viewStateShareKey": view}
    if view == SETTINGS_VIEW:
        options["compareRunsMode"] = "CHART"
    return f"{server.rstrip('/')}/#/experiments/{experiment}/runs?{urllib.parse.urlencode(options)}"


def _create_state(columns: Sequence[str], metric: RankedMetric) -> dict[str, Any]:
    """Create the state of MLflow's page, sorted by a metric, best first."""
    ordered = f"metrics.`{name_in_mlflow(metric.column)}`"
    return {
        "orderByKey": ordered,
        "orderByAsc": metric.is_lower_better,
        "searchFilter": "",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(dict.fromkeys((*columns, ordered))),
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsHiddenMode": "SHOW_ALL",
        "groupBy": None,
        "isAccordionReordered": True,  # otherwise, the page sorts sections by name
    }


def _show_runs(metric: RankedMetric) -> dict[str, Any]:
    """Return the changes to the state for the most telling charts first, followed by images of the showcase."""
    return {
        "compareRunSections": [
            _create_section(_RESULTS, "Results, best first"),
            _create_section(_PREDICTIONS, "Predictions (0: best)", columns=1, height=560),
            _create_section(_SHOWCASE, "Showcase"),
        ],
        "compareRunCharts": [
            *_create_result_charts(metric),
            _create_chart("IMAGE", _PREDICTIONS, PREDICTION, **_IMAGES),
            _create_chart("IMAGE", _SHOWCASE, IMAGE, **_IMAGES),
            _create_chart("IMAGE", _SHOWCASE, GROUND_TRUTH, **_IMAGES),
        ],
    }


def _show_settings(settings: Sequence[str], metric: RankedMetric) -> dict[str, Any]:
    """Return the changes to the state for one row, bar and curve per setting: the means over its runs."""
    images = [_create_chart("IMAGE", _RESULTS, key, deleted=True) for key in (IMAGE, GROUND_TRUTH, PREDICTION)]
    return {
        "searchFilter": f"tags.`{SETTING}` != ''",
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": SETTING}]},
        "groupsExpanded": {f"tag.{SETTING}.{name}": False for name in settings[:MAX_COLLAPSED]},
        "useGroupedValuesInCharts": True,
        "compareRunSections": [_create_section(_RESULTS, "Means over seeds, best first")],
        "compareRunCharts": [*_create_result_charts(metric), *images],
    }


def _list_settings(client: MlflowClient, experiment: str) -> list[str]:
    """Return the settings of the newest runs, sorted by name."""
    runs = client.search_runs([experiment], f"tags.`{SETTING}` != ''", max_results=1000)
    return sorted({run.data.tags[SETTING] for run in runs})


_RESULTS, _PREDICTIONS, _SHOWCASE = "results", "predictions", "showcase"  # sections of charts
_IMAGES = {"step": RESULT_STEP, "showRunParams": False}  # a run's parameters would fill the chart


def _create_result_charts(metric: RankedMetric) -> list[dict[str, Any]]:
    # A logarithmic axis, because high losses in the first epochs would flatten all other curves.
    line = {"scaleType": "log", "xAxisKey": "step", "range": {}, "lineSmoothness": 0}
    return [
        _create_chart("BAR", _RESULTS, name_in_mlflow(metric.column)),
        _create_chart("LINE", _RESULTS, VAL_LOSS, **line),
        _create_chart("BAR", _RESULTS, "gap"),
        _create_chart("LINE", _RESULTS, TRAIN_LOSS, **line),
    ]


def _create_section(identifier: str, name: str, columns: int = 2, height: int = 330) -> dict[str, Any]:
    section = {"uuid": identifier, "name": name, "display": True, "isReordered": True, "deleted": False}
    return {**section, "isGenerated": False, "columns": columns, "cardHeight": height}


def _create_chart(kind: str, section: str, key: str, **options: Any) -> dict[str, Any]:
    """Create a chart of a metric, or of images, with this key."""
    chart = {"type": kind, "uuid": f"{section}-{key}", "metricSectionId": section, "runsCountToCompare": 10}
    keys = {"imageKeys": [key]} if kind == "IMAGE" else {"metricKey": key}
    return {**chart, **keys, "deleted": False, "isGenerated": False, **options}
