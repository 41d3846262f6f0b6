"""Read the results of all users' runs on the same data from MLflow, without their files."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.analysis.leaderboard import SeedResult, TeamResults
from pipeline.analysis.measurement import depends_on, list_measurement_changes
from pipeline.artifacts.metric_names import get_column
from pipeline.params import Tracking
from pipeline.tracking.run_content import name_in_mlflow
from pipeline.tracking.search import search_finished
from pipeline.tracking.store import get_tracking_uri, open_client, store_errors
from pipeline.tracking.tags import DATA_FINGERPRINT, MEASUREMENT, STATUS, get_author, get_user
from pipeline.wording import join_words, pluralize

if TYPE_CHECKING:
    from mlflow.entities import Run

_SEED = "seed"
# Parameters that differ between the runs of a setting: with cross-validation, a seed determines the fold.
_OF_A_RUN = (_SEED, "fold", "data.num_train_images", "data.num_val_images")


def read_team_results(
    tracking: Tracking, fingerprint: str, metric: str, measurement: Mapping[str, str] | None = None
) -> TeamResults:
    """Read one result per run of the experiment on the data with this fingerprint.

    Runs on different data are left out, because their values are not comparable. If an author has several runs with
    equal parameters, only the newest is returned, because the older ones used different code.

    Args:
        tracking: the MLflow store and the experiment.
        fingerprint: fingerprint of the data.
        metric: name of the metric that settings are ranked by, as in `compare.rank_by`.
        measurement: how the reader's runs measured metrics, as from `describe_measurement`. Runs that measured this
            metric in another way are left out.
    """
    uri = get_tracking_uri(tracking)
    with store_errors(uri):
        client = open_client(uri)
        experiment = client.get_experiment_by_name(tracking.experiment)
        if experiment is None:
            return TeamResults((), get_user())
        found = search_finished(client, experiment.experiment_id, f"tags.`{DATA_FINGERPRINT}` = '{fingerprint}'")
    newest: dict[tuple[str, str, str], SeedResult] = {}
    left_out: Counter[str] = Counter()
    column = get_column(metric)
    for run in found:
        result = _to_result(run, name_in_mlflow(column))
        if result is None:
            if name_in_mlflow("val_loss") in run.data.metrics:
                left_out[f"without {column} in MLflow. Their authors can upload it with pipeline sync"] += 1
        elif difference := _describe_difference(run, metric, measurement or {}):
            left_out[f"whose {column} was measured in another way: {difference}"] += 1
        else:
            newest[result.author, result.setting, str(result.seed)] = result
    sentences = (f"Left out: {pluralize(number, 'run')} {reason}." for reason, number in left_out.items())
    return TeamResults(tuple(newest.values()), get_user(), tuple(sentences))


def _describe_difference(run: Run, metric: str, measurement: Mapping[str, str]) -> str:
    """Describe how the measurement of a run's metric differs; the text is empty if no difference is known."""
    try:
        own = json.loads(run.data.tags.get(MEASUREMENT, "{}"))
    except ValueError:  # truncated by MLflow's limit
        return ""
    changes = list_measurement_changes(own, measurement)
    return join_words([f"{name} is {was} instead of {now}" for name, was, now in changes if depends_on(metric, name)])


def _to_result(run: Run, name: str) -> SeedResult | None:
    """Convert a run to its result; None if parameters or the metric with this name are missing."""
    params: Mapping[str, str] = run.data.params
    metrics: Mapping[str, float] = run.data.metrics
    is_diverged = run.data.tags.get(STATUS) == "diverged"
    value = None if is_diverged else metrics.get(name)
    if not is_diverged and (value is None or not math.isfinite(value)):
        return None
    try:
        return SeedResult(
            author=get_author(run.data.tags),
            setting=json.dumps(sorted((name, value) for name, value in params.items() if name not in _OF_A_RUN)),
            variant=params["variant"],
            learning_rate=float(params["learning_rate"]),
            seed=int(params[_SEED]),
            value=value,
            gap=metrics.get("gap"),
            val_mean_iou=metrics.get(name_in_mlflow("val_mean_iou")),
        )
    except (KeyError, ValueError):
        return None
