"""Mark runs whose process was killed as KILLED in MLflow, which would otherwise show them as running forever.

A process that logs runs holds a lock on a file that lists the runs not yet ended in MLflow. The operating system
releases the lock when the process ends for any reason. The next command then finds an unlocked file.
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
from pipeline.tracking.store import get_tracking_uri, is_store_missing, make_portable, open_client, resolve_uri

logger = logging.getLogger("pipeline.tracking")

FOLDER = CACHE / "open_runs"  # in the project's folder


class OpenRuns:
    """File that lists the runs which this process logs and which have not ended in MLflow: run names by run key."""

    def __init__(self, tracking: Tracking, project: Project) -> None:
        self._path = project.original_home / FOLDER / f"{uuid.uuid4().hex}.json"
        self._lock = FileLock(self._path.with_suffix(".lock"), thread_local=False)
        self._store = {"uri": make_portable(get_tracking_uri(tracking)), "experiment": tracking.experiment}
        self._names: dict[str, str] = {}
        self._mutex = threading.Lock()  # one thread adds runs, another removes them

    def add(self, key: str, name: str) -> None:
        """Add a run; called before it is created in MLflow."""
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
        """Remove the file, or leave it for the next command if a run has not ended in MLflow."""
        with self._mutex:
            if self._lock.is_locked:
                if not self._names:
                    _remove(self._path)
                self._lock.release()

    def _write(self) -> None:
        write_text(self._path, json.dumps({**self._store, "runs": self._names}))


def mark_killed(project: Project) -> dict[str, str]:
    """Mark the runs of this project's killed processes as KILLED; store errors are logged, not raised.

    If the store does not answer, a later command marks the runs.

    Returns:
        The names of the marked runs by run key. Some may have finished before their process could log it.
    """
    marked: dict[str, str] = {}
    for path in sorted((project.original_home / FOLDER).glob("*.json")):
        lock = FileLock(path.with_suffix(".lock"), timeout=0)
        with contextlib.suppress(OSError), lock:  # filelock's Timeout is an OSError: the process is alive
            try:
                if path.exists():
                    marked |= _mark(json.loads(path.read_text(encoding="utf-8")), project)
            except Exception:  # raised by MLflow, a database driver or the disk
                logger.debug("The runs in %s could not be marked as KILLED.", path, exc_info=True)
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
