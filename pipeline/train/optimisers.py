"""From parameters to an optimiser: which weights it moves, how fast, and which of them decay.

The cell's learning rate is the head's and the decoder's. The encoder's is `train.encoder_rate` of it: pretrained
features want smaller steps than new weights. Weights of one dimension, those of normalisations and biases, never decay:
they set the scale of what follows, and pulling them to zero says nothing about simpler functions.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from pipeline.errors import PipelineError
from pipeline.params.custom_code import custom_imports
from pipeline.params.import_path import describe_error, describe_type, import_factory
from pipeline.params.train import SGD, Adam, AdamW, CustomOptimizer, OptimizerSettings, RMSprop, Train

# RMSprop's guard against dividing by 0: Keras' number; torch's default is 1e-8. Keras adds it below the root, so that
# there a weight whose gradients are smaller than its root, 3e-4, takes smaller steps than here.
KERAS_EPSILON = 1e-7
KEY = "train.optimiser.factory"


def build_optimiser(network: nn.Module, settings: Train, learning_rate: float) -> Optimizer:
    """The optimiser of a cell; the network's layout (channels_last) must be settled before.

    Raises:
        PipelineError: `encoder_rate` is not 1 and the network has no part named `encoder` to train, or a user's own
            optimiser cannot be made or cannot step.
    """
    chosen = settings.optimiser
    decay = chosen.arguments.get("weight_decay") if isinstance(chosen, CustomOptimizer) else chosen.weight_decay
    groups = parameter_groups(network, learning_rate, settings.encoder_rate, decay)
    return _optimiser(chosen, groups, learning_rate)


def parameter_groups(
    network: nn.Module, learning_rate: float, encoder_rate: float, weight_decay: float | None
) -> list[dict[str, Any]]:
    """The trainable weights in up to four groups, decoder before encoder, each with its rate and its decay.

    Args:
        network: its parts named `encoder` are the encoder.
        learning_rate: of all else.
        encoder_rate: the encoder's rate as a share of it.
        weight_decay: of weights with two dimensions and more; None leaves it to the optimiser. Others have 0.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(("encoder" in name.split("."), parameter.ndim <= 1), []).append(parameter)
    if encoder_rate != 1 and not any(encoder for encoder, _ in groups):
        raise PipelineError(
            f"train.encoder_rate: must be 1.0 for this network, but is {encoder_rate}: it has no part named encoder "
            "that is trained. Set it to 1.0 in the variant's train:."
        )
    return [
        {
            "params": groups[encoder, single],
            "lr": learning_rate * (encoder_rate if encoder else 1),
            **({"weight_decay": 0.0} if single else {} if weight_decay is None else {"weight_decay": weight_decay}),
        }
        for encoder, single in sorted(groups)
    ]


def _optimiser(chosen: OptimizerSettings, groups: list[dict[str, Any]], learning_rate: float) -> Optimizer:
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


def _own(chosen: CustomOptimizer, groups: list[dict[str, Any]], learning_rate: float) -> Optimizer:
    with custom_imports(KEY):
        factory = import_factory(KEY, chosen.factory)
        if isinstance(factory, type):  # before its constructor complains of something else
            _refuse_closure(factory, chosen.factory)
        with torch.random.fork_rng(devices=[]):  # the trial leaves no trace
            trial = _made(factory, chosen, _copies(groups), learning_rate)
            try:
                trial.step()
            except (Exception, SystemExit) as error:
                raise PipelineError(
                    f"{KEY}: the optimiser of {chosen.factory} raised {describe_error(error)}, in a step on copies of "
                    "the weights with gradients of 0."
                ) from error
        return _made(factory, chosen, groups, learning_rate)


def _made(
    factory: Callable[..., Any], chosen: CustomOptimizer, groups: list[dict[str, Any]], learning_rate: float
) -> Optimizer:
    try:
        optimiser = factory(groups, lr=learning_rate, **chosen.arguments)
    except (Exception, SystemExit) as error:
        arguments = "".join(f", {name}={value!r}" for name, value in chosen.arguments.items())
        raise PipelineError(
            f"{KEY}: {chosen.factory}(groups, lr={learning_rate}{arguments}) raised {describe_error(error)}."
        ) from error
    if not isinstance(optimiser, Optimizer):
        raise PipelineError(f"{KEY}: {chosen.factory} must make a torch optimiser, not {describe_type(optimiser)}.")
    _refuse_closure(type(optimiser), chosen.factory)
    return optimiser


def _refuse_closure(made: type, factory: str) -> None:
    step = getattr(made, "step", None)
    closure = inspect.signature(step).parameters.get("closure") if step else None
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise PipelineError(
            f"{KEY}: {factory} wants to compute the loss several times a step (a closure), which this loop does "
            "not do; choose another."
        )


def _copies(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The groups with copies of their weights, gradients of 0 included."""

    def copy(weight: nn.Parameter) -> nn.Parameter:
        copied = nn.Parameter(weight.detach().clone())
        copied.grad = torch.zeros_like(copied)
        return copied

    return [{**group, "params": [copy(weight) for weight in group["params"]]} for group in groups]
