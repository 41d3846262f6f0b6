"""Run a job of a sweep as a Ray task that communicates with the driver through an actor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from pipeline.artifacts.folder import list_files
from pipeline.artifacts.project import CACHE, EVALUATION, PREPARED, RUNS, Project
from pipeline.atomic_io import atomic_directory
from pipeline.params import Params
from pipeline.runtime.training_state import TrainingState
from pipeline.sweep.worker import Job, JobResult, StopRequested, run_job

if TYPE_CHECKING:
    from ray import ObjectRef

Files = dict[str, bytes]

TOKEN = CACHE / "sweep" / "token"  # a node that can read the driver's token from this file shares the project's folder


@dataclass(frozen=True)
class DataLocation:
    """Location of the prepared data: the project's folder, or Ray's object store."""

    root: Path
    token: str  # content of the file `TOKEN` in that folder
    files: dict[str, ObjectRef[bytes]]  # by path in `data/prepared/`


@dataclass(frozen=True)
class TaskResult:
    """Result of a task, as returned to the driver."""

    job_result: JobResult
    files: dict[str, Files] | None  # files that the job wrote, by folder; None if the node shares the project's folder


class Listener:
    """Actor that collects training states for the driver, and passes the driver's stop request to the tasks."""

    def __init__(self) -> None:
        self._states: list[TrainingState] = []
        self._is_stopping = False

    def publish(self, state: TrainingState | None) -> bool:
        """Add a training state, if given, and return whether the task must stop."""
        if state is not None:
            self._states.append(state)
        return self._is_stopping

    def take_states(self) -> list[TrainingState]:
        """Return the states that were published since the last call."""
        states, self._states = self._states, []
        return states

    def stop(self) -> None:
        """Make all tasks stop when they next call `publish`."""
        self._is_stopping = True


def run_task(
    params: Params, job: Job, data: DataLocation, trained: dict[str, ObjectRef[bytes]], listener: Any
) -> TaskResult | None:
    """Run a job on this node; return None if the sweep was stopped before the job started.

    `trained` has the files of the run folder if the job only evaluates the run; otherwise it is empty.
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
    # Work in Ray's working directory, where checkpoints outlive a killed process until the Ray session ends.
    root = Path.cwd() / data.token
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
    """Write files from the object store into a folder, unless another task on this node has written it."""
    import ray

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            write_files(folder, ((name, ray.get(reference)) for name, reference in files.items()))


def write_files(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write a folder atomically; `files` are pairs of a path in the folder and the file's content."""
    with atomic_directory(folder) as new:
        for name, content in files:
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(content)


def _read_files(folder: Path) -> Files:
    return {name: path.read_bytes() for name, path in list_files(folder).items()}
