"""Optimizers: parameter groups, their learning rates and their weight decay.

The cell's learning rate applies to the decoder and the head. The encoder's learning rate is `train.encoder_lr_factor`
times as large, and is multiplied by `train.encoder_layer_decay` for each layer from the last to the first. Pretrained
features need smaller steps than new weights, and the most general features need the smallest. One-dimensional weights
(biases and the weights of normalization layers) have no weight decay, because they set the scale of the next layer, so
pulling them toward zero does not simplify the function.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from pipeline.errors import PipelineError
from pipeline.models.encoder import is_encoder_weight
from pipeline.params.custom_code import custom_imports, describe_error, describe_type, import_factory
from pipeline.params.train import SGD, Adam, AdamW, CustomOptimizer, RMSprop, Train
from pipeline.train.encoder import check_encoder, find_encoder_layers

# RMSprop's epsilon in Keras; torch's default is 1e-8. Keras adds epsilon under the square root, so weights whose
# gradients are smaller than 3e-4, the root of epsilon, take smaller steps in Keras than here.
KERAS_EPSILON = 1e-7
IMPORT_PATH_KEY = "train.optimizer.import_path"


def create_optimizer(network: nn.Module, settings: Train, learning_rate: float) -> Optimizer:
    """Create the optimizer of a cell for the trainable weights of its network.

    The network must have its final memory layout (channels_last).

    Raises:
        PipelineError: The settings apply to an encoder, but the network has none or its layers are unknown; or a custom
            optimizer cannot be created or cannot take a step.
    """
    chosen = settings.optimizer
    decay = chosen.arguments.get("weight_decay") if isinstance(chosen, CustomOptimizer) else chosen.weight_decay
    groups = group_parameters(network, learning_rate, settings, decay)
    # fused: one pass over each tensor per step instead of one per operation.
    if isinstance(chosen, AdamW):
        return torch.optim.AdamW(groups, lr=learning_rate, fused=True)
    if isinstance(chosen, Adam):
        return torch.optim.Adam(groups, lr=learning_rate, fused=True)
    if isinstance(chosen, RMSprop):
        return torch.optim.RMSprop(
            groups, lr=learning_rate, alpha=chosen.alpha, eps=KERAS_EPSILON, momentum=chosen.momentum
        )
    if isinstance(chosen, SGD):
        return torch.optim.SGD(groups, lr=learning_rate, momentum=chosen.momentum, nesterov=chosen.nesterov, fused=True)
    return _create_custom(chosen, groups, learning_rate)


def group_parameters(
    network: nn.Module, learning_rate: float, settings: Train, weight_decay: float | None
) -> list[dict[str, Any]]:
    """Group the trainable weights by learning rate and weight decay, decoder before encoder.

    Args:
        network: network in its final memory layout.
        learning_rate: learning rate of the decoder and the head.
        settings: the `train` section of the parameters, with the encoder's factors.
        weight_decay: weight decay of weights with two or more dimensions; None for the optimizer's default. Other
            weights have a weight decay of 0.

    Raises:
        PipelineError: The settings apply to an encoder, but the network has none or its layers are unknown.
    """
    check_encoder(network, settings)
    layers = find_encoder_layers(network) if settings.encoder_layer_decay != 1 else {}
    groups: dict[tuple[bool, int, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            key = (is_encoder_weight(name), layers.get(name, 0), parameter.ndim <= 1)
            groups.setdefault(key, []).append(parameter)
    return [
        {
            "params": groups[encoder, above, single],
            "lr": learning_rate * (settings.encoder_lr_factor * settings.encoder_layer_decay**above if encoder else 1),
            **({"weight_decay": 0.0} if single else {} if weight_decay is None else {"weight_decay": weight_decay}),
        }
        for encoder, above, single in sorted(groups)
    ]


def _create_custom(chosen: CustomOptimizer, groups: list[dict[str, Any]], learning_rate: float) -> Optimizer:
    with custom_imports(IMPORT_PATH_KEY):
        factory = import_factory(IMPORT_PATH_KEY, chosen.import_path)
        if isinstance(factory, type):  # checked before a constructor can raise a less helpful error
            _refuse_closure(factory, chosen.import_path)
        with torch.random.fork_rng(devices=[]):  # the trial must not change the random state
            trial = _call_factory(factory, chosen, _copy_groups(groups), learning_rate)
            try:
                trial.step()
            except (Exception, SystemExit) as error:
                raise PipelineError(
                    f"{IMPORT_PATH_KEY}: the optimizer of {chosen.import_path} raised {describe_error(error)} in a "
                    "step on copies of the weights with zero gradients."
                ) from error
        return _call_factory(factory, chosen, groups, learning_rate)


def _call_factory(
    factory: Callable[..., Any], chosen: CustomOptimizer, groups: list[dict[str, Any]], learning_rate: float
) -> Optimizer:
    try:
        optimizer = factory(groups, lr=learning_rate, **chosen.arguments)
    except (Exception, SystemExit) as error:
        arguments = "".join(f", {name}={value!r}" for name, value in chosen.arguments.items())
        raise PipelineError(
            f"{IMPORT_PATH_KEY}: {chosen.import_path}(groups, lr={learning_rate}{arguments}) raised "
            f"{describe_error(error)}."
        ) from error
    if not isinstance(optimizer, Optimizer):
        raise PipelineError(
            f"{IMPORT_PATH_KEY}: {chosen.import_path} must return a torch optimizer, but returned "
            f"{describe_type(optimizer)}."
        )
    _refuse_closure(type(optimizer), chosen.import_path)
    return optimizer


def _refuse_closure(optimizer: type, import_path: str) -> None:
    step = getattr(optimizer, "step", None)
    closure = inspect.signature(step).parameters.get("closure") if step else None
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise PipelineError(
            f"{IMPORT_PATH_KEY}: {import_path} evaluates the loss several times per step through a closure, which this "
            "training loop does not support. Choose another optimizer."
        )


def _copy_groups(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Copy parameter groups and their weights; the copies have zero gradients."""

    def copy(weight: nn.Parameter) -> nn.Parameter:
        copied = nn.Parameter(weight.detach().clone())
        copied.grad = torch.zeros_like(copied)
        return copied

    return [{**group, "params": [copy(weight) for weight in group["params"]]} for group in groups]
