"""One run of ours as an MLflow run; whatever goes wrong there is one warning here, and the training goes on."""

from __future__ import annotations

import logging
import textwrap
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pipeline.params import Tracking
from pipeline.tracking.mlflow_run import MlflowRun
from pipeline.tracking.sqlite_errors import sqlite_reason
from pipeline.tracking.store import experiment_id, open_client, refusal, shown, store_is_missing, tracking_uri
from pipeline.tracking.tags import RUN_KEY

logger = logging.getLogger("pipeline.tracking")

RETRY_SECONDS = 30.0  # between two tries at a store that failed; each may take its own time-outs, some ten seconds
END_TRIES = 3  # at the end of a run; where nothing listens, a second each
_REASON_LENGTH = 200  # characters; MLflow's messages hold whole stacks of causes

End = Literal["FINISHED", "FAILED", "KILLED"]


class Mirror:
    """A run in MLflow, found by its run key. No method raises on account of the store.

    Where the store fails, what it was to be told is kept, and told when something further is to be told and
    `RETRY_SECONDS` have passed, at the latest at the run's end; one warning is all that is heard of it. The run's files
    are the truth: the same may be sent again later, all of it, and nothing will stand there twice.
    """

    def __init__(self, name: str, uri: str, find: Callable[[], MlflowRun | None]) -> None:
        self.name = name
        self.uri = uri
        self._find = find
        self._run: MlflowRun | None = None
        self._untold: list[Callable[[MlflowRun], object]] = []
        self._failed: float | None = None  # when, on the monotonic clock

    @classmethod
    def open(
        cls, tracking: Tracking, *, name: str, key: str, parameters: Mapping[str, Any], tags: Mapping[str, str]
    ) -> Mirror:
        """Find the run by its key, restore it where it is deleted, or create it; its status becomes RUNNING.

        `parameters` may be nested; those that are there already are left alone.
        """
        uri, began_ms = tracking_uri(tracking), round(time.time() * 1000)

        def begin() -> MlflowRun:
            client = open_client(uri)
            return MlflowRun.begin(client, experiment_id(client, uri, tracking.experiment), name, key, began_ms)

        mirror = cls(name, uri, begin)
        mirror._send(lambda run: run.describe(parameters, {**tags, RUN_KEY: key}))
        return mirror

    @classmethod
    def find(cls, tracking: Tracking, name: str, key: str) -> Mirror | None:
        """The mirror of a run that MLflow has, its status left as it is; None where there is none to be had."""
        uri = tracking_uri(tracking)
        mirror = cls(name, uri, lambda: _found(uri, tracking.experiment, key))
        if store_is_missing(uri) or not mirror._attempt() or mirror._run is None:
            return None
        return mirror

    @property
    def quiet(self) -> bool:
        """Whether something is left untold, since the store failed."""
        return self._run is None

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run, for a link; None where the mirror is quiet."""
        return self._run.run_id if self._run else None

    def log_epoch(self, epoch: int, values: Mapping[str, float], timestamp_ms: int) -> None:
        """Send an epoch's values, at the step `epoch`; NaN and infinity are left out and named in a tag."""
        self._send(lambda run: run.send_epochs([(epoch, values, timestamp_ms)]))

    def log_values(self, values: Mapping[str, float], timestamp_ms: int | None) -> None:
        """Send values that a run has one of, such as `val_loss_best`, at step 0; None for the run's start."""
        self._send(lambda run: run.send_values(values, timestamp_ms))

    def log_folder(self, folder: Path, under: str) -> None:
        """Send a folder's files, subfolders included, to `under` among the artifacts, where they are not there yet."""
        self._send(lambda run: run.send_folder(folder, under))

    def log_dataset(self, title: str, source: str, digest: str) -> None:
        """Note the data that the run learns from."""
        self._send(lambda run: run.send_dataset(title, source, digest))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags; one that MLflow would cut silently is cut and named in a tag."""
        self._send(lambda run: run.describe({}, tags))

    def end(self, status: End) -> bool:
        """Log the end of the run and everything that is not logged yet; return whether the store took the end."""
        self._untold.append(lambda run: run.end(status))
        # A server whose database was restarted fails once for each connection that it had kept.
        if any(self._attempt() for _ in range(END_TRIES)):
            return True
        del self._untold[:-1]  # a store may refuse a file, and still take the status
        return self._attempt()

    @classmethod
    def end_killed(cls, name: str, uri: str, experiment: str, key: str) -> bool:
        """Say that a run was killed where MLflow believes that it is under way; False where MLflow does not answer."""
        mirror = cls(name, uri, lambda: _found(uri, experiment, key))
        mirror._untold.append(lambda run: run.end("KILLED") if run.status == "RUNNING" else None)
        return store_is_missing(uri) or mirror._attempt()

    def _send(self, action: Callable[[MlflowRun], object]) -> None:
        self._untold.append(action)
        if self._failed is None or time.monotonic() - self._failed >= RETRY_SECONDS:
            self._attempt()

    def _attempt(self) -> bool:
        try:
            self._tell()
            return True
        # Whatever it is: MLflow's exceptions, a database driver's, the disk's. None is worth a training.
        except Exception as error:
            # What it holds is asked anew when it answers again: an action may have been done in part.
            self._run = None
            if self._failed is None:
                logger.warning(
                    "Run %s: MLflow at %s %s. The run goes on, and its files hold all of it; what MLflow lacks is sent "
                    "when it answers again, or afterwards by `pipeline track`.",
                    self.name,
                    shown(self.uri),
                    refusal(error) or f"fails ({sqlite_reason(error) or f'{type(error).__name__}: {_reason(error)}'})",
                )
            self._failed = time.monotonic()
            logger.debug("What MLflow raised:", exc_info=True)
            return False

    def _tell(self) -> None:
        """Find the run, and do what was left undone; an action is forgotten when it is done."""
        self._run = self._run or self._find()
        while self._run is not None and self._untold:
            self._untold[0](self._run)
            del self._untold[0]


def _reason(error: Exception) -> str:
    return textwrap.shorten(shown(str(error)), _REASON_LENGTH, placeholder=" …")


def _found(uri: str, experiment: str, key: str) -> MlflowRun | None:
    client = open_client(uri)
    found = client.get_experiment_by_name(experiment)
    return MlflowRun.find(client, found.experiment_id, key) if found is not None else None
