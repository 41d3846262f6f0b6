"""The range test's training: a cell's network, loss, optimiser and batches, at a rate that grows from step to step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from pipeline import runs
from pipeline.data.augment import augment
from pipeline.data.batch_loader import BatchLoader
from pipeline.data.prepared import open_split, select_training_subset
from pipeline.lr_find.rates import HIGHEST, LOWEST, STEPS
from pipeline.lr_find.suggestion import RangeTest
from pipeline.models.arithmetic import arithmetic, compute_device, resolve_precision
from pipeline.models.build import build_network
from pipeline.models.losses import objective
from pipeline.params import Cell
from pipeline.runs import DataSet
from pipeline.train.optimisers import build_optimiser
from pipeline.variants.batch import check_batch


def range_test(cell: Cell, root: Path, listen: Callable[[int, float, float], None]) -> RangeTest:
    """Train a cell's network on the prepared training images while the rate grows; nothing is written.

    Args:
        cell: what to train; its own rate and schedule are not used.
        root: the project's folder.
        listen: called with the step, counted from 1, its rate and its loss.

    Raises:
        PipelineError: The prepared data is missing, or the network or optimiser cannot be built.
    """
    torch.set_num_threads(cell.train.threads)
    random = torch.Generator().manual_seed(cell.seed)
    everything, classes = open_split("train", root / runs.PREPARED), DataSet.read(root / runs.PREPARED).classes
    training = everything.take(select_training_subset(len(everything), cell.train_images))
    size, channels = training.images.shape[2:]
    check_batch(cell, cell.train.batch_size, size, channels, len(classes))  # images are drawn with replacement
    torch.manual_seed(cell.seed)
    precision = resolve_precision(cell.train.precision)
    network = build_network(cell.model, channels, classes=len(classes))
    device = compute_device()
    network.to(device).to(memory_format=torch.channels_last).train()
    batches = BatchLoader(training, device)
    minimised = objective(cell.train.objective, cell.train.label_smoothing)
    optimiser = build_optimiser(network, cell.train, LOWEST)
    shares = [group["lr"] / LOWEST for group in optimiser.param_groups]
    rates = np.geomspace(LOWEST, HIGHEST, STEPS)
    losses = []
    for step, rate in enumerate(rates, start=1):
        chosen = torch.randint(len(training), (cell.train.batch_size,), generator=random).sort().values.numpy()
        images, masks = batches.take(chosen)
        if cell.train.augmentation is not None:
            images, masks = augment(images, masks, cell.train.augmentation, random)
        for group, share in zip(optimiser.param_groups, shares, strict=True):
            group["lr"] = float(rate) * share
        with arithmetic(precision, device):
            logits = network(images)
        loss = minimised(logits, masks)
        losses.append(float(loss.detach()))
        listen(step, float(rate), losses[-1])
        if not np.isfinite(losses[-1]):
            break
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return RangeTest(rates[: len(losses)], np.array(losses))
