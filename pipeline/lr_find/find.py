"""Run a learning-rate range test: show its progress, suggest a grid, and plot the losses."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from pipeline.artifacts.project import Project
from pipeline.atomic_io import write_bytes
from pipeline.data.class_weights import compute_class_weights
from pipeline.data.patch_loader import create_loader
from pipeline.data.subsets import select_training_subset
from pipeline.lr_find import HIGHEST, LOWEST, STEPS
from pipeline.lr_find.suggestion import RangeTest, Suggestion, suggest_grid
from pipeline.models.factory import build_cell_network
from pipeline.models.gpu_memory import explain_step_memory
from pipeline.models.precision import resolve_precision, select_device
from pipeline.params import Cell, Params
from pipeline.train.encoder import freeze_encoder
from pipeline.train.trainer import Trainer
from pipeline.variants.data_shape import choose_input_size
from pipeline.variants.model_checks import check_batch, check_models


@dataclass(frozen=True)
class SuggestedRates:
    """Learning rates suggested for a variant."""

    variant: str
    learning_rates: tuple[float, ...]  # the highest first; empty if the loss did not decrease at any learning rate
    halfway: float | None  # learning rate at half of the decrease in loss
    highest_tested: float

    def describe(self) -> str:
        """Describe the suggestion, or the reason why there is none, in a sentence."""
        if self.halfway is None:
            return (
                f"{self.variant}: the loss did not decrease at any learning rate up to {self.highest_tested:.0e}, so "
                "there is no suggestion. Check the curve (--plot FILE), the data and the network."
            )
        rates = ", ".join(f"1e{round(math.log10(rate))}" for rate in self.learning_rates)
        half = f"half of the decrease in loss was reached at {self.halfway:.1e}"
        return f"{self.variant}: {half}; try learning_rate: [{rates}]"


def find_learning_rates(params: Params, variant: str, plot: Path | None) -> SuggestedRates:
    """Suggest learning rates for a variant, and write a plot of the losses to the file `plot`.

    Raises:
        PipelineError: The variant is unknown, its network cannot be built, or the prepared data is missing.
    """
    cell = params.cell(variant, params.grid.learning_rate[0], params.grid.seed[0])
    check_models(params, [variant])
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[now]}"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task(variant, total=STEPS, now="")

        def show_progress(step: int, learning_rate: float, loss: float) -> None:
            bars.update(task, completed=step, now=f"learning rate {learning_rate:.0e}  loss {loss:.3f}")
            if not console.is_terminal and step % 40 == 0:
                click.echo(f"{variant}: learning rate {learning_rate:.0e}  loss {loss:.3f}", err=True)

        test = _run_range_test(cell, show_progress)
    found = suggest_grid(test)
    if plot:
        _draw_loss(test, found, variant, plot)
    highest = float(test.learning_rates[-1])
    return SuggestedRates(variant, found.grid if found else (), found.halfway if found else None, highest)


def _run_range_test(cell: Cell, on_step: Callable[[int, float, float], None]) -> RangeTest:
    """Train a cell's network on the prepared training images with an increasing learning rate; nothing is written.

    The cell's own learning rate and scheduler are not used. `on_step` is called after each step with the number of the
    step, counted from 1, the learning rate and the loss.

    Raises:
        PipelineError: The prepared data is missing, the network or optimizer cannot be built, or a training step does
            not fit into the memory of the GPU.
    """
    settings = cell.train
    torch.set_num_threads(settings.num_threads)
    rng = torch.Generator().manual_seed(cell.seed)
    prepared = Project().prepared
    dataset, classes = prepared.select_fold(cell.fold).open_split("train"), prepared.dataset.classes
    training = dataset.take(select_training_subset(len(dataset), cell.max_train_images))
    num_channels = training.num_channels
    # Images are drawn with replacement, so every batch is full.
    check_batch(cell, settings.batch_size, choose_input_size(cell, training.images.size), num_channels, len(classes))
    torch.manual_seed(cell.seed)
    precision = resolve_precision(settings.precision)
    network = build_cell_network(cell, num_channels, len(classes))
    device = select_device()
    network.to(device)
    loader = create_loader(training, device, settings, classes)
    trainer = Trainer(network, settings, LOWEST, precision, compute_class_weights(settings, training, classes))
    optimizer = trainer.optimizer
    if settings.frozen_epochs >= settings.epochs:
        freeze_encoder(network, optimizer, is_frozen=True)
    factors = [group["lr"] / LOWEST for group in optimizer.param_groups]
    learning_rates, accumulated = np.geomspace(LOWEST, HIGHEST, STEPS), settings.gradient_accumulation_steps
    losses = []
    for step, learning_rate in enumerate(learning_rates, start=1):
        for group, factor in zip(optimizer.param_groups, factors, strict=True):
            group["lr"] = float(learning_rate) * factor
        losses.append(0.0)
        with explain_step_memory(cell, loader.size):
            for _ in range(accumulated):
                batch = loader.take(loader.draw(settings.batch_size, rng))
                loss, _ = trainer.accumulate_gradients(batch, rng, loader.size, accumulated)
                losses[-1] += float(loss) / accumulated
        on_step(step, float(learning_rate), losses[-1])
        if not np.isfinite(losses[-1]):
            break
        trainer.update_weights()
    return RangeTest(learning_rates[: len(losses)], np.array(losses))


def _draw_loss(test: RangeTest, found: Suggestion | None, variant: str, path: Path) -> None:
    """Plot the losses against the learning rates, and mark the suggested grid."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.plot(test.learning_rates, test.losses, color="#b0b0b0", linewidth=1, label="batch")
    if found:
        axes.plot(test.learning_rates[: len(found.smoothed)], found.smoothed, color="#0072b2", label="running mean")
        for place, rate in enumerate(found.grid):
            axes.axvline(rate, color="#d55e00", linestyle=":", label=None if place else "suggested grid")
        shown = test.losses[: len(found.smoothed)]
        axes.set_ylim(0.9 * float(shown.min()), 1.3 * float(found.smoothed.max()))
    axes.set_title(f"{variant}: training with an increasing learning rate", loc="left", fontsize=11)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:], dpi=150)
    write_bytes(path, content.getbuffer())
