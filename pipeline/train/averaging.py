"""A running mean of the weights: smoother than any step's, and often better on images that were not trained on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged(network: nn.Module, smoothing: float) -> AveragedModel:
    """A copy of the network that `update_parameters(network)` moves towards it after each step.

    The mean is exponential (Polyak and Juditsky 1992; Tarvainen and Valpola 2017): `smoothing` is the share of the old
    mean that stays, less in the first steps, so that the initial weights are soon forgotten. The running statistics of
    normalisations are averaged too; they belong to the weights.
    """

    def update(mean: Sequence[Tensor], now: Sequence[Tensor], count: Tensor | int) -> None:
        if not mean[0].is_floating_point():  # numbers of batches seen
            for old, new in zip(mean, now, strict=True):
                old.copy_(new)
            return
        stays = min(smoothing, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(list(mean), list(now), 1 - stays)

    return AveragedModel(network, multi_avg_fn=update, use_buffers=True)
