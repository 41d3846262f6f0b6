"""Measure the memory that a training step keeps: weights, gradients, optimizer state, and saved activations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.artifacts.run_folder import Precision
from pipeline.models.losses import cross_entropy
from pipeline.models.precision import autocast_context

# Per trainable parameter: its gradient, and the two running means of Adam and related optimizers.
NUMBERS_PER_PARAMETER = 3


def measure_step_memory(network: nn.Module, images: Tensor, precision: Precision, batch_size: int | None = None) -> int:
    """Measure the bytes that a training step keeps in memory, which do not depend on the machine.

    This changes the memory layout, the mode and the running statistics of the network.

    Args:
        network: Network to measure.
        images: Blank images, N x channels x H x W.
        precision: Precision of the training step.
        batch_size: Number of images of a step, for which the activations of `images` are extrapolated; by default, N.
    """
    state = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
    trained = sum(weight.nbytes for weight in network.parameters() if weight.requires_grad)
    activations = _measure_saved_activations(network, images, precision) * (batch_size or len(images)) // len(images)
    return state + NUMBERS_PER_PARAMETER * trained + activations


def _measure_saved_activations(network: nn.Module, images: Tensor, precision: Precision) -> int:
    """Measure how many bytes a step saves for the backward pass; a tensor saved by several layers counts once."""
    network.to(memory_format=torch.channels_last).train()
    known = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # avoids a reference cycle through the graph

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with autocast_context(precision, images.device):
            logits = network(images.contiguous(memory_format=torch.channels_last))
        loss = cross_entropy(
            logits, torch.zeros(len(images), *images.shape[2:], dtype=torch.int64, device=images.device)
        )
    del loss  # alive until here, so that no address is reused
    return sum(kept.values())
