"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from pipeline.artifacts.prepared_data import SegmentationClass, Split
from pipeline.artifacts.run_folder import Precision
from pipeline.data.class_weights import compute_class_weights
from pipeline.data.patch_loader import create_loader
from pipeline.inference.prediction import Prediction, create_tiles, predict_split
from pipeline.models.precision import get_device
from pipeline.params import Cell
from pipeline.runtime.shutdown import check_signals
from pipeline.train.checkpoints import TrainState
from pipeline.train.ema import create_ema
from pipeline.train.encoder import freeze_encoder
from pipeline.train.epoch_loss import DivergedError, EpochLoss
from pipeline.train.lr_schedulers import create_lr_scheduler
from pipeline.train.trainer import Trainer


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
    cell: Cell,
    training: Split,
    eval_splits: EvalSplits,
    classes: Sequence[SegmentationClass],
    precision: Precision,
    done: int = 0,
    state: Mapping[str, Any] | None = None,
) -> Iterator[Epoch]:
    """Train a network in place and yield each epoch as it ends; the caller copies the weights that it needs.

    With a `state` that was saved after epoch `done`, training resumes there, and the remaining epochs are bit-identical
    to those of an uninterrupted run. Native-size images are trained on in patches and evaluated in tiles.

    Raises:
        DivergedError: A loss is NaN or infinite; earlier epochs remain valid.
        PipelineError: The optimizer cannot be created, the state does not fit, the class weights do not fit the
            classes, or every image is smaller than a patch.
    """
    settings = cell.train
    device = get_device(network)
    loader = create_loader(training, device, settings, classes)
    class_weights = compute_class_weights(settings, training, classes)
    trainer = Trainer(network, settings, cell.learning_rate, precision, class_weights)
    optimizer = trainer.optimizer
    # Incomplete last batches and steps are dropped: batch normalization over a few images is noisy.
    batch_size = min(settings.batch_size, len(loader))
    accumulated = min(settings.gradient_accumulation_steps, len(loader) // batch_size)
    steps = len(loader) // (accumulated * batch_size)
    scheduler = create_lr_scheduler(optimizer, settings.lr_scheduler, settings.epochs * steps)
    ema = create_ema(network, settings.ema_decay) if settings.ema_decay else None
    evaluated_network = network if ema is None else ema.module
    rng = torch.Generator().manual_seed(cell.seed)
    current = TrainState(network, optimizer, scheduler, ema, rng)
    if state is not None:
        current.load_state_dict(state)
    tiles = create_tiles(cell, overlap=0.0)

    for number in range(done + 1, settings.epochs + 1):
        started = time.perf_counter()
        network.train()
        if settings.frozen_epochs:
            freeze_encoder(network, optimizer, is_frozen=number <= settings.frozen_epochs)
        losses = EpochLoss(number, device)
        samples = loader.draw_epoch(rng)[: steps * accumulated * batch_size]
        for batches in samples.reshape(steps, accumulated, batch_size):
            check_signals()
            for batch in batches:
                loaded = loader.take(np.sort(batch))  # reading in file order is faster
                losses.add(*trainer.accumulate_gradients(loaded, rng, loader.size, accumulated))
            trainer.update_weights()
            learning_rate = float(optimizer.param_groups[0]["lr"])
            if not isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step()
            if ema is not None:
                ema.update_parameters(network)

        objective = losses.compute_mean()  # before the clock is read, because it waits for a GPU
        trained = time.perf_counter()
        on_train, on_validation, on_showcase = (
            predict_split(evaluated_network, split, len(classes), precision, tiles=tiles)
            for split in (eval_splits.train, eval_splits.validation, eval_splits.showcase)
        )
        if not np.isfinite([on_train.loss, on_validation.loss]).all():
            raise DivergedError(number)
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(on_validation.loss)
        yield Epoch(
            number=number,
            learning_rate=learning_rate,
            objective=objective,
            train=on_train,
            validation=on_validation,
            showcase=on_showcase,
            network=evaluated_network,
            state=current,
            images=samples.size,
            training_seconds=trained - started,
            eval_seconds=time.perf_counter() - trained,
        )
