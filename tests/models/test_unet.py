"""The U-Net: shapes, gradients, what crosses a skip, its norms and its dropout, and that it can learn."""

from __future__ import annotations

import hashlib
import itertools
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.models.factory import build_network, count_trainable_parameters
from pipeline.models.unet import Norm, SkipConnections, UNet, Upsampling
from pipeline.params.model import SmpModel

UPS: tuple[Upsampling, ...] = ("transpose", "bilinear")
SKIPS: tuple[SkipConnections, ...] = ("concat", "add", "none")
NORMS: tuple[Norm, ...] = ("batch", "group", "none")
CHOICES = list(itertools.product(UPS, SKIPS))
LITE0 = SmpModel(family="smp", architecture="Unet", encoder="tf_efficientnet_lite0", pretrained=False)


# SHA-256 over names and float32 bytes of a new network's state, taken before `norm` and `dropout` existed. It protects
# what is already trained: the default network keeps its names, so that old weights load, and draws the same initial
# weights from the same seed, so that old runs can be repeated. Change it only together with FORMAT.
DEFAULT_STATE = "52017332d086b173a3387dd13f5e33b2f6cc0b97ec0725f3bfd968eb543fdd44"


def unet(
    upsampling: Upsampling = "transpose",
    skip_connections: SkipConnections = "concat",
    channels: int = 3,
    depth: int = 3,
    norm: Norm = "batch",
    dropout: float = 0.0,
) -> UNet:
    torch.manual_seed(0)
    return UNet(
        channels,
        3,
        base_channels=4,
        depth=depth,
        upsampling=upsampling,
        skip_connections=skip_connections,
        norm=norm,
        dropout=dropout,
    )


def test_the_default_network_is_the_one_of_the_first_release() -> None:
    digest = hashlib.sha256()
    for name, tensor in unet(depth=2).state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    assert digest.hexdigest() == DEFAULT_STATE


@pytest.mark.parametrize(("upsampling", "skip_connections"), CHOICES)
@pytest.mark.parametrize("size", [(8, 8), (24, 40), (56, 8)])
def test_the_logits_are_as_large_as_the_image(
    upsampling: Upsampling, skip_connections: SkipConnections, size: tuple[int, int]
) -> None:
    assert unet(upsampling, skip_connections)(torch.rand(2, 3, *size)).shape == (2, 3, *size)


@pytest.mark.parametrize("channels", [1, 5])
def test_any_number_of_channels(channels: int) -> None:
    assert unet(channels=channels)(torch.rand(1, channels, 16, 16)).shape == (1, 3, 16, 16)


@pytest.mark.parametrize("size", [(33, 32), (32, 36)])
def test_a_size_that_cannot_be_halved_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        unet()(torch.rand(1, 3, *size))


@pytest.mark.parametrize(("upsampling", "skip_connections", "norm"), list(itertools.product(UPS, SKIPS, NORMS)))
def test_a_gradient_reaches_every_parameter(
    upsampling: Upsampling, skip_connections: SkipConnections, norm: Norm
) -> None:
    network = unet(upsampling, skip_connections, norm=norm)
    network(torch.rand(2, 3, 16, 16)).square().mean().backward()
    without = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []


@pytest.mark.parametrize(("skip_connections", "crosses"), [("concat", True), ("add", True), ("none", False)])
def test_what_crosses_the_skip(skip_connections: SkipConnections, crosses: bool) -> None:
    """With the way through the bottleneck cut, the image reaches the output across the skips or not at all."""
    network = unet(skip_connections=skip_connections).eval()
    network.bottleneck.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    first, second = network(torch.rand(1, 3, 16, 16)), network(torch.rand(1, 3, 16, 16))
    assert torch.equal(first, second) is not crosses


def test_concatenation_puts_the_encoder_map_beside_the_decoder_map() -> None:
    seen: list[Tensor] = []
    network = unet(skip_connections="concat").eval()
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


