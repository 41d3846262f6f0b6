"""Exponential moving average of the weights, which often generalizes better than the weights of the last step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from pipeline.errors import PipelineError
from pipeline.params.custom_code import describe_error


def create_ema(network: nn.Module, decay: float) -> AveragedModel:
    """Create a moving average of a network; call its `update_parameters(network)` after each step.

    The averaging follows Tarvainen and Valpola (2017), after Polyak and Juditsky (1992). Running statistics of
    normalization layers are averaged, too.

    `decay` is the weight of the old average in each step. After n steps, it is at most (1 + n) / (10 + n), so that the
    initial weights soon lose their influence (`num_updates` of TensorFlow's `ExponentialMovingAverage`).

    Raises:
        PipelineError: A custom network cannot be copied.
    """

    def update(mean: Sequence[Tensor], now: Sequence[Tensor], count: Tensor | int) -> None:
        if not mean[0].is_floating_point():  # numbers of batches in normalization layers
            for old, new in zip(mean, now, strict=True):
                old.copy_(new)
            return
        weight = min(decay, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(list(mean), list(now), 1 - weight)

    try:
        return AveragedModel(network, multi_avg_fn=update, use_buffers=True)
    except Exception as error:
        raise PipelineError(
            f"train.ema_decay: must be 0.0 for this network, but is {decay}: copying it raised {describe_error(error)}."
        ) from error
