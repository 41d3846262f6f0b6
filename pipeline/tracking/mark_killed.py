"""Mark runs whose process was killed as KILLED in MLflow, which would show them as running forever.

A process that logs runs keeps a file with the runs that have not ended in MLflow, and holds the lock of that file. The
operating system releases the lock when the process ends, however it ends; the next command then finds the file.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import uuid
from pathlib import Path
from typing import Any

from filelock import FileLock

from pipeline.artifacts.project import CACHE, Project
from pipeline.atomic_io import write_text
from pipeline.params import Tracking
from pipeline.tracking.mlflow_run import search_run, upload_lock
from pipeline.tracking.store import is_store_missing, open_client, portable_uri, resolve_uri, tracking_uri

logger = logging.getLogger("pipeline.tracking")

FOLDER = CACHE / "open_runs"  # in the project's folder


class OpenRuns:
    """The runs that this process logs and that have not ended in MLflow: name by run key."""

    def __init__(self, tracking: Tracking, project: Project) -> None:
        self._path = project.original_home / FOLDER / f"{uuid.uuid4().hex}.json"
        self._lock = FileLock(self._path.with_suffix(".lock"), thread_local=False)
        self._store = {"uri": portable_uri(tracking_uri(tracking)), "experiment": tracking.experiment}
        self._names: dict[str, str] = {}
        self._mutex = threading.Lock()  # one thread adds runs, another removes them

    def add(self, key: str, name: str) -> None:
        """Note a run before MLflow has it."""
        with self._mutex:
            if key in self._names:
                return
            if not self._lock.is_locked:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._lock.acquire()
            self._names[key] = name
            self._write()

    def remove(self, key: str) -> None:
        """Remove a run that has ended in MLflow."""
        with self._mutex:
            if self._names.pop(key, None) is not None:
                self._write()

    def close(self) -> None:
        """Remove the file, or leave it to the next command if a run has not ended in MLflow."""
        with self._mutex:
            if self._lock.is_locked:
                if not self._names:
                    _remove(self._path)
                self._lock.release()

    def _write(self) -> None:
        write_text(self._path, json.dumps({**self._store, "runs": self._names}))


def mark_killed(project: Project) -> dict[str, str]:
    """Mark the runs of killed processes of this project; never raises an error of the store.

    Runs in a store that does not answer are marked by a later command.

    Returns:
        Name by run key of the marked runs, which may have finished without MLflow knowing it.
    """
    marked: dict[str, str] = {}
    for path in sorted((project.original_home / FOLDER).glob("*.json")):
        lock = FileLock(path.with_suffix(".lock"), timeout=0)
        with contextlib.suppress(OSError), lock:  # suppressed: its process is alive
            try:
                if path.exists():
                    marked |= _mark(json.loads(path.read_text(encoding="utf-8")), project)
            except Exception:  # errors of MLflow, a database driver or the disk
                logger.debug("Runs in %s are not marked as KILLED.", path, exc_info=True)
            else:
                _remove(path)
    return marked


def _mark(noted: dict[str, Any], project: Project) -> dict[str, str]:
    uri, names = resolve_uri(noted["uri"]), dict[str, str](noted["runs"])
    if is_store_missing(uri):
        return names
    client = open_client(uri)
    experiment = client.get_experiment_by_name(noted["experiment"])
    if experiment is not None:
        with upload_lock(project):
            for key in names:
                run = search_run(client, experiment.experiment_id, key)
                if run is not None and run.info.status == "RUNNING":
                    client.set_terminated(run.info.run_id, "KILLED")
    return names


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_suffix(".lock").unlink(missing_ok=True)
