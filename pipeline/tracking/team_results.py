"""Read the results of all users' runs on the same data from MLflow, without their files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.analysis.leaderboard import SeedResult
from pipeline.params import Tracking
from pipeline.tracking.run_metrics import name_in_mlflow
from pipeline.tracking.search import search_finished
from pipeline.tracking.store import open_client, store_errors, tracking_uri
from pipeline.tracking.tags import DATA_FINGERPRINT, STATUS, get_author

if TYPE_CHECKING:
    from mlflow.entities import Run

_SEED = "seed"
# Parameters that differ between the runs of a setting: with cross-validation, a seed determines the fold.
_OF_A_RUN = (_SEED, "fold", "data.num_train_images", "data.num_val_images")


@dataclass(frozen=True)
class TeamRuns:
    """The results of all users' runs on the same data."""

    results: tuple[SeedResult, ...]  # oldest first
    num_unknown: int  # finished runs that are left out, because MLflow does not have their metric


def read_team_results(tracking: Tracking, fingerprint: str, column: str) -> TeamRuns:
    """Read one result per run of the experiment on the data with this fingerprint.

    Runs on different data are left out, because their values are not comparable. If an author has several runs with
    equal parameters, only the newest is returned, because the older ones used different code.

    Args:
        tracking: the MLflow store and the experiment.
        fingerprint: fingerprint of the data.
        column: column of `comparison/runs.csv` with the metric that settings are ranked by.
    """
    uri = tracking_uri(tracking)
    with store_errors(uri):
        client = open_client(uri)
        experiment = client.get_experiment_by_name(tracking.experiment)
        if experiment is None:
            return TeamRuns((), 0)
        found = search_finished(client, experiment.experiment_id, f"tags.`{DATA_FINGERPRINT}` = '{fingerprint}'")
    newest: dict[tuple[str, str, str], SeedResult] = {}
    num_unknown = 0
    for run in found:
        result = _to_result(run, name_in_mlflow(column))
        if result is None:
            num_unknown += name_in_mlflow("val_loss") in run.data.metrics
        else:
            newest[result.author, result.setting, str(result.seed)] = result
    return TeamRuns(tuple(newest.values()), num_unknown)


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
