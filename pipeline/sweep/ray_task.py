"""A job of a sweep as a task on a node of a Ray cluster, and the actor that connects it with the driver."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from pipeline.artifacts.project import CACHE, EVALUATION, PREPARED, RUNS, Project
from pipeline.atomic_io import atomic_directory
from pipeline.params import Params
from pipeline.sweep.worker import Job, JobResult, StopRequested, run_job
from pipeline.tracking.run_metrics import TrainingState, list_files

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

    job_result: JobResult
    files: dict[str, Files] | None  # by folder, what the job wrote; None if the node shares the project's folder


class Listener:
    """An actor that collects the states of runs for the driver, and tells tasks whether to stop."""

    def __init__(self) -> None:
        self._states: list[TrainingState] = []
        self._is_stopping = False

    def publish(self, state: TrainingState | None) -> bool:
        """Add a state of a run, if any; return whether to stop."""
        if state is not None:
            self._states.append(state)
        return self._is_stopping

    def take_states(self) -> list[TrainingState]:
        """Return the states published since the last call, and forget them."""
        states, self._states = self._states, []
        return states

    def stop(self) -> None:
        """Tell tasks to stop from now on."""
        self._is_stopping = True


def run_task(
    params: Params, job: Job, data: DataLocation, trained: dict[str, ObjectRef[bytes]], listener: Any
) -> TaskResult | None:
    """Do a job on this node; returns None if the sweep was asked to stop before.

    `trained` has the run folder's files for a job that only evaluates.
    """
    import ray

    def publish(state: TrainingState) -> None:
        is_stopping = ray.get(listener.publish.remote(state))
        if is_stopping and state.progress and state.progress.epoch < state.progress.epochs:
            raise StopRequested

    if ray.get(listener.publish.remote(None)):
        return None
    if _shares_folder(data):
        return TaskResult(run_job(params, job, Project(data.root), publish), None)
    root = Path.cwd() / data.token  # Ray's, one per node: checkpoints outlive the process, but not Ray's session
    _unpack(data.files, root / PREPARED)
    if trained:
        _unpack(trained, root / RUNS / job.cell.name)
    result = run_job(params, job, Project(root), publish, keep_checkpoints=False)
    written = [RUNS / job.cell.name] if result.trained else []
    written += [EVALUATION / job.cell.name] if result.evaluated else []
    return TaskResult(result, {str(folder): _read_files(root / folder) for folder in written})


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
    with atomic_directory(folder) as new:
        for name, content in files:
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(content)


def _read_files(folder: Path) -> Files:
    return {name: path.read_bytes() for name, path in list_files(folder).items()}
