"""A job of a sweep as a task on a node of a Ray cluster, and the actor that connects it with the driver."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from pipeline.artifacts.project import CACHE, EVALUATION, PREPARED, RUNS
from pipeline.atomic_io import replacing
from pipeline.params import Params
from pipeline.runtime.progress import EpochProgress
from pipeline.sweep.worker import Job, JobResult, StopRequested, run_job
from pipeline.tracking.run_metrics import TrainingState

if TYPE_CHECKING:
    from ray import ObjectRef

Files = dict[str, bytes]

TOKEN = CACHE / "sweep" / "token"  # a node that reads the driver's token there shares the project's folder


@dataclass(frozen=True)
class DataLocation:
    """Where the prepared data is: in the project's folder, or in the cluster's object store."""

    root: Path
    token: str  # content of the file `TOKEN` in that folder
    files: dict[str, ObjectRef[bytes]]


@dataclass(frozen=True)
class TaskResult:
    """What a task returns to the driver."""

    job_result: JobResult | None  # None if the job was not started, because the sweep was asked to stop
    files: dict[str, Files]  # by folder of the project, what the job wrote there; empty on a shared folder
    is_remote: bool  # whether the node does not share the project's folder


class Listener:
    """An actor that collects epochs and states for the driver, and tells tasks whether to stop."""

    def __init__(self) -> None:
        self._reports: list[EpochProgress | TrainingState] = []
        self._is_stopping = False

    def report(self, message: EpochProgress | TrainingState | None) -> bool:
        """Add a finished epoch or a state of a training, if any; return whether to stop."""
        if message is not None:
            self._reports.append(message)
        return self._is_stopping

    def take_reports(self) -> list[EpochProgress | TrainingState]:
        """Return the messages since the last call."""
        reports, self._reports = self._reports, []
        return reports

    def stop(self) -> None:
        """Tell tasks to stop from now on."""
        self._is_stopping = True


def run_task(
    params: Params, job: Job, data: DataLocation, trained: dict[str, ObjectRef[bytes]], listener: Any
) -> TaskResult:
    """Do a job on this node.

    Args:
        params: the whole of `params.yaml`.
        job: what to do.
        data: where the prepared data is.
        trained: the run folder's files, for a job that only evaluates.
        listener: a handle of `Listener`.
    """
    import ray

    def report(epoch: EpochProgress) -> None:
        if ray.get(listener.report.remote(epoch)) and epoch.epoch < epoch.epochs:
            raise StopRequested

    def publish(state: TrainingState) -> None:
        ray.get(listener.report.remote(state))

    if ray.get(listener.report.remote(None)):
        return TaskResult(None, {}, is_remote=False)
    if _shares_folder(data):
        return TaskResult(run_job(params, job, data.root, report, publish), {}, is_remote=False)
    root = Path.cwd() / data.token  # Ray's, one per node: checkpoints outlive the process, but not Ray's session
    _unpack(data.files, root / PREPARED)
    if trained:
        _unpack(trained, root / RUNS / job.cell.name)
    result = run_job(params, job, root, report, publish, keep_checkpoints=False)
    written = [RUNS / job.cell.name] if result.trained else []
    written += [EVALUATION / job.cell.name] if result.evaluated else []
    return TaskResult(result, {str(folder): _read_files(root / folder) for folder in written}, is_remote=True)


def _shares_folder(data: DataLocation) -> bool:
    try:
        return (data.root / TOKEN).read_text(encoding="utf-8") == data.token
    except OSError:
        return False


def _unpack(files: dict[str, ObjectRef[bytes]], folder: Path) -> None:
    """Write files from the object store, once per node."""
    import ray

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            write_files(folder, ((name, ray.get(reference)) for name, reference in files.items()))


def write_files(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write a folder atomically from its files by path."""
    with replacing(folder) as new:
        for name, content in files:
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(content)


def _read_files(folder: Path) -> Files:
    return {
        os.fspath(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
