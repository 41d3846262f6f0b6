"""Estimate how long the grid's runs take at each image size by timing a few training steps on blank images.

The estimates depend on the machine and its load, so they are shown but never written to a file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from pipeline.data.batch_loader import Batch
from pipeline.init.suggestion import Suggestion
from pipeline.models.factory import build_cell_network
from pipeline.models.precision import resolve_precision, select_device
from pipeline.params import Cell, Params
from pipeline.runtime.operating_system import count_cores
from pipeline.sweep.gpus import list_gpus
from pipeline.train.trainer import Trainer
from pipeline.variants.model_checks import find_size_problem

CPU_SIZES, GPU_SIZES = (64, 128), (256, 512)  # px; small images would only measure a GPU's kernel launches
STEPS = 2  # steps timed at each size; the fastest counts
SLOW = 1.0  # seconds; a step that takes longer is timed only once
PATIENCE = 15.0  # seconds; variants left after that get the mean of the measured ones


@dataclass(frozen=True)
class StepTime:
    """Linear model of a variant's step duration as a function of the number of pixels per image."""

    fixed: float  # seconds
    per_pixel: float  # seconds

    def seconds(self, size: int) -> float:
        """Estimate the duration of a step with images of size x size px, in seconds."""
        return self.fixed + self.per_pixel * size**2


@dataclass(frozen=True)
class GridTime:
    """Duration of a grid's training steps."""

    runs: int  # number of runs in the grid
    at_once: int  # number of runs trained at the same time
    steps: Mapping[str, int]  # total number of steps in a variant's runs, by variant
    step_times: Mapping[str, StepTime]  # by variant; variants that could not be run are missing

    def step_seconds(self, size: int) -> float:
        """Estimate the mean duration of the grid's steps, in seconds."""
        steps = {name: self.steps[name] for name in self.step_times}
        spent = sum(count * self.step_times[name].seconds(size) for name, count in steps.items())
        return spent / sum(steps.values())

    def seconds(self, size: int) -> float:
        """Estimate the duration of the whole grid, in seconds."""
        return self.step_seconds(size) * sum(self.steps.values()) / min(self.at_once, self.runs)

    def find_slowest(self, size: int) -> str:
        """Find the variant with the slowest steps at a size."""
        return max(self.step_times, key=lambda name: self.step_times[name].seconds(size))

    def summary(self) -> str:
        """Describe what the estimated times include."""
        each = round(sum(self.steps.values()) / self.runs)
        missing = [name for name in self.steps if name not in self.step_times]
        without = f"; not measured: {', '.join(missing)}" if missing else ""
        return (
            f"Times are rough estimates of training on this machine: {self.runs} runs of {each:,} steps,\n"
            f"{self.at_once} at a time{without}."
        )


def measure_grid_time(params: Params, suggestion: Suggestion, classes: int) -> GridTime | None:
    """Time a few training steps of the grid's networks on blank images. Return None if no network can be run."""
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
    at_once = len(list_gpus()) or count_cores() // max(cell.train.num_threads for cell in cells.values())
    return GridTime(len(runs), max(1, at_once), steps, found)


def _time_variant(cell: Cell, batch: int, channels: int, classes: int) -> StepTime | None:
    """Time a variant at two sizes. Return None if its network or optimizer cannot be run."""
    is_cpu = select_device().type == "cpu"
    sizes = CPU_SIZES if is_cpu else GPU_SIZES
    # With one thread, CPU time is measured, because other programs do not affect it.
    clock = time.process_time if is_cpu and cell.train.num_threads == 1 else time.perf_counter
    if any(find_size_problem(cell, (size, size)) for size in sizes):
        return None
    with torch.random.fork_rng(devices=[]):
        try:
            step = _build_step(cell, batch, channels, classes)
            step(sizes[0])  # the first step also compiles and allocates
            (low, fast), (high, slow) = ((size, _time(step, size, clock)) for size in sizes)
        except (Exception, SystemExit):  # custom code may raise any exception; training reports it
            return None
    slope = (slow - fast) / (high**2 - low**2)
    fixed = fast - slope * low**2
    if slope <= 0 or fixed < 0:  # other programs disturbed the measurement
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
    """Build a function that runs a training step, as in training, on blank images of a given size."""
    device, precision = select_device(), resolve_precision(cell.train.precision)
    network = build_cell_network(cell, channels, classes).to(device)
    trainer = Trainer(network, cell.train, 1e-4, precision)
    rng = torch.Generator().manual_seed(0)

    def step(size: int) -> None:
        images = torch.zeros(batch, channels, size, size, device=device).to(memory_format=torch.channels_last)
        samples = Batch(images, torch.zeros(batch, size, size, dtype=torch.int64, device=device))
        loss, _ = trainer.accumulate_gradients(samples, rng)
        trainer.update_weights()
        loss.item()  # wait for a GPU

    return step
