"""A user's own network: `model.factory` names a callable in `custom/`, and this builds and probes it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.errors import PipelineError
from pipeline.params.custom_code import custom_imports
from pipeline.params.import_path import find_factory, in_words, kind
from pipeline.params.model import OwnModel

KEY = "model.factory"
PROBE = 64  # px; small, yet more than a pixel is left after five halvings, which instance normalisation needs


def own_network(model: OwnModel, channels: int, classes: int) -> nn.Module:
    """Import the factory, call it, and try its network on two blank images.

    Args:
        model: `factory` is called as `build(channels=..., classes=...)`; height and width of the probe are the smallest
            multiple of `size_divisor` from `PROBE` on.
        channels: of the images, which come as N x C x H x W in -1..1.
        classes: of the masks; the network must answer with logits N x classes x H x W.

    Raises:
        PipelineError: The module does not import, the name is missing or cannot be called, or what it returns is no
            network that can be trained, kept and asked for masks.
    """
    with custom_imports(KEY):
        network = _built(model.factory, channels, classes)
        _probe(network, model, channels, classes)
    _check_parameters(network, model.factory)
    return network


def _built(factory: str, channels: int, classes: int) -> nn.Module:
    name = factory.partition(":")[2]
    build = find_factory(KEY, factory)
    try:
        network = build(channels=channels, classes=classes)
    except (Exception, SystemExit) as error:
        raise PipelineError(
            f"{KEY}: {name}(channels={channels}, classes={classes}) of {factory} raised {in_words(error)}."
        ) from error
    if not isinstance(network, nn.Module):
        raise PipelineError(f"{KEY}: {factory} must return a torch.nn.Module, but returned {_kind(network)}.")
    return network


def _probe(network: nn.Module, model: OwnModel, channels: int, classes: int) -> None:
    """Run two blank images through the network and leave it, and torch's generator, as they were."""
    side = -(-PROBE // model.size_divisor) * model.size_divisor
    images = torch.zeros(2, channels, side, side)
    was_training = network.training
    network.eval()  # running statistics stay as they are
    try:
        # no_grad and not inference_mode: a lazy layer makes its weights now, and they are to be trained.
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            output = network(images)
    except (Exception, SystemExit) as error:
        raise PipelineError(
            f"{KEY}: the network of {model.factory} raised {in_words(error)}, when given images of shape "
            f"{tuple(images.shape)}."
        ) from error
    network.train(was_training)
    expected = (2, classes, side, side)
    if not isinstance(output, Tensor) or tuple(output.shape) != expected or not output.is_floating_point():
        raise PipelineError(
            f"{KEY}: the network of {model.factory} must answer images of shape {tuple(images.shape)} with "
            f"logits of shape {expected}, but answered with {_kind(output)}."
        )


def _check_parameters(network: nn.Module, factory: str) -> None:
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise PipelineError(f"{KEY}: the network of {factory} has no parameter that training may change.")
    places: dict[int, str] = {}
    for name, tensor in network.state_dict().items():
        if isinstance(tensor, Tensor) and tensor.numel():
            first = places.setdefault(tensor.data_ptr(), name)
            if first != name:  # found now, or only after hours of training
                raise PipelineError(
                    f"{KEY}: {first} and {name} of {factory} are one tensor, which safetensors cannot keep "
                    "under two names; register it once, and use it twice in forward()."
                )


def _kind(value: object) -> str:
    return f"shape {tuple(value.shape)} of {value.dtype}" if isinstance(value, Tensor) else kind(value)
