"""Run jobs in a pool of worker processes.

`concurrent.futures` and loky fail all pending jobs when one worker is killed. Pebble fails only the job of that worker,
but it cannot send epochs and stop requests or assign GPUs; adding them would take more code than this module.
"""

from __future__ import annotations

import contextlib
import multiprocessing
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from pipeline.artifacts.project import Project
from pipeline.params import Params
from pipeline.runtime.shutdown import check_signals
from pipeline.runtime.training_state import TrainingState
from pipeline.sweep.gpus import call_on_gpu, find_least_used, list_gpus
from pipeline.sweep.worker import END_SECONDS, STOP, Job, JobResult, serve

# Not fork: a forked process inherits the locks of torch's thread pools, which may be held.
CONTEXT = multiprocessing.get_context("spawn")
POLL_SECONDS = 0.5  # between two checks for a stop request


@dataclass(frozen=True)
class Worker:
    """A worker process and the parent's end of the pipe to it."""

    process: BaseProcess
    pipe: Connection
    gpu: str | None

    @classmethod
    def start(cls, params: Params, project: Project, gpu: str | None) -> Worker:
        """Start a process that waits for jobs."""
        ours, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(target=call_on_gpu, args=(gpu, serve, theirs, params, project.root), daemon=True)
        process.start()
        theirs.close()  # so that the pipe closes when the process ends
        return cls(process, ours, gpu)

    def send(self, message: Job | str) -> None:
        """Send a job or `STOP`. Errors are ignored, because reading the answer detects a dead process."""
        with contextlib.suppress(OSError):
            self.pipe.send(message)

    def join(self) -> None:
        """Wait until the process has ended; kill it after `END_SECONDS`."""
        self.process.join(END_SECONDS)
        self.process.kill()
        self.process.join()
        self.pipe.close()


def run_jobs(
    params: Params,
    jobs: Sequence[Job],
    num_workers: int,
    project: Project,
    listen: Callable[[TrainingState], None],
    is_stopping: Callable[[], bool],
) -> Generator[JobResult, None, None]:
    """Run jobs in parallel, each on its own GPU if there are enough, and yield each result when the job ends.

    `listen` is called with each new training state. Once `is_stopping` returns true, running jobs stop after their
    current epoch, and jobs that have not started are dropped without a result. Closing the generator ends the workers.
    """
    waiting, idle, devices = deque(jobs), list[Worker](), list_gpus()
    busy: dict[Connection, tuple[Worker, Job]] = {}
    has_stopped = False
    try:
        while waiting or busy:
            check_signals()
            if is_stopping() and not has_stopped:
                has_stopped = True
                waiting.clear()
                for worker, _ in busy.values():
                    worker.send(STOP)
            while waiting and len(busy) < num_workers:
                while idle and not idle[-1].process.is_alive():  # killed while idle
                    idle.pop().join()
                if not idle:
                    used = [worker.gpu for worker, _ in busy.values()]
                    idle.append(Worker.start(params, project, find_least_used(devices, used)))
                worker, job = idle.pop(), waiting.popleft()
                busy[worker.pipe] = worker, job
                worker.send(job)
            for pipe in wait(list(busy), POLL_SECONDS):
                assert isinstance(pipe, Connection)
                worker, job = busy[pipe]
                try:
                    message = pipe.recv()
                except (EOFError, OSError):
                    del busy[pipe]
                    worker.join()
                    yield JobResult(job, _describe_death(worker), "failed")
                    continue
                if isinstance(message, JobResult):
                    del busy[pipe]
                    idle.append(worker)
                    yield message
                else:
                    listen(message)
    finally:
        workers = [*idle, *(worker for worker, _ in busy.values())]
        for worker in workers:  # all of them first, so that they end in parallel
            worker.process.terminate()
        for worker in workers:
            worker.join()


def _describe_death(worker: Worker) -> str:
    code = worker.process.exitcode
    how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
    return f"its process {how}; if memory ran out, --workers 1 leaves more memory for each run"
