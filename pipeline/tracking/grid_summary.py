"""A grid's own run in MLflow: what its runs came to together, with the report to be opened there.

Beside the runs and not above them: below a parent MLflow's table shows one collapsed row, and its charts nothing.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import runs
from pipeline.atomic_io import read_json
from pipeline.comparison import Summary
from pipeline.params import Params
from pipeline.runs import DataSet
from pipeline.tracking.mlflow_run import MlflowRun, Sent
from pipeline.tracking.run_metrics import Times
from pipeline.tracking.tags import (
    BEATS_BASELINE,
    BEST_RUN,
    GRID_STAGE,
    NOTE,
    beats_baseline,
    dvc_experiment,
    grid_digest,
    standard_tags,
    user,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient


def send_grid(
    client: MlflowClient,
    experiment: str,
    params: Params,
    summary: Summary,
    data: DataSet,
    root: Path,
    *,
    with_report: bool = True,
) -> Sent:
    """Write the grid's run: its findings as the description, comparison and report as files.

    No metrics: each would be a chart with one bar, above those of the runs. Arguments as of `track`; the run is found
    again by the grid, the data, who tracks it, and DVC's experiment. A report on the disk may be older than the
    comparison, and is left out without `with_report`.
    """
    digest, key = grid_digest(params.grid), _key(params, data)
    began_ms, ended_ms = _span(summary, root)
    stored = MlflowRun.find(client, experiment, key) or MlflowRun.begin(
        client, experiment, f"grid-{digest}", key, began_ms
    )
    if stored.status != "FINISHED":  # first of all: a grid's run has no training that could be under way
        stored.end("FINISHED", stored.began_ms if ended_ms is None else ended_ms)
    tags = {**standard_tags(GRID_STAGE, data.fingerprint, params.grid), NOTE: _findings(root)}
    if summary.best:
        tags[BEST_RUN] = summary.best.run
        row = next(row for row in summary.runs if row.run == summary.best.run)
        tags[BEATS_BASELINE] = beats_baseline(row.judgement.beats_baseline if row.judgement else None)
    stored.describe({"grid": params.grid.model_dump(mode="json")}, tags)
    stored.send_dataset(data.title, data.source, data.fingerprint)
    stored.send_folder(root / runs.COMPARISON, "comparison")
    if with_report:
        _attach_report(stored, root)
    return stored.sent


def send_report(client: MlflowClient, experiment: str, params: Params, data: DataSet, root: Path) -> Iterator[Sent]:
    """Attach the report to the grid's run; nothing is sent if MLflow does not have that run."""
    stored = MlflowRun.find(client, experiment, _key(params, data))
    if stored is not None:
        _attach_report(stored, root)
        yield stored.sent


def _key(params: Params, data: DataSet) -> str:
    """Return the run key of a grid; another person's grid of the same cells may have other results."""
    parts = [grid_digest(params.grid), data.fingerprint, user(), *filter(None, [dvc_experiment()])]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def _attach_report(stored: MlflowRun, root: Path) -> None:
    if not (root / runs.REPORT).exists():
        return
    with tempfile.TemporaryDirectory() as name:  # since the folder of the reports holds other pages too
        shutil.copyfile(root / runs.REPORT, Path(name) / runs.REPORT.name)
        stored.send_folder(Path(name), "report")


def _span(summary: Summary, root: Path) -> tuple[int | None, int | None]:
    """When the grid's first training began and its last one ended, in milliseconds since 1970; None if unknown."""
    folders = [root / runs.RUNS / row.run for row in summary.runs if row.trained]
    known = [times for folder in folders if (times := Times.read(folder))]
    if len(known) < len(folders):  # those known could be the short part of it
        return None, None
    began = [times.began_ms for times in known if times.began_ms is not None]
    ended = [times.last_ms for times in known if times.last_ms is not None]
    return min(began, default=None), max(ended, default=None)


def _findings(root: Path) -> str:
    """The findings as a list in Markdown."""
    found = read_json(root / runs.COMPARISON / runs.FINDINGS, "pipeline compare")["findings"]
    sentences = "\n".join(f"- {finding['sentence']}" for finding in found)
    return f"{sentences}\n\nThe report is among the artifacts: `report/{runs.REPORT.name}`."