def loss_of_a_memorised_batch(model: nn.Module, rate: float) -> float:
    images, masks = torch.rand(4, 3, 32, 32), torch.randint(0, 3, (4, 8, 8))
    masks = masks.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(150):
        loss = F.cross_entropy(model(images), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


@pytest.mark.parametrize("network", ["batch", "group", "lite0"])
def test_one_batch_can_be_memorized(network: Literal["batch", "group", "lite0"]) -> None:
    torch.manual_seed(0)
    model = build_network(LITE0, channels=3, classes=3) if network == "lite0" else unet(depth=2, norm=network)
    assert loss_of_a_memorised_batch(model, rate=1e-2) < 0.2  # from log 3 = 1.10


def test_without_a_norm_the_weights_of_the_paper_let_it_learn() -> None:
    """With torch's own initial weights the loss is 0.5 here: the signal fades on its way through 18 layers."""
    torch.manual_seed(0)
    model = UNet(
        3, 3, base_channels=8, depth=4, upsampling="transpose", skip_connections="concat", norm="none", dropout=0
    )
    assert loss_of_a_memorised_batch(model, rate=3e-3) < 0.2


def test_parameters_are_counted() -> None:
    """By hand: a 1 x 1 network of depth 1 with one base channel, biases of the up and head convolutions included."""
    network = UNet(
        channels=1,
        classes=2,
        base_channels=1,
        depth=1,
        upsampling="transpose",
        skip_connections="concat",
        norm="batch",
        dropout=0,
    )
    encoder = 9 + 2 + 9 + 2
    bottleneck = 9 * 2 + 4 + 9 * 4 + 4
    decoder = (2 * 4 + 1) + (9 * 2 + 2 + 9 + 2) + (2 + 2)
    assert count_trainable_parameters(network) == encoder + bottleneck + decoder


@pytest.mark.parametrize(("base_channels", "groups"), [(16, 8), (4, 4), (1, 1), (12, 6)])
def test_group_normalisation_has_eight_groups_or_fewer(base_channels: int, groups: int) -> None:
    network = UNet(
        3, 2, base_channels, depth=1, upsampling="bilinear", skip_connections="none", norm="group", dropout=0
    )
    first = network.encoder[0][1]
    assert isinstance(first, nn.GroupNorm)
    assert (first.num_groups, first.num_channels) == (groups, base_channels)


def test_group_normalisation_sees_an_image_at_a_time() -> None:
    images = torch.rand(3, 3, 16, 16)
    network = unet(norm="group").train()
    torch.testing.assert_close(network(images)[:1], network(images[:1]))
    assert not dict(network.named_buffers())  # hence no running statistics: training and evaluation are alike


@pytest.mark.parametrize(("norm", "biases"), [("batch", False), ("group", False), ("none", True)])
def test_convolutions_have_biases_where_nothing_else_has(norm: Norm, biases: bool) -> None:
    convolutions = [
        layer for layer in unet(norm=norm).modules() if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)
    ]
    assert {layer.bias is not None for layer in convolutions} == {biases}


def test_dropout_blanks_whole_maps_of_the_bottleneck_in_training_only() -> None:
    network = unet(dropout=0.5)
    seen: list[Tensor] = []
    network.bottleneck.register_forward_hook(lambda module, inputs, output: seen.append(output))
    network.upsampling[0].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    network.train()(torch.rand(4, 3, 32, 32))
    before, behind = seen
    kept = behind.sum(dim=(2, 3), keepdim=True) > 0
    torch.testing.assert_close(behind, torch.where(kept, 2 * before, 0))
    alive = before.sum(dim=(2, 3)) > 0
    assert 0.3 < kept[alive].float().mean() < 0.7
    seen.clear()
    network.eval()(torch.rand(4, 3, 32, 32))
    assert torch.equal(*seen)


def test_dropout_changes_neither_names_nor_weights() -> None:
    plain, dropped = unet().state_dict(), unet(dropout=0.5).state_dict()
    assert list(plain) == list(dropped)
    assert all(torch.equal(plain[name], dropped[name]) for name in plain)
    assert not any(isinstance(module, nn.Dropout2d) for module in unet().modules())
