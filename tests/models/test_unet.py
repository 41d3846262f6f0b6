"""The U-Net: shapes, gradients, what crosses a skip, and that it can learn."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.models.build import build_network, trainable_parameters
from pipeline.models.unet import Skip, UNet, Up
from pipeline.params import SmpModel

UPS: tuple[Up, ...] = ("transpose", "bilinear")
SKIPS: tuple[Skip, ...] = ("concat", "add", "none")
CHOICES = list(itertools.product(UPS, SKIPS))
LITE0 = SmpModel(family="smp", architecture="Unet", encoder="tf_efficientnet_lite0", pretrained=False)


def unet(up: Up = "transpose", skip: Skip = "concat", channels: int = 3, depth: int = 3) -> UNet:
    torch.manual_seed(0)
    return UNet(channels, classes=3, base_channels=4, depth=depth, up=up, skip=skip)


@pytest.mark.parametrize(("up", "skip"), CHOICES)
@pytest.mark.parametrize("size", [(8, 8), (24, 40), (56, 8)])
def test_the_logits_are_as_large_as_the_image(up: Up, skip: Skip, size: tuple[int, int]) -> None:
    assert unet(up, skip)(torch.rand(2, 3, *size)).shape == (2, 3, *size)


@pytest.mark.parametrize("channels", [1, 5])
def test_any_number_of_channels(channels: int) -> None:
    assert unet(channels=channels)(torch.rand(1, channels, 16, 16)).shape == (1, 3, 16, 16)


@pytest.mark.parametrize("size", [(33, 32), (32, 36)])
def test_a_size_that_cannot_be_halved_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        unet()(torch.rand(1, 3, *size))


@pytest.mark.parametrize(("up", "skip"), CHOICES)
def test_a_gradient_reaches_every_parameter(up: Up, skip: Skip) -> None:
    network = unet(up, skip)
    network(torch.rand(2, 3, 16, 16)).square().mean().backward()
    without = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []


@pytest.mark.parametrize(("skip", "crosses"), [("concat", True), ("add", True), ("none", False)])
def test_what_crosses_the_skip(skip: Skip, crosses: bool) -> None:
    """With the way through the bottleneck cut, the image reaches the output across the skips or not at all."""
    network = unet(skip=skip).eval()
    network.bottleneck.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    first, second = network(torch.rand(1, 3, 16, 16)), network(torch.rand(1, 3, 16, 16))
    assert torch.equal(first, second) is not crosses


def test_concatenation_puts_the_encoder_map_beside_the_decoder_map() -> None:
    seen: list[Tensor] = []
    network = unet(skip="concat").eval()
    network.encoder[0].register_forward_hook(lambda module, inputs, output: seen.append(output))
    network.decoder[-1].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    network(torch.rand(1, 3, 16, 16))
    across, joined = seen
    assert joined.shape[1] == 2 * across.shape[1]
    assert torch.equal(joined[:, : across.shape[1]], across)


def test_transposed_convolution_paints_its_kernel_where_a_pixel_is_set() -> None:
    """The picture of the textbooks: one pixel becomes a learned 2 x 2 patch, and nothing else changes."""
    upsampling = unet().upsampling[0]
    weight, bias = upsampling.convolution.weight, upsampling.convolution.bias
    small = torch.zeros(1, weight.shape[0], 3, 3)
    small[0, 1, 1, 2] = 1.0
    large = upsampling(small)[0] - bias[:, None, None]
    torch.testing.assert_close(large[:, 2:4, 4:6], weight[1])
    large[:, 2:4, 4:6] = 0
    assert large.abs().max() < 1e-6


@pytest.mark.parametrize("network", ["unet", "lite0"])
def test_one_batch_can_be_memorised(network: str) -> None:
    torch.manual_seed(0)
    model = unet(depth=2) if network == "unet" else build_network(LITE0, channels=3, classes=3)
    images, masks = torch.rand(4, 3, 32, 32), torch.randint(0, 3, (4, 8, 8))
    masks = masks.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        loss = F.cross_entropy(model(images), masks)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.2  # from log 3 = 1.10


def test_parameters_are_counted() -> None:
    """By hand: a 1 x 1 network of depth 1 with one base channel, biases of the up and head convolutions included."""
    network = UNet(channels=1, classes=2, base_channels=1, depth=1, up="transpose", skip="concat")
    encoder = 9 + 2 + 9 + 2
    bottleneck = 9 * 2 + 4 + 9 * 4 + 4
    decoder = (2 * 4 + 1) + (9 * 2 + 2 + 9 + 2) + (2 + 2)
    assert trainable_parameters(network) == encoder + bottleneck + decoder
