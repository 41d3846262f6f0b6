"""Measure the throughput of a plain PyTorch training step on one batch, without data loading and augmentation."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.networks import BATCH_SIZE, build_baseline_network, create_random_split
from benchmarks.step_timer import StepTimer
from pipeline.data.batch_loader import BatchLoader


def measure_images_per_second(network: str, num_threads: int, precision: str) -> float:
    """Train in float32 with torch's defaults, or in bfloat16 with autocast and channels_last; return the throughput."""
    torch.set_num_threads(num_threads)
    torch.manual_seed(0)
    model = build_baseline_network(network).train()
    images, masks, _ = BatchLoader(create_random_split(BATCH_SIZE), torch.device("cpu")).take(np.arange(BATCH_SIZE))
    layout = torch.channels_last if precision == "bfloat16" else torch.contiguous_format
    model, images = model.to(memory_format=layout), images.contiguous(memory_format=layout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    timer = StepTimer()
    while True:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            loss = F.cross_entropy(model(images).float(), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if timer.record_step():
            return timer.compute_images_per_second(BATCH_SIZE)
