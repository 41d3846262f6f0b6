"""Finished runs written into MLflow from their folders, as often as one likes: what lacks there is sent, and no more.

DVC restores a run from its cache without training it, and a server may have been down while one trained; here MLflow
gets all the same what it would have been told live.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from pipeline import runs
from pipeline.comparison import RunRow, Summary
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.runs import DataSet, Evaluation, RunRecord
from pipeline.tracking import content, view
from pipeline.tracking.best_run import mark_best
from pipeline.tracking.grid_run import send_grid
from pipeline.tracking.store import answering, experiment_id, is_server, open_client, tracking_uri
from pipeline.tracking.stored_run import Sent, StoredRun
from pipeline.tracking.tags import (
    BEATS_BASELINE,
    MISSED_CLASSES,
    NOTE,
    STATUS,
    VERDICT,
    beats_baseline,
    missed_classes,
    standard_tags,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOCK = runs.SCRATCH / "track.lock"


def track(params: Params, names: Sequence[str], root: Path = Path(), to: str | None = None) -> Iterator[Sent]:
    """Send finished runs to MLflow, one after the other, and at the end what the grid came to.

    Args:
        params: where to track, and the grid that the runs are of.
        names: of the runs; each must lie in `runs/`.
        root: the project's folder, or a study's.
        to: MLflow's address, if it is another than the one where the project tracks.

    Raises:
        PipelineError: A run's files are missing or broken, or the store does not answer; what was sent stands.
    """
    uri = tracking_uri(params.tracking, to)
    data = DataSet.read(root / runs.PREPARED)
    summary = _summary(params, root)
    rows = {row.run: row for row in summary.runs} if summary else {}
    (root / runs.SCRATCH).mkdir(exist_ok=True)
    # Two at once would both find a run missing, and make it.
    with FileLock(root / LOCK), answering(uri):
        client = open_client(uri)
        experiment = experiment_id(client, uri, params.tracking.experiment)
        for name in names:
            yield _send(client, experiment, params, root / runs.RUNS / name, data, rows.get(name))
        if summary:
            mark_best(client, experiment, summary, data, root)
            yield send_grid(client, experiment, params, summary, data, root)
        view.save(client, experiment, is_shared=is_server(uri))


def tracked_names(params: Params, root: Path) -> list[str]:
    """The runs of the grid that are there to be tracked."""
    return [cell.name for cell in params.cells() if (root / runs.RUNS / cell.name / runs.RECORD).exists()]


def _summary(params: Params, root: Path) -> Summary | None:
    """What the comparison says, where there is one of this grid."""
    if not (root / runs.COMPARISON / runs.SUMMARY).exists():
        return None
    summary = Summary.read(root / runs.COMPARISON)
    return summary if [row.run for row in summary.runs] == [cell.name for cell in params.cells()] else None


def _send(
    client: MlflowClient, experiment: str, params: Params, folder: Path, data: DataSet, row: RunRow | None
) -> Sent:
    record, times = RunRecord.read(folder), content.Times.read(folder)
    history = content.read_history(folder)
    if len(history) != len(times.ended_ms):
        raise PipelineError(
            f"{folder}: {runs.HISTORY} has {len(history)} epochs and {runs.TIMING} {len(times.ended_ms)}. "
            f"Train it again: dvc repro --force train@{record.run}"
        )
    stored = StoredRun.find(client, experiment, record.key)
    if stored is None or stored.status != "FINISHED":
        stored = StoredRun.begin(client, experiment, record.run, record.key, times.began_ms)
    tags: dict[str, str] = {STATUS: record.status}
    if row is not None and row.judgement is not None:
        tags |= {VERDICT: row.judgement.verdict, NOTE: _note(row)}
        tags[BEATS_BASELINE] = beats_baseline(row.judgement.beats_baseline)
        tags[MISSED_CLASSES] = missed_classes(row.missed_classes)
    if stored.sent.is_new:
        tags = {**standard_tags("track", record.data_fingerprint, params.grid), **tags}
    stored.describe(content.parameters(record.cell, record.precision), tags)
    if record.data_fingerprint == data.fingerprint:
        stored.send_dataset(data.title, data.source, data.fingerprint)
    epochs = zip(history, times.ended_ms, strict=True)
    stored.send_epochs([(number, values, ended) for number, (values, ended) in enumerate(epochs, start=1)])
    stored.send_folder(folder, "run")
    evaluated = folder.parents[1] / runs.EVALUATION / record.run
    if _is_evaluated(evaluated, record):
        if times.last_ms is not None:
            stored.send_values(content.best_metrics(Evaluation.read(evaluated), record, times), times.last_ms)
        stored.send_folder(evaluated, "evaluation")
    if stored.status != "FINISHED":
        stored.end("FINISHED", times.last_ms)
    return stored.sent


def _is_evaluated(folder: Path, record: RunRecord) -> bool:
    """Whether an evaluation of this very training lies there."""
    return (folder / runs.METRICS).exists() and Evaluation.read(folder).key == record.key


def _note(row: RunRow) -> str:
    """Describe a run in Markdown: missed classes first, then the verdict on its loss curve and its evidence."""
    assert row.judgement is not None
    evidence = "; ".join(row.judgement.evidence)
    best = f" Best epoch: {row.best_epoch} of {row.epochs}." if row.best_epoch else ""
    missed = f"Missed classes: {missed_classes(row.missed_classes)}. " if row.missed_classes else ""
    return f"{missed}Verdict on the loss curve: **{row.judgement.verdict}**: {evidence}.{best}"
