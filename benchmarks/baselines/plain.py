"""Measure the throughput of a plain PyTorch training step on one batch, without data loading and augmentation."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.networks import Workload, build_baseline_network, create_random_split
from pipeline.data.batch_loader import BatchLoader


def measure_images_per_second(network: str, workload: Workload, precision: str) -> float:
    """Train in float32 with torch's defaults, or in bfloat16 with autocast and channels_last; return the throughput."""
    torch.set_num_threads(workload.num_threads)
    torch.manual_seed(0)
    model = build_baseline_network(network).to(workload.device).train()
    split, device = create_random_split(workload.batch_size, workload.image_size), torch.device(workload.device)
    images, masks, _ = BatchLoader(split, device).take(np.arange(workload.batch_size))
    layout = torch.channels_last if precision == "bfloat16" else torch.contiguous_format
    model, images = model.to(memory_format=layout), images.contiguous(memory_format=layout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    timer = workload.create_timer()
    while True:
        with torch.autocast(workload.device, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            loss = F.cross_entropy(model(images).float(), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if timer.record_step():
            return timer.compute_images_per_second(workload.batch_size)
