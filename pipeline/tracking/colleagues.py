"""What everybody's runs of the same data came to, as far as MLflow's server knows: numbers only, no files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.analysis.leaderboard import SeedResult
from pipeline.params import Tracking
from pipeline.tracking.search import finished_runs
from pipeline.tracking.store import answering, open_client, tracking_uri
from pipeline.tracking.tags import DATA_FINGERPRINT, STATUS, author

if TYPE_CHECKING:
    from mlflow.entities import Run

_SEED = "seed"


def everybodys_results(tracking: Tracking, fingerprint: str) -> tuple[SeedResult, ...]:
    """A result a run of the experiment that was trained on these data, whoever trained it, oldest first.

    Of an author's runs with equal parameters the newest counts: earlier ones are of other code.

    Args:
        tracking: whose server, and which experiment.
        fingerprint: of the prepared data; losses on other data say nothing about these.

    Raises:
        PipelineError: The server does not answer.
    """
    uri = tracking_uri(tracking)
    with answering(uri):
        client = open_client(uri)
        experiment = client.get_experiment_by_name(tracking.experiment)
        if experiment is None:
            return ()
        found = finished_runs(client, experiment.experiment_id, f"tags.`{DATA_FINGERPRINT}` = '{fingerprint}'")
    newest: dict[tuple[str, str, str], SeedResult] = {}
    for run in found:
        result = _result(run)
        if result is not None:
            newest[result.author, result.setting, str(result.seed)] = result
    return tuple(newest.values())


def _result(run: Run) -> SeedResult | None:
    """None of a run whose parameters or scores did not come."""
    params: Mapping[str, str] = run.data.params
    metrics: Mapping[str, float] = run.data.metrics
    is_diverged = run.data.tags.get(STATUS) == "diverged"
    loss = None if is_diverged else metrics.get("val_loss_best")
    if not is_diverged and (loss is None or not math.isfinite(loss)):
        return None
    try:
        return SeedResult(
            author=author(run.data.tags),
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
