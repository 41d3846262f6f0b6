"""Training progress in a terminal and in plain output."""

from __future__ import annotations

import io

from rich.console import Console

from pipeline.runtime.progress import EpochProgress, TrainingProgress


def create_progress(epoch: int, run: str = "unet-0.01-0") -> EpochProgress:
    return EpochProgress(run, epoch, epochs=3, train_loss=0.5, val_loss=0.61, images_per_second=88.4)


def render_progress(terminal: bool) -> str:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=120, color_system=None)
    with TrainingProgress(runs=2, console=console) as progress:
        progress.show_epoch(create_progress(1))
        progress.show_epoch(create_progress(1, run="lite0-0.01-0"))
        progress.show_epoch(create_progress(2))
        progress.end_run("unet-0.01-0", "best epoch 2")
    return screen.getvalue()


def test_progress_without_a_terminal_is_plain_lines() -> None:
    assert render_progress(terminal=False).splitlines() == [
        "unet-0.01-0: epoch 1/3  train 0.500  val 0.610    88 images/s",
        "lite0-0.01-0: epoch 1/3  train 0.500  val 0.610    88 images/s",
        "unet-0.01-0: epoch 2/3  train 0.500  val 0.610    88 images/s",
        "unet-0.01-0: best epoch 2  (1 of 2)",
    ]


def test_progress_in_a_terminal_has_one_bar_per_run() -> None:
    output = render_progress(terminal=True)
    assert "unet-0.01-0: best epoch 2  (1 of 2)" in output
    bar = next(line for line in reversed(output.splitlines()) if line.startswith("lite0-0.01-0"))
    assert "1/3" in bar
    assert "88 images/s" in bar
    assert "all runs" in output


def test_progress_escapes_markup() -> None:
    screen = io.StringIO()
    with TrainingProgress(runs=1, console=Console(file=screen, force_terminal=False, width=120)) as progress:
        progress.end_run("unet", "[bold]reason[/bold]")
    assert "[bold]reason[/bold]" in screen.getvalue()
