"""From parameters to an optimiser: which weights it moves, how fast, and which of them decay.

The cell's learning rate is the head's and the decoder's. The encoder's is `train.encoder_rate` of it: pretrained
features want smaller steps than new weights. Weights of one dimension, those of normalisations and biases, never decay:
they set the scale of what follows, and pulling them to zero says nothing about simpler functions.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from pipeline.errors import PipelineError
from pipeline.factories import find_factory, in_words, kind, project_on_path
from pipeline.params.train import SGD, Adam, AdamW, Optimiser, OwnOptimiser, RMSprop, Train

# Adam's and RMSprop's guard against dividing by 0; torch's default for both is 1e-8, Keras' for both is 1e-7.
KERAS_EPSILON = 1e-7
KEY = "train.optimiser.factory"


def build_optimiser(network: nn.Module, settings: Train, learning_rate: float) -> Optimizer:
    """The optimiser of a cell; the network's layout (channels_last) must be settled before.

    Raises:
        PipelineError: `encoder_rate` is not 1 and the network has no part named `encoder`, or a user's own optimiser
            cannot be made.
    """
    decay = settings.optimiser.arguments.get("weight_decay") if isinstance(settings.optimiser, OwnOptimiser) else None
    groups = parameter_groups(
        network,
        learning_rate,
        settings.encoder_rate,
        decay if isinstance(settings.optimiser, OwnOptimiser) else settings.optimiser.weight_decay,
    )
    return _optimiser(settings.optimiser, groups, learning_rate)


def parameter_groups(
    network: nn.Module, learning_rate: float, encoder_rate: float, weight_decay: float | None
) -> list[dict[str, Any]]:
    """The trainable weights in up to four groups, decoder before encoder, each with its rate and its decay.

    Args:
        network: its parts named `encoder` are the encoder.
        learning_rate: of all else.
        encoder_rate: the encoder's rate as a share of it.
        weight_decay: of weights with two dimensions and more; None gives no group one.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(("encoder" in name.split("."), parameter.ndim <= 1), []).append(parameter)
    if encoder_rate != 1 and not any(encoder for encoder, _ in groups):
        raise PipelineError(
            f"train.encoder_rate: must be 1.0, but is {encoder_rate}: this network has no part named encoder, whose "
            "learning rate could be another."
        )
    return [
        {
            "params": groups[encoder, single],
            "lr": learning_rate * (encoder_rate if encoder else 1),
            **({} if weight_decay is None else {"weight_decay": 0.0 if single else weight_decay}),
        }
        for encoder, single in sorted(groups)
    ]


def _optimiser(chosen: Optimiser, groups: list[dict[str, Any]], learning_rate: float) -> Optimizer:
    # fused: one pass over each tensor a step, instead of one an operation.
    if isinstance(chosen, AdamW):
        return torch.optim.AdamW(groups, lr=learning_rate, fused=True)
    if isinstance(chosen, Adam):
        return torch.optim.Adam(groups, lr=learning_rate, fused=True)
    if isinstance(chosen, RMSprop):
        return torch.optim.RMSprop(
            groups, lr=learning_rate, alpha=chosen.smoothing, eps=KERAS_EPSILON, momentum=chosen.momentum
        )
    if isinstance(chosen, SGD):
        return torch.optim.SGD(groups, lr=learning_rate, momentum=chosen.momentum, nesterov=chosen.nesterov, fused=True)
    return _own(chosen, groups, learning_rate)


def _own(chosen: OwnOptimiser, groups: list[dict[str, Any]], learning_rate: float) -> Optimizer:
    with project_on_path():
        factory = find_factory(KEY, chosen.factory)
        try:
            optimiser = factory(groups, lr=learning_rate, **chosen.arguments)
        except Exception as error:
            raise PipelineError(
                f"{KEY}: {chosen.factory}(groups, lr={learning_rate}, **{chosen.arguments}) raised {in_words(error)}."
            ) from error
    if not isinstance(optimiser, Optimizer):
        raise PipelineError(f"{KEY}: {chosen.factory} must make a torch optimiser, but made {kind(optimiser)}.")
    closure = inspect.signature(type(optimiser).step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise PipelineError(
            f"{KEY}: {chosen.factory} wants to compute the loss several times a step (a closure), which this loop does "
            "not do; choose another."
        )
    return optimiser
