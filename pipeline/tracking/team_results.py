"""Read the results of all users' runs on the same data from MLflow, without their files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.analysis.leaderboard import SeedResult
from pipeline.params import Tracking
from pipeline.tracking.search import search_finished
from pipeline.tracking.store import open_client, store_errors, tracking_uri
from pipeline.tracking.tags import DATA_FINGERPRINT, STATUS, get_author

if TYPE_CHECKING:
    from mlflow.entities import Run

_SEED = "seed"


def read_team_results(tracking: Tracking, fingerprint: str) -> tuple[SeedResult, ...]:
    """Return one result per run of the experiment on the data with this fingerprint, oldest first.

    Runs on different data are left out, because their losses are not comparable. If an author has several runs with
    equal parameters, only the newest is returned, because the older ones used different code.
    """
    uri = tracking_uri(tracking)
    with store_errors(uri):
        client = open_client(uri)
        experiment = client.get_experiment_by_name(tracking.experiment)
        if experiment is None:
            return ()
        found = search_finished(client, experiment.experiment_id, f"tags.`{DATA_FINGERPRINT}` = '{fingerprint}'")
    newest: dict[tuple[str, str, str], SeedResult] = {}
    for run in found:
        result = _to_result(run)
        if result is not None:
            newest[result.author, result.setting, str(result.seed)] = result
    return tuple(newest.values())


def _to_result(run: Run) -> SeedResult | None:
    """Convert a run to its result; None if parameters or scores are missing."""
    params: Mapping[str, str] = run.data.params
    metrics: Mapping[str, float] = run.data.metrics
    is_diverged = run.data.tags.get(STATUS) == "diverged"
    loss = None if is_diverged else metrics.get("val_loss_best")
    if not is_diverged and (loss is None or not math.isfinite(loss)):
        return None
    try:
        return SeedResult(
            author=get_author(run.data.tags),
            setting=json.dumps(sorted((name, value) for name, value in params.items() if name != _SEED)),
            variant=params["variant"],
            learning_rate=float(params["learning_rate"]),
            seed=int(params[_SEED]),
            val_loss=loss,
            gap=metrics.get("gap"),
            val_mean_iou=metrics.get("val_mean_iou_best"),
        )
    except (KeyError, ValueError):
        return None
