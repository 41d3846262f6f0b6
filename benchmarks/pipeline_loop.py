"""Measure the throughput of this project's training loop, with the training parameters of `params.yaml`."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.networks import CLASSES, NUM_CLASSES, Workload, create_cell, create_random_split
from benchmarks.step_timer import MIN_STEPS
from pipeline.models.factory import build_network
from pipeline.models.precision import resolve_precision
from pipeline.runtime.operating_system import disable_malloc_trim
from pipeline.train.loop import EvalSplits, train


def measure_images_per_second(network: str, workload: Workload) -> float:
    """Train a network and return its throughput, based on the seconds that `timing.json` has as `training_seconds`."""
    disable_malloc_trim()
    torch.set_num_threads(workload.num_threads)
    torch.manual_seed(0)
    cell = create_cell(network, workload.batch_size, workload.num_threads)
    split = create_random_split(2 * workload.batch_size, workload.image_size)
    split = split.take(np.arange(workload.steps_per_epoch * workload.batch_size) % len(split))
    eval_split = split.take(np.arange(1))
    model = build_network(cell.model, channels=3, classes=NUM_CLASSES).to(workload.device)
    precision = resolve_precision(cell.train.precision)
    images, seconds = 0, 0.0
    eval_splits = EvalSplits(eval_split, eval_split, eval_split)
    for epoch in train(model, cell, split, eval_splits, CLASSES, precision):
        if epoch.number > 1:  # the first epoch is warm-up
            images, seconds = images + epoch.images, seconds + epoch.training_seconds
        if seconds >= workload.min_seconds and images >= MIN_STEPS * workload.batch_size:
            break
    return images / seconds
