"""Measure the complexity of a network: parameters, multiply-accumulates per image, memory of a training step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.artifacts.run_folder import Precision
from pipeline.models.factory import count_trainable_parameters
from pipeline.models.losses import cross_entropy
from pipeline.models.operations import count_multiply_accumulates
from pipeline.models.precision import autocast_context

# Per trainable parameter: its gradient, and the two running means of Adam and related optimizers.
NUMBERS_PER_PARAMETER = 3


@dataclass(frozen=True)
class Complexity:
    """Complexity of a network at an image size, a batch size and a precision."""

    parameters: int  # number of trainable parameters
    multiply_accumulates: int  # in the convolutions and matrix products of one forward pass
    training_bytes: int  # memory of weights, gradients, optimizer state, and saved activations


def measure_complexity(
    network: nn.Module, channels: int, size: tuple[int, int], batch: int, precision: Precision
) -> Complexity:
    """Measure the complexity of a network on a blank image of `size`, and on a blank training batch.

    This changes the memory layout and the mode of the network.

    Args:
        network: Network to measure.
        channels: Number of channels of the images.
        size: Height and width of the images, px.
        batch: Number of images in the batch.
        precision: Precision of the training step.
    """
    parameters = count_trainable_parameters(network)
    state = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
    trained = sum(weight.nbytes for weight in network.parameters() if weight.requires_grad)
    return Complexity(
        parameters=parameters,
        multiply_accumulates=count_multiply_accumulates(network, torch.zeros(1, channels, *size)),
        training_bytes=state
        + NUMBERS_PER_PARAMETER * trained
        + _measure_saved_activations(network, torch.zeros(batch, channels, *size), precision),
    )


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
        loss = cross_entropy(logits, torch.zeros(len(images), *images.shape[2:], dtype=torch.int64))
    del loss  # alive until here, so that no address is reused
    return sum(kept.values())
