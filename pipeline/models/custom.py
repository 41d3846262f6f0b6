"""Build the custom network specified by `model.import_path`, and check it on two blank images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.errors import PipelineError
from pipeline.params.custom_code import custom_imports, describe_error, describe_type, import_factory
from pipeline.params.model import CustomModel

KEY = "model.import_path"
PROBE = 64  # px, smallest side of the blank images; five halvings leave 2 x 2 pixels for instance normalization


def build_custom_network(model: CustomModel, channels: int, classes: int) -> nn.Module:
    """Import the callable, call it as `build(channels=..., classes=...)`, and check the network on two blank images.

    The network must map images, N x C x H x W in -1..1, to logits, N x classes x H x W. Height and width of the blank
    images are the smallest multiple of `model.size_multiple` that is at least `PROBE`.

    Raises:
        PipelineError: The callable cannot be imported or called, or its network cannot be trained, saved or used.
    """
    with custom_imports(KEY):
        network = _build(model.import_path, channels, classes)
        _check_output(network, model, channels, classes)
    _check_parameters(network, model.import_path)
    return network


def _build(import_path: str, channels: int, classes: int) -> nn.Module:
    name = import_path.partition(":")[2]
    build = import_factory(KEY, import_path)
    try:
        network = build(channels=channels, classes=classes)
    except (Exception, SystemExit) as error:
        raise PipelineError(
            f"{KEY}: {name}(channels={channels}, classes={classes}) of {import_path} raised {describe_error(error)}."
        ) from error
    if not isinstance(network, nn.Module):
        raise PipelineError(f"{KEY}: {import_path} must return a torch.nn.Module, not {_describe_output(network)}.")
    return network


def _check_output(network: nn.Module, model: CustomModel, channels: int, classes: int) -> None:
    """Check the shape and type of the output, without changing the network or the random state."""
    side = -(-PROBE // model.size_multiple) * model.size_multiple
    images = torch.zeros(2, channels, side, side)
    was_training = network.training
    network.eval()  # does not update running statistics
    try:
        # Not inference_mode: lazy layers create their weights here, and these must be trainable.
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            output = network(images)
    except (Exception, SystemExit) as error:
        raise PipelineError(
            f"{KEY}: the network of {model.import_path} raised {describe_error(error)} for images of shape "
            f"{tuple(images.shape)}."
        ) from error
    network.train(was_training)
    expected = (2, classes, side, side)
    if not isinstance(output, Tensor) or tuple(output.shape) != expected or not output.is_floating_point():
        raise PipelineError(
            f"{KEY}: the network of {model.import_path} must map images of shape {tuple(images.shape)} to "
            f"logits of shape {expected}, but returned {_describe_output(output)}."
        )


def _check_parameters(network: nn.Module, import_path: str) -> None:
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise PipelineError(f"{KEY}: the network of {import_path} has no trainable parameters.")
    places: dict[int, str] = {}
    # Checked now, because saving the weights would fail after hours of training.
    for name, tensor in network.state_dict().items():
        if not isinstance(tensor, Tensor):
            raise PipelineError(
                f"{KEY}: {name} in the state of {import_path} is {describe_type(tensor)}, which safetensors cannot "
                "save. Remove get_extra_state(), or register tensors as buffers."
            )
        if tensor.numel():
            first = places.setdefault(tensor.data_ptr(), name)
            if first != name:
                raise PipelineError(
                    f"{KEY}: {first} and {name} of {import_path} are the same tensor, which safetensors cannot "
                    "save under two names. Register it once, and use it twice in forward()."
                )


def _describe_output(value: object) -> str:
    return f"shape {tuple(value.shape)} of {value.dtype}" if isinstance(value, Tensor) else describe_type(value)
