"""A run mirrored into MLflow while it trains, in a thread of its own: the training never waits for the store.

Importing MLflow and opening its store take seconds, and each answer of a distant server a twentieth of one; all of
that passes beside the steps. What is told is told in order, and all of it before the block ends.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipeline.params import Tracking
from pipeline.signals import uncut
from pipeline.tracking.mirror import End, Mirror
from pipeline.tracking.system_metrics import SystemMetrics


class LiveMirror:
    """Takes what a `Mirror` takes, and returns at once."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mlflow")
        self._mirror: Future[Mirror] = Future()
        self._mistake: BaseException | None = None
        self._system = SystemMetrics()

    def open(self, **run: Any) -> None:
        """As `Mirror.open`; the first thing to tell."""
        self._mirror = self._thread.submit(lambda: Mirror.open(**run))
        self._tell(self._follow)

    def log_epoch(self, epoch: int, values: Mapping[str, float], timestamp_ms: int) -> None:
        """As `Mirror.log_epoch`."""
        self._tell(lambda mirror: mirror.log_epoch(epoch, values, timestamp_ms))
        self._tell(self._follow)  # a store may answer late, and another run may have taken this one's place

    def log_folder(self, folder: Path, under: str) -> None:
        """As `Mirror.log_folder`; the folder must stay as it is until the block ends."""
        self._tell(lambda mirror: mirror.log_folder(folder, under))

    def log_dataset(self, title: str, source: str, digest: str) -> None:
        """As `Mirror.log_dataset`."""
        self._tell(lambda mirror: mirror.log_dataset(title, source, digest))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """As `Mirror.set_tags`."""
        self._tell(lambda mirror: mirror.set_tags(tags))

    def end(self, status: End) -> None:
        """As `Mirror.end`; returns when all was told."""
        self._tell(lambda _: self._system.stop())
        self._tell(lambda mirror: mirror.end(status))
        with uncut():  # or a run that is stopped right now stays RUNNING
            self._thread.shutdown()
        if self._mistake is not None:  # of ours: a mirror raises nothing on account of the store
            raise self._mistake

    def _follow(self, mirror: Mirror) -> None:
        self._system.follow(mirror.run_id, mirror.uri)

    def _tell(self, what: Callable[[Mirror], None]) -> None:
        self._thread.submit(lambda: what(self._mirror.result())).add_done_callback(self._note)

    def _note(self, told: Future[None]) -> None:
        self._mistake = self._mistake or told.exception()


@contextlib.contextmanager
def live_mirror(
    tracking: Tracking, *, name: str, key: str, parameters: Mapping[str, Any], tags: Mapping[str, str]
) -> Iterator[LiveMirror]:
    """Mirror a run for a block, at whose end it is FINISHED, KILLED where somebody stopped it, or FAILED.

    Arguments as of `Mirror.open`. Nothing is raised on account of the store.
    """
    mirror = LiveMirror()
    end: End = "FAILED"
    try:  # from before the run begins, or one that is stopped right then stays RUNNING
        mirror.open(tracking=tracking, name=name, key=key, parameters=parameters, tags=tags)
        yield mirror
        end = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        end = "KILLED"
        raise
    finally:
        mirror.end(end)
