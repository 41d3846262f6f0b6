"""Show progress: bars in a terminal, and otherwise one plain line per epoch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import rich.progress
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Item = TypeVar("Item")


def track(items: Iterable[Item], description: str, total: int, console: Console | None = None) -> Iterator[Item]:
    """Yield items and show a progress bar until the end; no bar is shown if the console is not a terminal.

    The console is stderr by default.
    """
    console = console or Console(stderr=True)
    hidden = not console.is_terminal
    yield from rich.progress.track(items, description, total, console=console, disable=hidden, transient=True)


class PredictionProgress:
    """Context manager that shows the progress of a prediction in images and tiles, if the console is a terminal."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            _RateColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )

    def __enter__(self) -> PredictionProgress:
        """Start drawing."""
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bars."""
        self._bars.stop()

    def track_images(self, images: Collection[Item]) -> Iterator[Item]:
        """Yield images and show how many are done."""
        yield from self._bars.track(images, len(images), description="Images")

    def track_tiles(self, strips: Iterable[Item], step: int, total: int) -> Iterator[Item]:
        """Yield the strips of an image, and show how many of its `total` tiles are done; a strip has `step` tiles."""
        task = self._bars.add_task("Tiles", total=total)
        try:
            for strip in strips:
                self._bars.advance(task, step)
                yield strip
        finally:
            self._bars.remove_task(task)


class _RateColumn(ProgressColumn):
    """Column with the number of units completed per second."""

    def render(self, task: Task) -> Text:
        """Return the text of the column."""
        return Text("" if task.speed is None else f"{task.speed:.1f}/s")


@dataclass(frozen=True)
class EpochProgress:
    """Progress of a run after an epoch, small enough to be sent between processes."""

    run: str
    epoch: int
    epochs: int
    train_loss: float  # nats per pixel, like val_loss
    val_loss: float
    images_per_second: float

    def describe(self) -> str:
        """Describe the progress in a phrase: epoch and losses."""
        return f"epoch {self.epoch} of {self.epochs}: training {self.train_loss:.3f}, validation {self.val_loss:.3f}"


class TrainingProgress:
    """Context manager that shows the progress, in epochs, of one or more runs."""

    def __init__(self, runs: int, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._tasks: dict[str, TaskID] = {}
        self._bars = Progress(
            TextColumn("{task.description}", justify="left"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(compact=True),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._all = self._bars.add_task("all runs", total=runs, numbers="", visible=runs > 1)
        self._ended = 0
        self._runs = runs

    def __enter__(self) -> TrainingProgress:
        """Start drawing."""
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing; the last state remains visible."""
        self._bars.stop()

    def show_epoch(self, epoch: EpochProgress) -> None:
        """Show a finished epoch."""
        numbers = f"train {epoch.train_loss:.3f}  val {epoch.val_loss:.3f}  {epoch.images_per_second:4.0f} images/s"
        if not self.console.is_terminal:
            self._line(f"{epoch.run}: epoch {epoch.epoch}/{epoch.epochs}  {numbers}")
            return
        if epoch.run not in self._tasks:
            self._tasks[epoch.run] = self._bars.add_task(epoch.run, total=epoch.epochs, numbers="")
        self._bars.update(self._tasks[epoch.run], completed=epoch.epoch, numbers=numbers)

    def end_run(self, run: str, message: str) -> None:
        """Replace the bar of a run by a line of text, so that the bars of a large grid do not fill the screen."""
        self._ended += 1
        if (task := self._tasks.pop(run, None)) is not None:
            self._bars.remove_task(task)
        self._bars.update(self._all, completed=self._ended)
        self._line(f"{run}: {message}  ({self._ended} of {self._runs})")

    def _line(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)
