"""The network of Keras' pets example: parameter counts, and each layer against Keras' definitions."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.models.factory import build_network, count_trainable_parameters
from pipeline.models.keras_pets import KerasPets
from pipeline.params.model import KerasPetsModel

MODEL = KerasPetsModel(family="keras_pets")


def create_network(channels: int = 3) -> KerasPets:
    torch.manual_seed(0)
    return KerasPets(channels, classes=3)


def test_parameter_counts_match_the_keras_summary() -> None:
    """The example's summary: 2,058,979 parameters, 2,055,203 trainable and 3,776 non-trainable."""
    network = build_network(MODEL, channels=3, classes=3)
    statistics = [value for name, value in network.named_buffers() if "running_" in name]
    assert count_trainable_parameters(network) == 2_055_203
    assert sum(value.numel() for value in statistics) == 3_776


@pytest.mark.parametrize("size", [(16, 16), (48, 80), (160, 160)])
def test_logits_have_the_size_of_the_image(size: tuple[int, int]) -> None:
    assert create_network().eval()(torch.rand(1, 3, *size)).shape == (1, 3, *size)


def test_network_accepts_one_channel() -> None:
    assert create_network(channels=1)(torch.rand(1, 1, 32, 32)).shape == (1, 3, 32, 32)


@pytest.mark.parametrize("size", [(24, 32), (32, 40)])
def test_size_that_is_not_a_multiple_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"multiples of {MODEL.size_multiple}, but"):
        create_network()(torch.rand(1, 3, *size))


def pad_same(x: Tensor, kernel: int, stride: int, value: float) -> Tensor:
    """Pad as Keras' padding "same" does, with the odd pixel at the right and at the bottom."""
    pads: list[int] = []
    for length in (x.shape[-1], x.shape[-2]):
        total = max((math.ceil(length / stride) - 1) * stride + kernel - length, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


def keras_convolution(x: Tensor, layer: nn.Conv2d) -> Tensor:
    x = pad_same(x, layer.kernel_size[0], layer.stride[0], value=0.0)
    return F.conv2d(x, layer.weight, layer.bias, layer.stride, groups=layer.groups)


def keras_transposed_convolution(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """Compute a transposed convolution of stride 1 with the flipped kernel."""
    return F.conv_transpose2d(x, layer.weight.transpose(0, 1).flip(-1, -2), layer.bias, padding=1)


def keras_batch_norm(x: Tensor, layer: nn.BatchNorm2d) -> Tensor:
    mean, variance, gain, offset = (
        value[:, None, None] for value in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
    )
    return (x - mean) / torch.sqrt(variance + 1e-3) * gain + offset


def keras_layers(x: Tensor, body: nn.Module, convolve: Callable[[Tensor, nn.Conv2d], Tensor]) -> Tensor:
    for layer in body.modules():
        if isinstance(layer, nn.ReLU):
            x = F.relu(x)
        elif isinstance(layer, nn.Conv2d):
            x = convolve(x, layer)
        elif isinstance(layer, nn.BatchNorm2d):
            x = keras_batch_norm(x, layer)
    return x


def keras_upsample(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)


def keras_forward(net: KerasPets, x: Tensor) -> Tensor:
    """Run the example's forward pass with Keras' padding."""
    x = F.relu(keras_batch_norm(keras_convolution(x, net.entry), net.entry_norm))
    for block in net.down:
        y = pad_same(keras_layers(x, block.body, keras_convolution), 3, 2, value=-math.inf)
        x = F.max_pool2d(y, kernel_size=3, stride=2) + keras_convolution(x, block.shortcut)
    for block in net.up:
        y = keras_layers(x, block.body, keras_transposed_convolution)
        x = keras_upsample(y) + keras_convolution(keras_upsample(x), block.shortcut)
    return keras_convolution(x, net.head)


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("size", [(32, 48), (16, 16)])
def test_output_equals_that_of_keras_layers(size: tuple[int, int], is_training: bool) -> None:
    net = create_network().double().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):  # defaults of 0 and 1 would hide errors
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.1, 0.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
        if getattr(module, "bias", None) is not None:
            nn.init.uniform_(module.bias, -0.5, 0.5)
    images = torch.rand(2, 3, *size, dtype=torch.float64) * 2 - 1
    with torch.set_grad_enabled(is_training):
        torch.testing.assert_close(net(images), keras_forward(net, images))


def test_initial_weights_follow_keras_glorot_uniform() -> None:
    """The limit comes from each kernel's fans as Keras counts them; biases are zero."""
    for module in create_network().modules():
        if not isinstance(module, nn.Conv2d):
            continue
        area = math.prod(module.kernel_size)
        # Keras' depthwise kernel is H x W x C x 1: fan in C, fan out 1.
        fan_out = 1 if module.groups > 1 else module.out_channels
        limit = math.sqrt(6 / (area * (module.in_channels + fan_out)))
        largest = float(module.weight.detach().abs().max())
        assert 0.9 * limit < largest <= limit
        assert module.bias is None or not module.bias.any()


def test_batch_norm_has_the_defaults_of_keras() -> None:
    found = {(layer.momentum, layer.eps) for layer in create_network().modules() if isinstance(layer, nn.BatchNorm2d)}
    assert found == {(0.01, 0.001)}  # torch's momentum 0.01 is Keras' 0.99


def test_every_weight_gets_a_gradient() -> None:
    net = create_network()
    net(torch.rand(2, 3, 32, 32)).square().mean().backward()
    # Not biases: the following normalization cancels most of them.
    weights = {name: value for name, value in net.named_parameters() if name.endswith("weight")}
    assert [name for name, value in weights.items() if value.grad is None or not value.grad.any()] == []


def test_one_batch_can_be_memorized() -> None:
    net = create_network()
    images, masks = torch.rand(4, 3, 32, 32), torch.randint(0, 3, (4, 8, 8))
    masks = masks.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    optimizer = torch.optim.RMSprop(net.parameters(), lr=1e-3)  # as in the example
    for _ in range(80):
        loss = F.cross_entropy(net(images), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.2  # from log 3 = 1.10
