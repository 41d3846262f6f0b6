"""Worker processes side by side: each does one job at a time, is kept warm, and is missed by nobody but its own job.

The standard pools hand out jobs ahead of time and break as a whole when one process is killed; a grid of hours wants
neither: a job is given to a process that has nothing else, and a process that dies costs that one job.
"""

from __future__ import annotations

import contextlib
import multiprocessing
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from pipeline.params import Params
from pipeline.runtime.progress import EpochReport
from pipeline.runtime.shutdown import check_signals
from pipeline.sweep.gpus import gpus, least_used, run_on
from pipeline.sweep.worker import PATIENCE, STOP, Job, Outcome, serve
from pipeline.tracking.run_metrics import TrainingState

# spawn: a forked torch would share its thread pools' locks with its parent.
CONTEXT = multiprocessing.get_context("spawn")
GLANCE = 0.5  # seconds between two looks at whether to stop


@dataclass(frozen=True)
class Worker:
    """A process and our end of the pipe to it."""

    process: BaseProcess
    pipe: Connection
    gpu: str | None

    @classmethod
    def start(cls, params: Params, root: Path, gpu: str | None) -> Worker:
        """Start a process that waits for jobs."""
        ours, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(target=run_on, args=(gpu, serve, theirs, params, root), daemon=True)
        process.start()
        theirs.close()  # so that the pipe ends when the process does
        return cls(process, ours, gpu)

    def tell(self, message: Job | str) -> None:
        """Send a job or `STOP`; that it is dead is seen by whoever waits for its answer."""
        with contextlib.suppress(OSError):
            self.pipe.send(message)

    def end(self) -> None:
        """Wait for a process that was told to end, or that died; one that does not end is made to."""
        self.process.join(PATIENCE)
        self.process.kill()
        self.process.join()
        self.pipe.close()


def run_jobs(
    params: Params,
    jobs: Sequence[Job],
    at_once: int,
    root: Path,
    listen: Callable[[EpochReport | TrainingState], None],
    stopping: Callable[[], bool],
) -> Generator[Outcome, None, None]:
    """Run jobs, `at_once` at a time, each on a GPU of its own if there are as many; `listen` gets epochs and states.

    Each job is handed out as it ends. When `stopping` says so, the epochs that are under way are the last ones, and
    jobs that were not begun have no outcome. When the caller stops early, the workers are ended before this returns.
    """
    waiting, idle, devices = deque(jobs), list[Worker](), gpus()
    busy: dict[Connection, tuple[Worker, Job]] = {}
    told = False
    try:
        while waiting or busy:
            check_signals()
            if stopping() and not told:
                told = True
                waiting.clear()
                for worker, _ in busy.values():
                    worker.tell(STOP)
            while waiting and len(busy) < at_once:
                while idle and not idle[-1].process.is_alive():  # killed while it had nothing to do
                    idle.pop().end()
                if not idle:
                    used = [worker.gpu for worker, _ in busy.values()]
                    idle.append(Worker.start(params, root, least_used(devices, used)))
                worker = idle.pop()
                job = waiting.popleft()
                busy[worker.pipe] = worker, job
                worker.tell(job)
            for pipe in wait(list(busy), GLANCE):
                assert isinstance(pipe, Connection)
                worker, job = busy[pipe]
                try:
                    message = pipe.recv()
                except (EOFError, OSError):
                    del busy[pipe]
                    worker.end()
                    yield Outcome(job, trained=False, evaluated=False, sentence=_death(worker), end="failed")
                    continue
                if isinstance(message, Outcome):
                    del busy[pipe]
                    idle.append(worker)
                    yield message
                else:
                    listen(message)
    finally:
        for worker in (*idle, *(worker for worker, _ in busy.values())):
            # All of them first, so that they end side by side.
            worker.process.terminate()
        for worker in (*idle, *(worker for worker, _ in busy.values())):
            worker.end()


def _death(worker: Worker) -> str:
    code = worker.process.exitcode
    how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
    return f"its process ended {how}; where memory was short, --jobs 1 leaves more for each"
