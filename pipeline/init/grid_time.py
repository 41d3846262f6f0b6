"""Estimate how long the grid's runs take at each image size, from a few real steps on blank images.

The numbers depend on the machine and on what else it does: they are shown, and never written to a file.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from pipeline.data.augment import augment
from pipeline.data.batch_loader import Batch
from pipeline.init.suggestion import Suggestion
from pipeline.models.factory import build_network
from pipeline.models.losses import create_loss
from pipeline.models.precision import autocast_context, resolve_precision, select_device
from pipeline.params import Cell, Params
from pipeline.sweep.gpus import list_gpus
from pipeline.train.optimizers import create_optimizer
from pipeline.variants.model_checks import find_size_problem

CPU_SIZES, GPU_SIZES = (64, 128), (256, 512)  # px; small images on a GPU would measure only its launching of kernels
STEPS = 2  # that are timed at a size; the faster one counts
SLOW = 1.0  # seconds; such a step is timed once
PATIENCE = 15.0  # seconds, after which the variants left take the mean of those measured


@dataclass(frozen=True)
class StepTime:
    """A line through measured steps of a variant: seconds by the pixels of an image."""

    fixed: float
    per_pixel: float

    def seconds(self, size: int) -> float:
        """Estimate a step at size x size px."""
        return self.fixed + self.per_pixel * size**2


@dataclass(frozen=True)
class GridTime:
    """The time of a grid's training steps."""

    runs: int  # of the grid
    at_once: int  # runs trained at the same time
    steps: Mapping[str, int]  # of all runs of a variant together
    step_times: Mapping[str, StepTime]  # by variant; variants that could not be run are missing

    def step_seconds(self, size: int) -> float:
        """Average a step over the grid's steps."""
        steps = {name: self.steps[name] for name in self.step_times}
        spent = sum(count * self.step_times[name].seconds(size) for name, count in steps.items())
        return spent / sum(steps.values())

    def seconds(self, size: int) -> float:
        """Estimate the whole grid."""
        return self.step_seconds(size) * sum(self.steps.values()) / min(self.at_once, self.runs)

    def find_slowest(self, size: int) -> str:
        """Find the variant with the longest step at a size."""
        return max(self.step_times, key=lambda name: self.step_times[name].seconds(size))

    def summary(self) -> str:
        """Describe what the times are of."""
        each = round(sum(self.steps.values()) / self.runs)
        missing = [name for name in self.steps if name not in self.step_times]
        without = f"; not measured: {', '.join(missing)}" if missing else ""
        return (
            f"Times are rough, of this machine, for training alone: {self.runs} runs of {each:,} steps,\n"
            f"{self.at_once} at a time{without}."
        )


def measure_grid_time(params: Params, suggestion: Suggestion, classes: int) -> GridTime | None:
    """Time some training steps of the grid's networks on blank images; None if none of the networks can be run."""
    cells = {cell.variant: cell for cell in params.cells()}
    threads, started = torch.get_num_threads(), time.perf_counter()
    found: dict[str, StepTime] = {}
    try:
        for name, cell in cells.items():
            if time.perf_counter() - started < PATIENCE:
                torch.set_num_threads(cell.train.num_threads)
                batch = min(cell.train.batch_size, max(2, suggestion.count_samples(cell.train, cell.max_train_images)))
                if measured := _time_variant(cell, batch, suggestion.channels, classes):
                    found[name] = measured
    finally:
        torch.set_num_threads(threads)
    if not found:
        return None
    runs = [cell.variant for cell in params.cells()]
    steps = {name: runs.count(name) * suggestion.count_steps(cell) for name, cell in cells.items()}
    at_once = len(list_gpus()) or len(os.sched_getaffinity(0)) // max(cell.train.num_threads for cell in cells.values())
    return GridTime(len(runs), max(1, at_once), steps, found)


def format_duration(seconds: float) -> str:
    """Write a duration that is known to two digits at most."""
    for unit, length in (("days", 86_400.0), ("h", 3_600.0)):
        if seconds >= 1.5 * length:
            return f"{float(f'{seconds / length:.2g}'):g} {unit}"
    return f"{float(f'{seconds / 60:.2g}'):.0f} min" if seconds >= 60 else "1 min"


def _time_variant(cell: Cell, batch: int, channels: int, classes: int) -> StepTime | None:
    """Time a variant at two sizes; None if its network or optimizer cannot be run."""
    is_cpu = select_device().type == "cpu"
    sizes = CPU_SIZES if is_cpu else GPU_SIZES
    # With one thread the processor's own time, which other programs do not lengthen.
    clock = time.process_time if is_cpu and cell.train.num_threads == 1 else time.perf_counter
    if any(find_size_problem(cell, (size, size)) for size in sizes):
        return None
    with torch.random.fork_rng(devices=[]):
        try:
            step = _build_step(cell, batch, channels, classes)
            step(sizes[0])  # the first one also compiles and allocates
            (low, fast), (high, slow) = ((size, _time(step, size, clock)) for size in sizes)
        except (Exception, SystemExit):  # a user's own network may raise anything; its training reports it
            return None
    slope = (slow - fast) / (high**2 - low**2)
    fixed = fast - slope * low**2
    if slope <= 0 or fixed < 0:  # disturbed by something else on the machine
        slope, fixed = slow / high**2, 0.0
    return StepTime(fixed, slope)


def _time(step: Callable[[int], None], size: int, clock: Callable[[], float]) -> float:
    seconds: list[float] = []
    while len(seconds) < STEPS and sum(seconds) < SLOW:
        started = clock()
        step(size)
        seconds.append(clock() - started)
    return min(seconds)


def _build_step(cell: Cell, batch: int, channels: int, classes: int) -> Callable[[int], None]:
    """Build a training step on blank images of any size, as the loop has it."""
    device, precision = select_device(), resolve_precision(cell.train.precision)
    network = build_network(cell.model, channels, classes)
    network.to(device).to(memory_format=torch.channels_last).train()
    optimizer = create_optimizer(network, cell.train, 1e-4)
    loss_function = create_loss(cell.train.loss, cell.train.label_smoothing)
    random = torch.Generator().manual_seed(0)

    def step(size: int) -> None:
        images = torch.zeros(batch, channels, size, size, device=device).to(memory_format=torch.channels_last)
        samples = Batch(images, torch.zeros(batch, size, size, dtype=torch.int64, device=device))
        if cell.train.augmentation is not None:
            samples = augment(samples, cell.train.augmentation, random)
        with autocast_context(precision, device):
            logits = network(samples.images)
        loss = loss_function(logits, samples.masks)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss.item()  # waits for a GPU

    return step
