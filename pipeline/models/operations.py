"""Count the operations of a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def count_multiply_accumulates(network: nn.Module, image: Tensor) -> int:
    """Count the multiply-accumulates in the convolutions and matrix products of one forward pass in evaluation mode.

    The network's mode does not change. `image` is 1 x channels x H x W.
    """
    was_training = network.training
    network.eval()
    # The counter does not support the CPU's fused attention.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(image)
    network.train(was_training)
    operations: int = counter.get_total_flops()
    return operations // 2  # the counter counts multiplications and additions separately
