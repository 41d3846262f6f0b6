"""Progress bars in a terminal, and plain lines of the epochs elsewhere."""

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
    """Yield items with a transient progress bar, on stderr by default; without one if that is not a terminal."""
    console = console or Console(stderr=True)
    hidden = not console.is_terminal
    yield from rich.progress.track(items, description, total, console=console, disable=hidden, transient=True)


class PredictionProgress:
    """Shows the images and tiles of a prediction while it runs; a context manager. Nothing without a terminal."""

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
        """Yield images."""
        yield from self._bars.track(images, len(images), description="Images")

    def track_tiles(self, strips: Iterable[Item], step: int, total: int) -> Iterator[Item]:
        """Yield the strips of an image of `total` tiles, `step` in each."""
        task = self._bars.add_task("Tiles", total=total)
        try:
            for strip in strips:
                self._bars.advance(task, step)
                yield strip
        finally:
            self._bars.remove_task(task)


class _RateColumn(ProgressColumn):
    """How many units were completed per second."""

    def render(self, task: Task) -> Text:
        """See `ProgressColumn`."""
        return Text("" if task.speed is None else f"{task.speed:.1f}/s")


@dataclass(frozen=True)
class EpochProgress:
    """A finished epoch of a run, small enough to be sent between processes."""

    run: str
    epoch: int
    epochs: int
    train_loss: float  # nats per pixel, like val_loss
    val_loss: float
    images_per_second: float

    def describe(self) -> str:
        """Return a phrase on the progress of the run."""
        return f"epoch {self.epoch} of {self.epochs}: training {self.train_loss:.3f}, validation {self.val_loss:.3f}"


class TrainingProgress:
    """Shows the epochs of one or several runs; a context manager."""

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
        """Replace the bar of a run by a line, so that a long grid does not fill the screen."""
        self._ended += 1
        if (task := self._tasks.pop(run, None)) is not None:
            self._bars.remove_task(task)
        self._bars.update(self._all, completed=self._ended)
        self._line(f"{run}: {message}  ({self._ended} of {self._runs})")

    def _line(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)
