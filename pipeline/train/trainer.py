"""Compute the gradients of the loss over batches, and update the weights of a network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from pipeline.artifacts.run_folder import Precision
from pipeline.data.augment import augment
from pipeline.data.batch_loader import Batch
from pipeline.models.losses import create_loss
from pipeline.models.precision import autocast_context, get_device
from pipeline.params.train import Train
from pipeline.train.optimizers import create_optimizer


class Trainer:
    """Updates a network's weights in steps of one or more batches, with its attribute `optimizer`."""

    def __init__(
        self,
        network: nn.Module,
        settings: Train,
        learning_rate: float,
        precision: Precision,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        """Create the loss and the optimizer that `settings` describes, and set the network to its training mode.

        Raises:
            PipelineError: The optimizer cannot be created.
        """
        # Before the optimizer is created, because its state takes the memory layout of the weights. Fast CPU
        # convolutions need channels_last.
        self._network = network.to(memory_format=torch.channels_last).train()
        self._settings, self._precision = settings, precision
        self._criterion = create_loss(settings.loss, settings.label_smoothing, class_weights)
        self._device = get_device(network)
        self.optimizer = create_optimizer(network, settings, learning_rate)

    def accumulate_gradients(
        self, batch: Batch, rng: torch.Generator, size: tuple[int, int] | None = None, num_batches: int = 1
    ) -> tuple[Tensor, Tensor]:
        """Augment a batch, and add its gradients to those of the current step.

        Args:
            batch: Images with masks.
            rng: Draws the augmentation.
            size: Height and width in px to which augmentation crops the batch; None to keep its size.
            num_batches: Number of batches of the step, by which the gradients are divided.

        Returns:
            The loss of the batch, a detached scalar, and the augmented masks, N x H x W.
        """
        if self._settings.augmentation is not None:
            batch = augment(batch, self._settings.augmentation, rng, size)
        with autocast_context(self._precision, self._device):
            logits = self._network(batch.images)
        loss = self._criterion(logits, batch.masks, batch.boundary)
        (loss / num_batches).backward()  # type: ignore[no-untyped-call]
        return loss.detach(), batch.masks

    def update_weights(self) -> None:
        """Take an optimizer step with the accumulated gradients, and reset them."""
        if self._settings.max_grad_norm is not None:
            clip_grad_norm_(self._network.parameters(), self._settings.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
