"""Exponential moving average of the weights, which often generalizes better than the weights of the last step."""

from __future__ import annotations

from itertools import chain

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from pipeline.errors import PipelineError
from pipeline.params.custom_code import describe_error


class WeightAverage(AveragedModel):
    """Moving average of the weights and buffers of a network, `module`.

    torch's `update_parameters` copies the number of updates to the device of the weights and reads it there, for which
    each step would wait until a GPU has finished all its work.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network)
        self._decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move the average toward the weights of a network; the first call copies them."""
        ours, theirs = (chain(network.parameters(), network.buffers()) for network in (self.module, model))
        pairs, count = list(zip(ours, theirs, strict=True)), int(self.n_averaged)
        # Numbers of batches in normalization layers are copied.
        averaged = [pair for pair in pairs if count > 0 and pair[0].is_floating_point()]
        copied = [pair for pair in pairs if count == 0 or not pair[0].is_floating_point()]
        if averaged:
            old, new = map(list, zip(*averaged, strict=True))
            torch._foreach_lerp_(old, new, 1 - min(self._decay, (1 + count) / (10 + count)))
        if copied:
            old, new = map(list, zip(*copied, strict=True))
            torch._foreach_copy_(old, new)
        self.n_averaged += 1


def create_ema(network: nn.Module, decay: float) -> WeightAverage:
    """Create a moving average of a network; call its `update_parameters(network)` after each step.

    The averaging follows Tarvainen and Valpola (2017), after Polyak and Juditsky (1992). Running statistics of
    normalization layers are averaged, too.

    `decay` is the weight of the old average in each step. After n steps, it is at most (1 + n) / (10 + n), so that the
    initial weights soon lose their influence (`num_updates` of TensorFlow's `ExponentialMovingAverage`).

    Raises:
        PipelineError: A custom network cannot be copied.
    """
    try:
        return WeightAverage(network, decay)
    except Exception as error:
        raise PipelineError(
            f"train.ema_decay: must be 0.0 for this network, but is {decay}: copying it raised {describe_error(error)}."
        ) from error
