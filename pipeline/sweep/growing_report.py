"""Render the report while a sweep runs, whenever a run ends."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from types import TracebackType

import click

from pipeline.artifacts.project import CACHE, EVALUATION, GROWING_REPORT, PREPARED, RUNS, Project
from pipeline.compare.compare_runs import compare
from pipeline.errors import PipelineError, user_message
from pipeline.params import Cell, Params
from pipeline.report.sections.progress import SweepProgress
from pipeline.report.waiting_page import write_waiting_page
from pipeline.report.write_report import GrowingGrid, write_report
from pipeline.runtime.progress import EpochProgress

FOLDER = CACHE / "growing_report"  # like a project's folder, with the comparison of the runs that have ended
MAX_SHARE = 0.02


class GrowingReport:
    """Context manager that renders the report of the runs that have ended, in a thread.

    The stage `report` replaces the page by a link to the report. An error ends the rendering, but not the sweep.

    Args:
        params: The parameters of the project.
        project: The project.
        complete: Names of the runs that are up to date.
        waiting: Names of the runs to train or evaluate, in their order.
        max_share: Maximum share of one core's time for the rendering. A run that ends too early for this is shown by
            the next rendering.
    """

    def __init__(
        self,
        params: Params,
        project: Project,
        complete: Iterable[str],
        waiting: Iterable[str],
        max_share: float = MAX_SHARE,
    ) -> None:
        self._params, self._project, self._max_share = params, project, max_share
        self._complete, self._waiting = set(complete), dict.fromkeys(waiting)
        self._running: dict[str, EpochProgress] = {}
        self._failed: list[str] = []
        self._thread: threading.Thread | None = None
        self._next = 0.0  # time.monotonic() before which the page is not rendered
        self._has_error = False

    @property
    def path(self) -> Path:
        """The page."""
        return self._project.root / GROWING_REPORT

    def __enter__(self) -> GrowingReport:
        """Render the page for the first time."""
        self._start_rendering()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait until the page is written; if runs are left, write it again without reloading."""
        self.wait()
        if kind is None and (self._waiting or self._running or self._failed):
            self._render(*self._take_state(is_stopped=True))

    def wait(self) -> None:
        """Wait until the page is written, if it is being rendered."""
        if self._thread:
            self._thread.join()

    def show_epoch(self, progress: EpochProgress) -> None:
        """Note the progress of a run, which the next rendering shows."""
        self._waiting.pop(progress.run, None)
        self._running[progress.run] = progress

    def end_run(self, name: str, *, is_complete: bool) -> None:
        """Render the page with a run that has ended, unless rendering would take too much of the time."""
        self._waiting.pop(name, None)
        self._running.pop(name, None)
        if is_complete:
            self._complete.add(name)
        else:
            self._failed.append(name)
        is_rendering = self._thread is not None and self._thread.is_alive()
        if not self._has_error and not is_rendering and time.monotonic() >= self._next:
            self._start_rendering()

    def _start_rendering(self) -> None:
        self._thread = threading.Thread(target=self._render, args=self._take_state(is_stopped=False), daemon=True)
        self._thread.start()

    def _take_state(self, *, is_stopped: bool) -> tuple[list[Cell], SweepProgress]:
        cells = [cell for cell in self._params.cells() if cell.name in self._complete]
        progress = SweepProgress(
            complete=len(cells),
            running=tuple(f"{name}, {epoch.describe()}" for name, epoch in self._running.items()),
            waiting=tuple(self._waiting),
            failed=tuple(self._failed),
            time=f"{datetime.now():%H:%M}",
            is_stopped=is_stopped,
        )
        return cells, progress

    def _render(self, cells: list[Cell], progress: SweepProgress) -> None:
        began = time.thread_time()
        try:
            if cells:
                shown = self._link_artifacts()
                compare(self._params, shown, cells)
                source = GrowingGrid(shown.root, progress)
                write_report(self._params, None, self.path, self._project, source=source)
            else:
                write_waiting_page(self._params, self._project, progress)
        except (PipelineError, OSError) as error:
            self._has_error = True
            click.echo(f"The report is not updated while the runs train: {user_message(error)}", err=True)
        self._next = time.monotonic() + (time.thread_time() - began) / self._max_share

    def _link_artifacts(self) -> Project:
        """Return a folder like the project's, without its comparison, which only the stage `compare` may write."""
        shown = Project(self._project.root / FOLDER)
        shutil.rmtree(shown.root, ignore_errors=True)
        for name in (PREPARED, RUNS, EVALUATION):
            link = shown.root / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to((self._project.root / name).resolve())
        return shown
