"""Log runs to MLflow in a background thread, so that a slow server never delays training.

Each command has one logger for all of its runs. The logger keeps the newest state of each run, and each state contains
the whole history, so that a server that was unreachable receives everything in one upload.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import queue
import textwrap
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.runtime.shutdown import is_stopping
from pipeline.runtime.training_state import TrainingState
from pipeline.tracking.mark_killed import OpenRuns, mark_killed
from pipeline.tracking.mlflow_run import MlflowRun, upload_lock
from pipeline.tracking.run_content import DataSummary, RunContent, Status, describe_finished, describe_training
from pipeline.tracking.sqlite_store import find_sqlite_reason
from pipeline.tracking.store import describe_refusal, get_experiment_id, get_tracking_uri, hide_passwords, open_client
from pipeline.tracking.system_metrics import SystemMetrics
from pipeline.tracking.tags import create_standard_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger("pipeline.tracking")

RETRY_SECONDS = 30.0  # pause after a failed upload; the upload itself may take about ten seconds to fail
MAX_END_FAILURES = 3  # consecutive, in `close`; a server whose database restarted fails once per open connection
END_SECONDS = 7  # maximum wait for MLflow after a signal
_LOCK_SECONDS = 60  # maximum wait for another process that uploads
_POLL_SECONDS = 0.1
_REASON_LENGTH = 200  # characters; MLflow's messages contain whole chains of causes

_Update = tuple[str, Callable[[], RunContent]]  # name of a run, and a function that returns its content for the upload


class BackgroundLogger:
    """Context manager that uploads the runs of a command in a thread. All methods except `close` return at once."""

    def __init__(self, params: Params, project: Project | None = None, *, log_system_metrics: bool = True) -> None:
        """Start the thread.

        Args:
            params: the content of `params.yaml`, with the store and the grid.
            project: the project that contains the runs; None for the current folder.
            log_system_metrics: whether to log the system metrics of this machine; false if the runs train elsewhere.
        """
        self._params, self._project, self._log_system_metrics = params, project or Project(), log_system_metrics
        self._uri = get_tracking_uri(params.tracking)
        self._training: dict[str, TrainingState] = {}  # runs that have not ended, by name
        # SimpleQueue and a daemon thread, so that a call to MLflow that never returns does not keep the process alive.
        self._queue: queue.SimpleQueue[_Update | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._error: Exception | None = None
        self._open_runs = OpenRuns(params.tracking, self._project)
        # Only the thread uses the following attributes.
        self._pending: dict[str, Callable[[], RunContent]] = {}  # by run
        self._client: MlflowClient | None = None
        self._experiment = ""
        self._runs: dict[str, MlflowRun] = {}
        self._monitors: dict[str, SystemMetrics] = {}
        self._data: DataSummary | None = None
        self._tags: Mapping[str, str] = {}
        self._has_warned = False
        self._thread.start()

    def __enter__(self) -> BackgroundLogger:
        """Return the logger."""
        return self

    def __exit__(self, *_: object) -> None:
        """Log all runs that have not ended as KILLED, and wait for the uploads."""
        self.kill_all()
        self.close()

    def update(self, state: TrainingState) -> None:
        """Log the state of a run in training, or of a run that failed."""
        if state.has_failed:
            self._training.pop(state.run, None)
        else:
            with contextlib.suppress(OSError):  # for example a full disk, which the run itself reports
                self._open_runs.add(state.key, state.run)
            self._training[state.run] = state
        self._put_training(state, "FAILED" if state.has_failed else "RUNNING")

    def finish(self, run: str) -> None:
        """Log a finished run from its folder, which must not change until `close` has returned."""
        self._training.pop(run, None)
        self._queue.put((run, functools.partial(self._describe_finished, run)))

    def kill(self, run: str) -> None:
        """Log a run as KILLED if it has neither finished nor failed."""
        state = self._training.pop(run, None)
        if state is not None:
            self._put_training(state, "KILLED")

    def kill_all(self) -> None:
        """Log all runs that have neither finished nor failed as KILLED."""
        for run in list(self._training):
            self.kill(run)

    def close(self) -> None:
        """Wait until everything is uploaded, or uploads have failed `MAX_END_FAILURES` times in a row.

        After a signal, the wait is limited to `END_SECONDS`. Later, `mark_killed` and `pipeline sync` complete the
        uploads.

        Raises:
            Exception: An unexpected error in the thread, which is a bug in this class.
        """
        self._queue.put(None)
        deadline: float | None = None
        while self._thread.is_alive() and (deadline is None or time.monotonic() < deadline):
            self._thread.join(_POLL_SECONDS)
            if deadline is None and is_stopping():
                deadline = time.monotonic() + END_SECONDS
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            self._settle_killed()
            next_attempt, is_closing = 0.0, False
            while not is_closing:
                is_closing = self._collect(next_attempt)
                if is_closing or time.monotonic() >= next_attempt:
                    has_failed = not self._upload_pending(MAX_END_FAILURES if is_closing else 1)
                    next_attempt = time.monotonic() + RETRY_SECONDS if has_failed else 0.0
            for monitor in self._monitors.values():
                monitor.stop()
            self._open_runs.close()
        except Exception as error:
            self._error = error

    def _settle_killed(self) -> None:
        """Mark the runs of killed processes as KILLED, and queue those that had finished for upload."""
        for key, run in mark_killed(self._project).items():
            with contextlib.suppress(PipelineError):  # the run has no folder
                if self._project.run(run).record.key == key:
                    self._pending[run] = functools.partial(self._describe_finished, run)

    def _collect(self, next_attempt: float) -> bool:
        """Wait for an update or for the time of the next attempt; return whether the logger is closing."""
        with contextlib.suppress(queue.Empty):
            timeout = max(0.0, next_attempt - time.monotonic()) if self._pending else None
            update = self._queue.get(timeout=timeout)
            while update is not None:
                self._pending[update[0]] = update[1]
                update = self._queue.get_nowait()
            return True
        return False

    def _upload_pending(self, max_failures: int) -> bool:
        """Upload the pending runs; return False after `max_failures` failures in a row."""
        failures = 0
        while self._pending and failures < max_failures:
            run = next(iter(self._pending))
            describe = self._pending.pop(run)
            try:
                self._upload(describe())
                failures = 0
            except Exception as error:  # raised by MLflow, a database driver or the disk; none may stop a run
                self._pending[run] = describe  # retry it after the other runs
                self._runs.pop(run, None)  # the upload may be incomplete
                self._client = None
                failures += 1
                self._warn(run, error)
        return not self._pending

    def _upload(self, content: RunContent) -> None:
        if self._client is None:
            client = open_client(self._uri)
            self._experiment = get_experiment_id(client, self._uri, self._params.tracking.experiment)
            self._client = client
        monitor = self._monitors.setdefault(content.name, SystemMetrics())
        if content.status != "RUNNING":
            monitor.stop()
        with upload_lock(self._project, _LOCK_SECONDS):
            run = self._runs.get(content.name)
            if run is None:
                run = self._runs[content.name] = MlflowRun.open(self._client, self._experiment, content)
            run.upload(content)
        if content.status != "RUNNING":
            self._open_runs.remove(content.key)
            del self._runs[content.name], self._monitors[content.name]
        elif self._log_system_metrics:
            monitor.follow(run.run_id, self._uri)

    def _put_training(self, state: TrainingState, status: Status) -> None:
        self._queue.put((state.run, lambda: describe_training(state, self._get_data(), self._get_tags(), status)))

    def _describe_finished(self, run: str) -> RunContent:
        return describe_finished(run, self._project, self._get_data(), self._get_tags())

    def _get_data(self) -> DataSummary:
        if self._data is None:
            self._data = DataSummary.read(self._project)
        return self._data

    def _get_tags(self) -> Mapping[str, str]:
        """Return the standard tags.

        The git commit is the one checked out at the first upload, because workers keep the code that they imported.
        """
        if not self._tags:
            self._tags = create_standard_tags("train", self._get_data().fingerprint, self._params.grid)
        return self._tags

    def _warn(self, run: str, error: Exception) -> None:
        if not self._has_warned:
            self._has_warned = True
            reason = find_sqlite_reason(error) or f"{type(error).__name__}: {hide_passwords(str(error))}"
            logger.warning(
                "Run %s: MLflow at %s %s. Training continues, and the run's files are complete. The missing data is "
                "uploaded when MLflow responds again, or by `pipeline sync`.",
                run,
                hide_passwords(self._uri),
                describe_refusal(error) or f"fails ({textwrap.shorten(reason, _REASON_LENGTH, placeholder=' …')})",
            )
        logger.debug("Run %s: MLflow error:", run, exc_info=error)
