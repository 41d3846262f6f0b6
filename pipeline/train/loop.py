"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import ReduceLROnPlateau

from pipeline.artifacts.prepared_data import Split
from pipeline.artifacts.run_folder import Precision
from pipeline.data.augment import augment
from pipeline.data.patch_loader import create_loader
from pipeline.inference.prediction import Prediction, predict_split
from pipeline.inference.tiles import Tiles
from pipeline.models.losses import create_loss
from pipeline.models.precision import autocast_context, get_device
from pipeline.params.train import Train
from pipeline.runtime.shutdown import check_signals
from pipeline.train.checkpoints import TrainState
from pipeline.train.ema import create_ema
from pipeline.train.encoder import freeze_encoder
from pipeline.train.epoch_loss import DivergedError, EpochLoss
from pipeline.train.lr_schedulers import create_lr_scheduler
from pipeline.train.optimizers import create_optimizer


@dataclass(frozen=True)
class EvalSplits:
    """Splits that are evaluated without augmentation at the end of each epoch."""

    train: Split  # fixed subset of the training images, as large as validation if possible
    validation: Split
    showcase: Split


@dataclass(frozen=True)
class Epoch:
    """Results of one pass over the training images."""

    number: int  # counted from 1
    learning_rate: float  # learning rate of the last step
    # mean of the minimized loss over the augmented batches with evaluated pixels, in training mode; NaN without batches
    objective: float
    train: Prediction
    validation: Prediction
    showcase: Prediction
    network: nn.Module  # evaluated network: the trained one, or its moving average
    state: TrainState  # state from which the next epoch continues
    images: int  # number of images or patches trained on, excluding an incomplete last step
    training_seconds: float
    eval_seconds: float  # time for the three predictions


def train(
    network: nn.Module,
    training: Split,
    eval_splits: EvalSplits,
    settings: Train,
    learning_rate: float,
    seed: int,
    classes: int,
    precision: Precision,
    done: int = 0,
    state: Mapping[str, Any] | None = None,
    foreground: Sequence[int] = (),
    tiles: Tiles | None = None,
    class_weights: Sequence[float] | None = None,
) -> Iterator[Epoch]:
    """Train a network in place and yield each epoch as it ends; the caller copies the weights that it needs.

    With a `state` that was saved after epoch `done`, training resumes there, and the remaining epochs are bit-identical
    to those of an uninterrupted run. Native-size images are trained on in patches, some of which are centered on pixels
    of the `foreground` classes, and are evaluated in `tiles`. `class_weights` has one weight per class for the loss.

    Raises:
        DivergedError: A loss is NaN or infinite; earlier epochs remain valid.
    """
    # Before the optimizer is created, because its state takes the memory layout of the weights. Fast CPU convolutions
    # need channels_last.
    network.to(memory_format=torch.channels_last)
    device = get_device(network)
    batches = create_loader(training, device, settings, foreground)
    rng = torch.Generator().manual_seed(seed)
    # Incomplete last batches and steps are dropped: batch normalization over a few images is noisy.
    batch_size = min(settings.batch_size, len(batches))
    accumulated = min(settings.gradient_accumulation_steps, len(batches) // batch_size)
    step_size = accumulated * batch_size  # images
    steps = len(batches) // step_size
    criterion = create_loss(settings.loss, settings.label_smoothing, class_weights)
    optimizer = create_optimizer(network, settings, learning_rate)
    scheduler = create_lr_scheduler(optimizer, settings.lr_scheduler, settings.epochs * steps)
    ema = create_ema(network, settings.ema_decay) if settings.ema_decay else None
    evaluated_network = network if ema is None else ema.module
    current = TrainState(network, optimizer, scheduler, ema, rng)
    if state is not None:
        current.load_state_dict(state)

    for number in range(done + 1, settings.epochs + 1):
        started = time.perf_counter()
        network.train()
        if settings.frozen_epochs:
            freeze_encoder(network, optimizer, is_frozen=number <= settings.frozen_epochs)
        losses = EpochLoss(number, device)
        order = batches.draw_epoch(rng)
        for step in range(steps):
            check_signals()
            optimizer.zero_grad(set_to_none=True)
            for first in range(step * step_size, (step + 1) * step_size, batch_size):
                chosen = np.sort(order[first : first + batch_size])  # reading in file order is faster
                batch = batches.take(chosen)
                if settings.augmentation is not None:
                    batch = augment(batch, settings.augmentation, rng, batches.size)
                with autocast_context(precision, device):
                    logits = network(batch.images)
                loss = criterion(logits, batch.masks, batch.boundary)
                losses.add(loss, batch.masks)
                (loss / accumulated).backward()  # type: ignore[no-untyped-call]
            if settings.max_grad_norm is not None:
                clip_grad_norm_(network.parameters(), settings.max_grad_norm)
            optimizer.step()
            learning_rate_now = float(optimizer.param_groups[0]["lr"])
            if not isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step()
            if ema is not None:
                ema.update_parameters(network)

        objective = losses.compute_mean()  # before the clock is read, because it waits for a GPU
        trained = time.perf_counter()
        on_train, on_validation, on_showcase = (
            predict_split(evaluated_network, split, classes, precision, tiles=tiles)
            for split in (eval_splits.train, eval_splits.validation, eval_splits.showcase)
        )
        if not np.isfinite([on_train.loss, on_validation.loss]).all():
            raise DivergedError(number)
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(on_validation.loss)
        eval_seconds = time.perf_counter() - trained
        yield Epoch(
            number=number,
            learning_rate=learning_rate_now,
            objective=objective,
            train=on_train,
            validation=on_validation,
            showcase=on_showcase,
            network=evaluated_network,
            state=current,
            images=steps * step_size,
            training_seconds=trained - started,
            eval_seconds=eval_seconds,
        )
