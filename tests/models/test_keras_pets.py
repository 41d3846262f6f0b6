"""The network of Keras' pets example: its size to the number, and each layer against Keras' own rules."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.models.factory import build_network, count_trainable_parameters
from pipeline.models.keras_pets import KerasPets
from pipeline.params.model import KerasPetsModel

MODEL = KerasPetsModel(family="keras_pets")


def network(channels: int = 3) -> KerasPets:
    torch.manual_seed(0)
    return KerasPets(channels, classes=3)


def test_it_has_the_parameters_and_statistics_that_keras_prints() -> None:
    """The example's summary: 2,058,979 in all, 2,055,203 of them trainable and 3,776 not."""
    built = build_network(MODEL, channels=3, classes=3)
    statistics = [value for name, value in built.named_buffers() if "running_" in name]
    assert count_trainable_parameters(built) == 2_055_203
    assert sum(value.numel() for value in statistics) == 3_776


@pytest.mark.parametrize("size", [(16, 16), (48, 80), (160, 160)])
def test_the_logits_are_as_large_as_the_image(size: tuple[int, int]) -> None:
    assert network().eval()(torch.rand(1, 3, *size)).shape == (1, 3, *size)


def test_any_number_of_channels() -> None:
    assert network(channels=1)(torch.rand(1, 1, 32, 32)).shape == (1, 3, 32, 32)


@pytest.mark.parametrize("size", [(24, 32), (32, 40)])
def test_a_size_that_cannot_be_halved_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"multiples of {MODEL.size_multiple}, but"):
        network()(torch.rand(1, 3, *size))


def same(x: Tensor, kernel: int, stride: int, value: float) -> Tensor:
    """Keras' padding "same": as many windows as strides fit, the odd pixel on the right and below."""
    pads: list[int] = []
    for length in (x.shape[-1], x.shape[-2]):
        total = max((math.ceil(length / stride) - 1) * stride + kernel - length, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


def keras_convolution(x: Tensor, layer: nn.Conv2d) -> Tensor:
    x = same(x, layer.kernel_size[0], layer.stride[0], value=0.0)
    return F.conv2d(x, layer.weight, layer.bias, layer.stride, groups=layer.groups)


def keras_transposed(x: Tensor, layer: nn.ConvTranspose2d) -> Tensor:
    """At stride 1 a transposed convolution is a convolution with the kernel turned around."""
    return F.conv2d(x, layer.weight.transpose(0, 1).flip(-1, -2), layer.bias, padding="same")


def keras_normalisation(x: Tensor, layer: nn.BatchNorm2d) -> Tensor:
    mean, variance, gain, offset = (
        value[:, None, None] for value in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
    )
    return (x - mean) / torch.sqrt(variance + 1e-3) * gain + offset


def keras_layers(x: Tensor, body: nn.Module) -> Tensor:
    for layer in body.modules():
        if isinstance(layer, nn.ReLU):
            x = F.relu(x)
        elif isinstance(layer, nn.Conv2d):
            x = keras_convolution(x, layer)
        elif isinstance(layer, nn.ConvTranspose2d):
            x = keras_transposed(x, layer)
        elif isinstance(layer, nn.BatchNorm2d):
            x = keras_normalisation(x, layer)
    return x


def keras_forward(net: KerasPets, x: Tensor) -> Tensor:
    """The example's graph in its own order, each padding by Keras' rule."""
    x = F.relu(keras_normalisation(keras_convolution(x, net.entry), net.entry_norm))
    for block in net.down:
        pooled = F.max_pool2d(same(keras_layers(x, block.body), 3, 2, value=-math.inf), kernel_size=3, stride=2)
        x = pooled + keras_convolution(x, block.shortcut)
    for block in net.up:
        large = keras_layers(x, block.body).repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)
        beside = x.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)
        x = large + keras_convolution(beside, block.shortcut)
    return keras_convolution(x, net.head)


@pytest.mark.parametrize("size", [(32, 48), (16, 16)])
def test_it_computes_what_keras_layers_compute(size: tuple[int, int]) -> None:
    net = network().double().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics and weights that a mistake would show in
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.1, 0.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
        if getattr(module, "bias", None) is not None:
            nn.init.uniform_(module.bias, -0.5, 0.5)
    images = torch.rand(2, 3, *size, dtype=torch.float64) * 2 - 1
    torch.testing.assert_close(net(images), keras_forward(net, images))


def test_weights_are_drawn_as_keras_draws_them() -> None:
    """Glorot's uniform limit from the fans of each kernel, as Keras counts them; biases are zero."""
    for module in network().modules():
        if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            continue
        area = math.prod(module.kernel_size)
        # A depthwise kernel of Keras is H x W x C x 1: fan in C, fan out 1.
        outwards = 1 if module.groups > 1 else module.out_channels
        limit = math.sqrt(6 / (area * (module.in_channels + outwards)))
        largest = float(module.weight.detach().abs().max())
        assert 0.9 * limit < largest <= limit
        assert module.bias is None or not module.bias.any()


def test_normalisation_has_the_defaults_of_keras() -> None:
    found = {(layer.momentum, layer.eps) for layer in network().modules() if isinstance(layer, nn.BatchNorm2d)}
    assert found == {(0.01, 0.001)}  # what is new; Keras' 0.99 is what stays


def test_a_gradient_reaches_every_weight() -> None:
    net = network()
    net(torch.rand(2, 3, 32, 32)).square().mean().backward()
    # Not asked of biases: the normalisation behind most of them takes their effect away.
    weights = {name: value for name, value in net.named_parameters() if name.endswith("weight")}
    assert [name for name, value in weights.items() if value.grad is None or not value.grad.any()] == []


def test_one_batch_can_be_memorized() -> None:
    net = network()
    images, masks = torch.rand(4, 3, 32, 32), torch.randint(0, 3, (4, 8, 8))
    masks = masks.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    optimizer = torch.optim.RMSprop(net.parameters(), lr=1e-3)  # as in the example
    for _ in range(80):
        loss = F.cross_entropy(net(images), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.2  # from log 3 = 1.10
