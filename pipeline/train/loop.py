"""The training loop, top to bottom on a page."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from pipeline.data.augment import augment
from pipeline.data.batch_loader import BatchLoader
from pipeline.data.prepared import Split
from pipeline.inference.prediction import Prediction, predict_split
from pipeline.models.arithmetic import arithmetic, device_of
from pipeline.models.losses import objective
from pipeline.params.train import Train
from pipeline.runs import IGNORE, Precision
from pipeline.runtime.shutdown import check_signals
from pipeline.train.averaging import averaged
from pipeline.train.moving import Moving
from pipeline.train.optimisers import build_optimiser
from pipeline.train.schedules import build_schedule


class DivergedError(Exception):
    """A loss became NaN or infinite; `epoch` is the one it happened in, counted from 1."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"the loss was NaN or infinite in epoch {epoch}")
        self.epoch = epoch


@dataclass(frozen=True)
class Watched:
    """The sets that are looked at, without augmentation, at the end of each epoch."""

    train: Split  # the fixed subset of the training images, as large as validation
    validation: Split
    showcase: Split


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training images came to."""

    number: int  # from 1
    learning_rate: float  # of the last step
    objective: float  # mean over the steps with evaluated pixels, in training mode, augmented; NaN without any
    train: Prediction
    validation: Prediction
    showcase: Prediction
    network: nn.Module  # what the predictions are of: the network, or the mean of its weights
    moving: Moving  # what the next epoch starts from
    images: int  # trained on; those of a last batch that was not full are left out
    training_seconds: float
    watching_seconds: float  # spent on the three predictions


def train(
    network: nn.Module,
    training: Split,
    watched: Watched,
    settings: Train,
    learning_rate: float,
    seed: int,
    classes: int,
    precision: Precision,
    done: int = 0,
    state: Mapping[str, Any] | None = None,
) -> Iterator[Epoch]:
    """Train the network in place and hand out each epoch as it ends; the caller keeps the weights it wants.

    A training that was stopped after `done` epochs, with the `state` of the last one's `moving`, goes on from there:
    what follows is the same, bit by bit, as if it had not been stopped.

    Raises:
        DivergedError: A loss is NaN or infinite; the epochs before stand.
    """
    # Before the optimiser is made: its state takes the layout of the weights. channels_last is what the fast
    # convolutions of a CPU read.
    network.to(memory_format=torch.channels_last)
    device = device_of(network)
    batches = BatchLoader(training, device)
    random = torch.Generator().manual_seed(seed)
    # A last batch that is not full is dropped: batch normalisation over a few images would be a noisier network.
    batch = min(settings.batch_size, len(training))
    steps = len(training) // batch
    minimised = objective(settings.objective, settings.label_smoothing)
    optimiser = build_optimiser(network, settings, learning_rate)
    schedule = build_schedule(optimiser, settings.schedule, settings.epochs * steps)
    mean = averaged(network, settings.averaging) if settings.averaging else None
    model = network if mean is None else mean.module
    moving = Moving(network, optimiser, schedule, mean, random)
    if state is not None:
        moving.restore(state)

    for number in range(done + 1, settings.epochs + 1):
        started = time.perf_counter()
        network.train()
        total, evaluated = 0.0, 0
        order = torch.randperm(len(training), generator=random).numpy()
        for step in range(steps):
            check_signals()
            chosen = np.sort(order[step * batch : (step + 1) * batch])  # in the file's order, kinder to the disk
            images, masks = batches.take(chosen)
            if settings.augmentation is not None:
                images, masks = augment(images, masks, settings.augmentation, random)
            with arithmetic(precision, device):
                logits = network(images)
            loss = minimised(logits, masks)
            if not torch.isfinite(loss):
                raise DivergedError(number)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            rate = float(optimiser.param_groups[0]["lr"])
            if not isinstance(schedule, ReduceLROnPlateau):
                schedule.step()
            if mean is not None:
                mean.update_parameters(network)
            if (masks != IGNORE).any():  # the loss of a batch without evaluated pixels is undefined, not 0
                total, evaluated = total + float(loss.detach()), evaluated + 1

        trained = time.perf_counter()
        on_train, on_validation, on_showcase = (
            predict_split(model, split, classes, precision)
            for split in (watched.train, watched.validation, watched.showcase)
        )
        if not np.isfinite([on_train.loss, on_validation.loss]).all():
            raise DivergedError(number)
        if isinstance(schedule, ReduceLROnPlateau):
            schedule.step(on_validation.loss)
        watching = time.perf_counter() - trained
        yield Epoch(
            number=number,
            learning_rate=rate,
            objective=total / evaluated if evaluated else math.nan,
            train=on_train,
            validation=on_validation,
            showcase=on_showcase,
            network=model,
            moving=moving,
            images=steps * batch,
            training_seconds=trained - started,
            watching_seconds=watching,
        )
