"""Train a cell's network with a learning rate that increases at every step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from pipeline.artifacts.project import Project
from pipeline.data.augment import augment
from pipeline.data.batch_loader import BatchLoader
from pipeline.data.subsets import select_training_subset
from pipeline.lr_find import HIGHEST, LOWEST, STEPS
from pipeline.lr_find.suggestion import RangeTest
from pipeline.models.factory import build_network
from pipeline.models.losses import create_loss
from pipeline.models.precision import autocast_context, resolve_precision, select_device
from pipeline.params import Cell
from pipeline.train.optimizers import create_optimizer
from pipeline.variants.model_checks import check_batch


def run_range_test(cell: Cell, project: Project, on_step: Callable[[int, float, float], None]) -> RangeTest:
    """Train a cell's network on the prepared training images with an increasing learning rate; nothing is written.

    The cell's own learning rate and scheduler are not used. `on_step` is called with the step, from 1 on, its learning
    rate and its loss.

    Raises:
        PipelineError: The prepared data are missing, or the network or optimizer cannot be built.
    """
    torch.set_num_threads(cell.train.num_threads)
    rng = torch.Generator().manual_seed(cell.seed)
    dataset, classes = project.prepared.open_split("train"), project.prepared.dataset.classes
    training = dataset.take(select_training_subset(len(dataset), cell.max_train_images))
    size, channels = training.images.shape[2:]
    check_batch(cell, cell.train.batch_size, size, channels, len(classes))  # images are drawn with replacement
    torch.manual_seed(cell.seed)
    precision = resolve_precision(cell.train.precision)
    network = build_network(cell.model, channels, classes=len(classes))
    device = select_device()
    network.to(device).to(memory_format=torch.channels_last).train()
    batches = BatchLoader(training, device)
    loss_function = create_loss(cell.train.loss, cell.train.label_smoothing)
    optimizer = create_optimizer(network, cell.train, LOWEST)
    factors = [group["lr"] / LOWEST for group in optimizer.param_groups]
    learning_rates = np.geomspace(LOWEST, HIGHEST, STEPS)
    losses = []
    for step, learning_rate in enumerate(learning_rates, start=1):
        indices = torch.randint(len(training), (cell.train.batch_size,), generator=rng).sort().values.numpy()
        images, masks = batches.take(indices)
        if cell.train.augmentation is not None:
            images, masks = augment(images, masks, cell.train.augmentation, rng)
        for group, factor in zip(optimizer.param_groups, factors, strict=True):
            group["lr"] = float(learning_rate) * factor
        with autocast_context(precision, device):
            logits = network(images)
        loss = loss_function(logits, masks)
        losses.append(float(loss.detach()))
        on_step(step, float(learning_rate), losses[-1])
        if not np.isfinite(losses[-1]):
            break
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return RangeTest(learning_rates[: len(losses)], np.array(losses))
