"""A grid's own run in MLflow: what its runs came to together, with the report to be opened there.

Beside the runs and not above them: below a parent MLflow's table shows one collapsed row, and its charts nothing.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import runs
from pipeline.comparison import Summary
from pipeline.files import read_json
from pipeline.params import Params
from pipeline.runs import DataSet
from pipeline.tracking.content import Times
from pipeline.tracking.stored_run import Sent, StoredRun
from pipeline.tracking.tags import GRID_STAGE, NOTE, RUN_KEY, grid_digest, standard_tags, user

if TYPE_CHECKING:
    from mlflow import MlflowClient


def send_grid(
    client: MlflowClient, experiment: str, params: Params, summary: Summary, data: DataSet, root: Path
) -> Sent:
    """Write the grid's run: its findings as the description, the best rate's numbers, comparison and report as files.

    Arguments as of `track`; the run is found again by the grid, the data and who tracks it.
    """
    digest = grid_digest(params.grid)
    # Its own: somebody else's grid of the same cells may have come to something else.
    key = hashlib.sha256(f"{digest} {data.fingerprint} {user()}".encode()).hexdigest()
    found = StoredRun.find(client, experiment, key)
    stored = found or StoredRun.begin(client, experiment, f"grid-{digest}", key)
    tags = {**standard_tags(GRID_STAGE, data.fingerprint, params.grid), RUN_KEY: key, NOTE: _findings(root)}
    stored.describe({"grid": params.grid.model_dump(mode="json")}, tags)
    stored.send_dataset(data.title, data.source, data.fingerprint)
    ended = _ended_ms(summary, root)
    stored.send_values(_numbers(summary), ended)
    stored.send_folder(root / runs.COMPARISON, "comparison")
    if (root / runs.REPORT).exists():
        with tempfile.TemporaryDirectory() as name:  # since the folder of the reports holds other pages too
            shutil.copyfile(root / runs.REPORT, Path(name) / runs.REPORT.name)
            stored.send_folder(Path(name), "report")
    if stored.status != "FINISHED":
        stored.end("FINISHED", ended)
    return stored.sent


def _ended_ms(summary: Summary, root: Path) -> int:
    """When the grid's last epoch ended."""
    trained = [row.run for row in summary.runs if (root / runs.RUNS / row.run / runs.TIMING).exists()]
    return max((Times.read(root / runs.RUNS / run).last_ms or 0 for run in trained), default=0)


def _numbers(summary: Summary) -> dict[str, float]:
    """Under names of their own, so that the grid is no rival of its runs where they are ranked by `val_loss_best`."""
    numbers: dict[str, float | None] = {
        "grid/runs": len(summary.runs),
        "grid/trained": sum(row.trained for row in summary.runs),
    }
    best = summary.best
    for rate in summary.rates:
        if best and (rate.variant, rate.learning_rate) == (best.variant, best.learning_rate):
            numbers |= {
                "grid/best_val_loss_mean": rate.val_loss_mean,
                "grid/best_gap_mean": rate.gap_mean,
                "grid/best_learning_rate": rate.learning_rate,
            }
    if best and best.test:
        numbers |= {"grid/test_loss": best.test.loss, "grid/test_mean_iou": best.test.mean_iou}
    return {name: float(value) for name, value in numbers.items() if value is not None}


def _findings(root: Path) -> str:
    """The findings as a list in Markdown."""
    found = read_json(root / runs.COMPARISON / runs.FINDINGS, "pipeline compare")["findings"]
    return (
        "\n".join(f"- {finding['sentence']}" for finding in found) + "\n\nThe report is among the artifacts: `report/`."
    )
