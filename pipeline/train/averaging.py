"""A running mean of the weights: smoother than any step's, and often better on images that were not trained on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from pipeline.errors import PipelineError
from pipeline.params.import_path import describe_error


def averaged(network: nn.Module, smoothing: float) -> AveragedModel:
    """A copy of the network that `update_parameters(network)` moves towards it after each step.

    The mean is exponential (Polyak and Juditsky 1992; Tarvainen and Valpola 2017): `smoothing` is the share of the old
    mean that stays. After n steps it is at most (1 + n) / (10 + n), so that the initial weights are soon forgotten
    (`num_updates` of TensorFlow's `ExponentialMovingAverage`). The running statistics of normalisations are averaged
    too; they belong to the weights.

    Raises:
        PipelineError: A network of the user's holds what cannot be copied.
    """

    def update(mean: Sequence[Tensor], now: Sequence[Tensor], count: Tensor | int) -> None:
        if not mean[0].is_floating_point():  # numbers of batches seen
            for old, new in zip(mean, now, strict=True):
                old.copy_(new)
            return
        stays = min(smoothing, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(list(mean), list(now), 1 - stays)

    try:
        return AveragedModel(network, multi_avg_fn=update, use_buffers=True)
    except Exception as error:
        raise PipelineError(
            f"train.averaging: must be 0.0 for this network, but is {smoothing}: copying it raised "
            f"{describe_error(error)}."
        ) from error
