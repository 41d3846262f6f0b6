"""What a network costs: parameters, arithmetic an image, memory of a training step. Measured, not estimated."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pipeline.models.factory import count_trainable_parameters
from pipeline.models.losses import cross_entropy
from pipeline.models.precision import autocast_context
from pipeline.runs import Precision

# Numbers that stand beside each trainable one: its gradient, and the two running means of Adam and its kin.
BESIDE_A_PARAMETER = 3


@dataclass(frozen=True)
class Cost:
    """Of a network at a size of images, a size of batches and a precision."""

    parameters: int  # that training may change
    multiply_accumulates: int  # of one image on its way through, in convolutions and matrix products
    training_bytes: int  # weights, gradients, optimiser, and what one step keeps for its way back


def measure(network: nn.Module, channels: int, size: int, batch: int, precision: Precision) -> Cost:
    """Run one blank image, then one blank batch as in training, through a network that is not needed afterwards.

    Args:
        network: from images N x channels x size x size to logits N x classes x size x size.
        channels: of the images.
        size: their height and width, px.
        batch: images a step.
        precision: of the arithmetic.
    """
    parameters = count_trainable_parameters(network)
    state = sum(_bytes(tensor) for tensor in (*network.parameters(), *network.buffers()))
    trained = sum(_bytes(weight) for weight in network.parameters() if weight.requires_grad)
    return Cost(
        parameters=parameters,
        multiply_accumulates=_multiply_accumulates(network, torch.zeros(1, channels, size, size)),
        training_bytes=state
        + BESIDE_A_PARAMETER * trained
        + _kept_for_the_way_back(network, torch.zeros(batch, channels, size, size), precision),
    )


def _multiply_accumulates(network: nn.Module, image: Tensor) -> int:
    network.eval()
    # The counter does not know the CPU's fused attention; as two matrix products it does.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(image)
    operations: int = counter.get_total_flops()
    return operations // 2  # a multiplication and an addition each count there


def _kept_for_the_way_back(network: nn.Module, images: Tensor, precision: Precision) -> int:
    """Bytes that a step holds between its loss and its gradients; a tensor that several layers keep counts once."""
    network.to(memory_format=torch.channels_last).train()
    known = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # itself would hold the graph that holds it

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with autocast_context(precision, images.device):
            logits = network(images.contiguous(memory_format=torch.channels_last))
        loss = cross_entropy(logits, torch.zeros(len(images), *images.shape[2:], dtype=torch.int64))
    del loss  # until here the graph was whole, and no address was given twice
    return sum(kept.values())


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
