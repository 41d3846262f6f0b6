"""This project's loop as it is: augmentation, averaged weights and schedule as `params.yaml` has them."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.peers.pace import SECONDS, STEPS
from benchmarks.workload import BATCH, CLASSES, cell, made_up
from pipeline.models.factory import build_network
from pipeline.models.malloc import disable_malloc_trim
from pipeline.models.precision import resolve_precision
from pipeline.train.loop import EvalSplits, train


def images_per_second(network: str, threads: int) -> float:
    """Of `epoch.training_seconds`: what `timing.json` says of a run."""
    disable_malloc_trim()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    chosen = cell(network, threads=threads)
    split = made_up(2 * BATCH)
    few = split.take(np.arange(1))
    built = build_network(chosen.model, channels=3, classes=CLASSES)
    resolved = resolve_precision(chosen.train.precision)
    images, seconds = 0, 0.0
    for epoch in train(built, split, EvalSplits(few, few, few), chosen.train, 1e-3, 0, CLASSES, resolved):
        if epoch.number > 1:  # the first is warm-up
            images, seconds = images + epoch.images, seconds + epoch.training_seconds
        if seconds >= SECONDS and images >= STEPS * BATCH:
            break
    return images / seconds
