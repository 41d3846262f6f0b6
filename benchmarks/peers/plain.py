"""A training step in five lines of PyTorch: one batch over and over, no data, no augmentation, no schedule."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.peers.pace import Pace
from benchmarks.workload import BATCH, made_up, usual_network
from pipeline.data.batch_loader import BatchLoader


def images_per_second(network: str, threads: int, precision: str) -> float:
    """In float32 as torch comes, or in bfloat16 by autocast, with channels_last."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = usual_network(network).train()
    images, masks = BatchLoader(made_up(BATCH), torch.device("cpu")).take(np.arange(BATCH))
    layout = torch.channels_last if precision == "bfloat16" else torch.contiguous_format
    model, images = model.to(memory_format=layout), images.contiguous(memory_format=layout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    pace = Pace()
    while True:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            loss = F.cross_entropy(model(images).float(), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if pace.step():
            return pace.images_per_second(BATCH)
