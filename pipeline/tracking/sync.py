"""Finished runs written into MLflow from their folders, as often as one likes: what lacks there is sent, and no more.

DVC restores a run from its cache without training it, and a server may have been down while one trained; here MLflow
gets all the same what it would have been told live.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from pipeline import runs
from pipeline.comparison import RunRow, Summary
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.project import project_root
from pipeline.runs import DataSet, Evaluation, RunRecord
from pipeline.runtime.shutdown import check_signals, hold
from pipeline.tracking import run_metrics as content
from pipeline.tracking import saved_view as view
from pipeline.tracking.best_run import mark_best
from pipeline.tracking.grid_summary import send_grid, send_report
from pipeline.tracking.mlflow_run import MlflowRun, Sent, runs_by_key, update_tags
from pipeline.tracking.store import answering, experiment_id, is_server, open_client, tracking_uri
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

LOCK = runs.SCRATCH / "track.lock"  # in the project's folder
_PATIENCE = 10.0  # seconds that a stage waits for another process to finish sending


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
    with _alone(root), answering(uri):
        client = open_client(uri)
        experiment = experiment_id(client, uri, params.tracking.experiment)
        for name in names:
            check_signals()
            yield _send(client, experiment, params, root / runs.RUNS / name, data, rows.get(name))
        if summary:
            mark_best(client, experiment, summary, data, root)
            yield send_grid(client, experiment, params, summary, data, root)
        view.save(client, experiment, is_shared=is_server(uri))


def track_comparison(params: Params, root: Path = Path()) -> Generator[Sent, None, None]:
    """Send what a comparison found: verdicts, the mark of the best run, and the grid's own run without the report.

    Runs that MLflow has cost one search and one call for each changed verdict; a missing one is sent whole.

    Raises:
        PipelineError: A run's files are missing or broken, or the store does not answer; what was sent remains.
    """
    uri = tracking_uri(params.tracking)
    data = DataSet.read(root / runs.PREPARED)
    summary = _summary(params, root)
    if summary is None:
        return
    rows = {row.run: row for row in summary.runs}
    with _alone(root, _PATIENCE), answering(uri):
        client = open_client(uri)
        experiment = experiment_id(client, uri, params.tracking.experiment)
        known = runs_by_key(client, experiment, data.fingerprint)
        for name in tracked_names(params, root):
            check_signals()
            folder = root / runs.RUNS / name
            record = RunRecord.read(folder)
            run = known.get(record.key)
            if run is None or run.info.status != "FINISHED":
                yield _send(client, experiment, params, folder, data, rows[name])
            else:
                update_tags(client, run, _result_tags(record, rows[name]))
                yield Sent(name, is_new=False, points=0, folders=0)
        mark_best(client, experiment, summary, data, root)
        yield send_grid(client, experiment, params, summary, data, root, with_report=False)
        view.save(client, experiment, is_shared=is_server(uri))


def attach_report(params: Params, root: Path = Path()) -> Generator[Sent, None, None]:
    """Send the report to the grid's own run, if MLflow has that run.

    Raises:
        PipelineError: The store does not answer.
    """
    uri = tracking_uri(params.tracking)
    data = DataSet.read(root / runs.PREPARED)
    with _alone(root, _PATIENCE), answering(uri):
        client = open_client(uri)
        experiment = client.get_experiment_by_name(params.tracking.experiment)
        if experiment is not None and experiment.lifecycle_stage == "active":
            yield from send_report(client, experiment.experiment_id, params, data, root)


@contextlib.contextmanager
def _alone(root: Path, patience: float = -1) -> Iterator[None]:
    """Hold the project's lock: two processes would both find a run missing, and create it.

    Args:
        root: the project's folder, a study's, or DVC's copy for an experiment.
        patience: seconds to wait for it; negative: as long as it takes.
    """
    path = project_root(root) / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with hold(FileLock(path, timeout=patience)):
            yield
    except Timeout:
        raise PipelineError(f"Another process sends runs to MLflow; it holds {path}.") from None


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
    if times is not None and len(history) != len(times.ended_ms):
        raise PipelineError(
            f"{folder}: {runs.HISTORY} has {len(history)} epochs and {runs.TIMING} {len(times.ended_ms)}. "
            f"Train it again: dvc repro --force train@{record.run}"
        )
    stored = MlflowRun.find(client, experiment, record.key)
    if stored is None or stored.status != "FINISHED":
        stored = MlflowRun.begin(client, experiment, record.run, record.key, times.began_ms if times else None)
    # MLflow wants a time for each point. The run's start invents no duration, and repeated sending gives equal points.
    ended_ms = times.ended_ms if times else (stored.began_ms,) * len(history)
    last_ms = times.last_ms if times else stored.began_ms
    tags = _result_tags(record, row)
    if stored.sent.is_new:
        tags = {**standard_tags("track", record.data_fingerprint, params.grid), **tags}
    is_of_data = record.data_fingerprint == data.fingerprint
    size = content.DataSize.read(folder.parents[1] / runs.PREPARED) if is_of_data else None
    stored.describe(content.parameters(record.cell, record.precision, size), tags)
    if is_of_data:
        stored.send_dataset(data.title, data.source, data.fingerprint)
    epochs = zip(history, ended_ms, strict=True)
    stored.send_epochs([(number, values, ended) for number, (values, ended) in enumerate(epochs, start=1)])
    with _without_foreign_times(folder, is_foreign=times is None) as sent:
        stored.send_folder(sent, "run")
    evaluated = folder.parents[1] / runs.EVALUATION / record.run
    if _is_evaluated(evaluated, record):
        stored.send_values(content.best_metrics(Evaluation.read(evaluated), record, times), last_ms)
        stored.send_folder(evaluated, "evaluation")
    if stored.status != "FINISHED":
        stored.end("FINISHED", last_ms)
    return stored.sent


@contextlib.contextmanager
def _without_foreign_times(folder: Path, *, is_foreign: bool) -> Iterator[Path]:
    """Provide a run's folder, or a copy without `timing.json` if that file is of another training."""
    if not is_foreign or not (folder / runs.TIMING).exists():
        yield folder
        return
    with tempfile.TemporaryDirectory() as name:
        yield shutil.copytree(folder, Path(name) / folder.name, ignore=shutil.ignore_patterns(runs.TIMING))


def _result_tags(record: RunRecord, row: RunRow | None) -> dict[str, str]:
    """Return the tags on how a run ended and what the comparison says of it, if it knows the run."""
    tags: dict[str, str] = {STATUS: record.status}
    if row is not None and row.judgement is not None:
        tags |= {VERDICT: row.judgement.verdict, NOTE: _note(row)}
        tags[BEATS_BASELINE] = beats_baseline(row.judgement.beats_baseline)
        tags[MISSED_CLASSES] = missed_classes(row.missed_classes)
    return tags


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
