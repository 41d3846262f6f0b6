"""What a node of a Ray cluster does for one job, and who it tells."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from pipeline import runs
from pipeline.atomic_io import replacing
from pipeline.params import Params
from pipeline.runtime.progress import EpochReport
from pipeline.sweep.alone import FOLDER
from pipeline.sweep.worker import Job, Outcome, StopRequested, work
from pipeline.tracking.run_metrics import TrainingState

if TYPE_CHECKING:
    from ray import ObjectRef

Files = dict[str, bytes]

TOKEN = FOLDER / "token"  # a node that reads the driver's there sees the project's folder


@dataclass(frozen=True)
class Data:
    """Where the prepared data is: in the project's folder, or in the cluster's object store."""

    root: Path
    token: str  # what stands in the project's folder
    files: dict[str, ObjectRef[bytes]]


@dataclass(frozen=True)
class Result:
    """What comes back to the driver."""

    outcome: Outcome | None  # None: the job was not begun, since the sweep was asked to stop
    files: dict[str, Files]  # by folder of the project, what was written there
    elsewhere: bool  # whether the node does not see the project's folder


class Listener:
    """An actor that hears of epochs and states, and says whether to stop; the driver asks it."""

    def __init__(self) -> None:
        self._reports: list[EpochReport | TrainingState] = []
        self._stopping = False

    def tell(self, report: EpochReport | TrainingState | None) -> bool:
        """Take a finished epoch, a state of a training, or nothing; returns whether to stop."""
        if report is not None:
            self._reports.append(report)
        return self._stopping

    def heard(self) -> list[EpochReport | TrainingState]:
        """What came since it was last asked."""
        reports, self._reports = self._reports, []
        return reports

    def stop(self) -> None:
        """Answer from now on that it is to stop."""
        self._stopping = True


def run_task(params: Params, job: Job, data: Data, trained: dict[str, ObjectRef[bytes]], listener: Any) -> Result:
    """Do a job on this node.

    Args:
        params: the whole of `params.yaml`.
        job: what to do.
        data: where the prepared data is.
        trained: the run folder's files, for a job that only evaluates.
        listener: a handle of `Listener`.
    """
    import ray

    def report(epoch: EpochReport) -> None:
        if ray.get(listener.tell.remote(epoch)) and epoch.epoch < epoch.epochs:
            raise StopRequested

    def publish(state: TrainingState) -> None:
        ray.get(listener.tell.remote(state))

    if ray.get(listener.tell.remote(None)):
        return Result(None, {}, elsewhere=False)
    if _sees(data):
        return Result(work(params, job, data.root, report, publish), {}, elsewhere=False)
    here = Path.cwd() / data.token  # Ray's, one a node: checkpoints outlive the process, and go with the session
    _unpack(data.files, here / runs.PREPARED)
    if trained:
        _unpack(trained, here / runs.RUNS / job.cell.name)
    outcome = work(params, job, here, report, publish)
    made = [runs.RUNS / job.cell.name] if outcome.trained else []
    made += [runs.EVALUATION / job.cell.name] if outcome.evaluated else []
    return Result(outcome, {str(folder): _read(here / folder) for folder in made}, elsewhere=True)


def _sees(data: Data) -> bool:
    try:
        return (data.root / TOKEN).read_text(encoding="utf-8") == data.token
    except OSError:
        return False


def _unpack(files: dict[str, ObjectRef[bytes]], folder: Path) -> None:
    """Write files from the object store, once a node."""
    import ray

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if folder.exists():
            return
        write_files(folder, ((name, ray.get(reference)) for name, reference in files.items()))


def write_files(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write a folder whole or not at all, from its files by path."""
    with replacing(folder) as new:
        for name, content in files:
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(content)


def _read(folder: Path) -> Files:
    return {
        os.fspath(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
