"""One run of ours as an MLflow run; whatever goes wrong there is one warning here, and the training goes on."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pipeline.params import Tracking
from pipeline.signals import uncut
from pipeline.tracking.store import experiment_id, open_client, shown, store_is_missing, tracking_uri
from pipeline.tracking.stored_run import StoredRun
from pipeline.tracking.tags import RUN_KEY

logger = logging.getLogger("pipeline.tracking")

_REASON_LENGTH = 200  # characters; MLflow's messages hold whole stacks of causes

End = Literal["FINISHED", "FAILED", "KILLED"]


class Mirror:
    """A run in MLflow, found by its run key. No method raises on account of the store.

    After a failure the mirror is quiet: every call returns at once. The run's files are the truth, so the same may be
    sent again later, all of it, and nothing will stand there twice.
    """

    def __init__(self, name: str, uri: str) -> None:
        self.name = name
        self._uri = uri
        self._run: StoredRun | None = None

    @classmethod
    def open(
        cls, tracking: Tracking, *, name: str, key: str, parameters: Mapping[str, Any], tags: Mapping[str, str]
    ) -> Mirror:
        """Find the run by its key, restore it where it is deleted, or create it; its status becomes RUNNING.

        `parameters` may be nested; those that are there already are left alone.
        """
        mirror = cls(name, tracking_uri(tracking))
        mirror._begin(tracking.experiment, key, parameters, tags)
        return mirror

    @classmethod
    def find(cls, tracking: Tracking, key: str) -> Mirror | None:
        """The mirror of a run that MLflow has, its status left as it is; None where there is none to be had."""
        uri = tracking_uri(tracking)
        mirror = cls(f"with the key {key}", uri)

        def look() -> None:
            client = open_client(uri)
            experiment = client.get_experiment_by_name(tracking.experiment)
            if experiment is not None:
                mirror._run = StoredRun.find(client, experiment.experiment_id, key)
            if mirror._run is not None:
                mirror.name = mirror._run.name

        if not store_is_missing(uri):
            mirror._attempt(look)
        return None if mirror.quiet else mirror

    @property
    def quiet(self) -> bool:
        """Whether nothing is sent, since the store failed."""
        return self._run is None

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run, for a link; None where the mirror is quiet."""
        return self._run.run_id if self._run else None

    def log_epoch(self, epoch: int, values: Mapping[str, float], timestamp_ms: int) -> None:
        """Send an epoch's values, at the step `epoch`; NaN and infinity are left out and named in a tag."""
        self._send(lambda run: run.send_epoch(epoch, values, timestamp_ms))

    def log_values(self, values: Mapping[str, float], timestamp_ms: int) -> None:
        """Send values that a run has one of, such as `val_loss_best`, at step 0."""
        self._send(lambda run: run.send_values(values, timestamp_ms))

    def log_folder(self, folder: Path, under: str) -> None:
        """Send a folder's files, subfolders included, to `under` among the artifacts."""
        self._send(lambda run: run.send_folder(folder, under))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags; one that MLflow would cut silently is cut and named in a tag."""
        self._send(lambda run: run.describe({}, tags))

    def end(self, status: End) -> None:
        """Say how the run ended."""
        self._send(lambda run: run.end(status))

    @classmethod
    def end_killed(cls, name: str, uri: str, experiment: str, key: str) -> bool:
        """Say that a run was killed where MLflow believes that it is under way; False where MLflow does not answer."""
        mirror = cls(name, uri)

        def tell() -> None:
            client = open_client(uri)
            found = client.get_experiment_by_name(experiment)
            run = found and StoredRun.find(client, found.experiment_id, key)
            if run and run.status == "RUNNING":
                run.end("KILLED")

        return store_is_missing(uri) or mirror._attempt(tell)

    def _begin(self, experiment: str, key: str, parameters: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        def begin() -> None:
            client = open_client(self._uri)
            self._run = StoredRun.begin(client, experiment_id(client, self._uri, experiment), self.name, key)
            self._run.describe(parameters, {**tags, RUN_KEY: key})

        self._attempt(begin)

    def _send(self, action: Callable[[StoredRun], None]) -> None:
        run = self._run
        if run is not None:
            self._attempt(lambda: action(run))

    def _attempt(self, action: Callable[[], None]) -> bool:
        try:
            with uncut():
                action()
                return True
        # Whatever it is: MLflow's exceptions, a database driver's, the disk's. None is worth a training.
        except Exception as error:
            self._run = None
            reason = textwrap.shorten(shown(str(error)), _REASON_LENGTH, placeholder=" …")
            logger.warning(
                "Run %s: MLflow at %s fails and gets no more of this run (%s: %s). Its files are complete without it.",
                self.name,
                shown(self._uri),
                type(error).__name__,
                reason,
            )
            logger.debug("What MLflow raised:", exc_info=True)
            return False
