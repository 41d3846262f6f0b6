"""Measure the complexity of a network: parameters, multiply-accumulates per image, memory of a training step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from pipeline.artifacts.run_folder import Precision
from pipeline.models.factory import count_trainable_parameters
from pipeline.models.operations import count_multiply_accumulates
from pipeline.models.step_memory import measure_step_memory


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
    return Complexity(
        parameters=count_trainable_parameters(network),
        multiply_accumulates=count_multiply_accumulates(network, torch.zeros(1, channels, *size)),
        training_bytes=measure_step_memory(network, torch.zeros(batch, channels, *size), precision),
    )
