"""The U-Net: shapes, gradients, skip connections, normalization, dropout, and memorizing a batch."""

from __future__ import annotations

import hashlib
import itertools
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.models.factory import build_network, count_trainable_parameters
from pipeline.models.unet import UNet
from pipeline.params.model import Norm, SkipConnections, SmpModel, UNetModel, Upsampling

UPSAMPLINGS: tuple[Upsampling, ...] = ("transpose", "bilinear")
SKIPS: tuple[SkipConnections, ...] = ("concat", "add", "none")
NORMS: tuple[Norm, ...] = ("batch", "group", "none")
COMBINATIONS = list(itertools.product(UPSAMPLINGS, SKIPS))
LITE0 = SmpModel(family="smp", architecture="Unet", encoder="tf_efficientnet_lite0", pretrained=False)

# SHA-256 over names and float32 bytes of a new network's state, computed before `norm` and `dropout` were added. The
# default network must keep its names, so that old weights load, and its initial weights for a seed, so that old runs
# can be reproduced. Change it only together with FORMAT.
DEFAULT_STATE = "52017332d086b173a3387dd13f5e33b2f6cc0b97ec0725f3bfd968eb543fdd44"


def create_unet(
    upsampling: Upsampling = "transpose",
    skip_connections: SkipConnections = "concat",
    channels: int = 3,
    depth: int = 3,
    norm: Norm = "batch",
    dropout: float = 0.0,
    base_channels: int = 4,
    classes: int = 3,
) -> UNet:
    model = UNetModel(
        family="unet",
        base_channels=base_channels,
        depth=depth,
        upsampling=upsampling,
        skip_connections=skip_connections,
        norm=norm,
        dropout=dropout,
    )
    torch.manual_seed(0)
    return UNet(channels, classes, model)


def test_default_network_is_that_of_the_first_release() -> None:
    digest = hashlib.sha256()
    for name, tensor in create_unet(depth=2).state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    assert digest.hexdigest() == DEFAULT_STATE


@pytest.mark.parametrize(("upsampling", "skip_connections"), COMBINATIONS)
@pytest.mark.parametrize("size", [(8, 8), (24, 40), (56, 8)])
def test_logits_have_the_size_of_the_image(
    upsampling: Upsampling, skip_connections: SkipConnections, size: tuple[int, int]
) -> None:
    assert create_unet(upsampling, skip_connections)(torch.rand(2, 3, *size)).shape == (2, 3, *size)


@pytest.mark.parametrize("channels", [1, 5])
def test_network_accepts_any_number_of_channels(channels: int) -> None:
    assert create_unet(channels=channels)(torch.rand(1, channels, 16, 16)).shape == (1, 3, 16, 16)


@pytest.mark.parametrize("size", [(33, 32), (32, 36)])
def test_size_that_is_not_a_multiple_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        create_unet()(torch.rand(1, 3, *size))


@pytest.mark.parametrize(("upsampling", "skip_connections", "norm"), list(itertools.product(UPSAMPLINGS, SKIPS, NORMS)))
def test_every_parameter_gets_a_gradient(upsampling: Upsampling, skip_connections: SkipConnections, norm: Norm) -> None:
    network = create_unet(upsampling, skip_connections, norm=norm)
    network(torch.rand(2, 3, 16, 16)).square().mean().backward()
    without_gradient = [
        name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()
    ]
    assert without_gradient == []


@pytest.mark.parametrize(("skip_connections", "bypass"), [("concat", True), ("add", True), ("none", False)])
def test_skip_connections_bypass_the_bottleneck(skip_connections: SkipConnections, bypass: bool) -> None:
    """With a zeroed bottleneck, the output depends on the image only through the skip connections."""
    network = create_unet(skip_connections=skip_connections).eval()
    network.bottleneck.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    first, second = network(torch.rand(1, 3, 16, 16)), network(torch.rand(1, 3, 16, 16))
    assert torch.equal(first, second) is not bypass


def test_concat_joins_encoder_and_decoder_maps() -> None:
    seen: list[Tensor] = []
    network = create_unet(skip_connections="concat").eval()
    network.encoder[0].register_forward_hook(lambda module, inputs, output: seen.append(output))
    network.decoder[-1].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    network(torch.rand(1, 3, 16, 16))
    encoder_map, joined = seen
    assert joined.shape[1] == 2 * encoder_map.shape[1]
    assert torch.equal(joined[:, : encoder_map.shape[1]], encoder_map)


def test_transposed_convolution_maps_a_pixel_to_its_kernel() -> None:
    """One pixel becomes a learned 2 x 2 patch, and nothing else changes."""
    upsampling = create_unet().upsampling[0]
    weight, bias = upsampling.convolution.weight, upsampling.convolution.bias
    small = torch.zeros(1, weight.shape[0], 3, 3)
    small[0, 1, 1, 2] = 1.0
    large = upsampling(small)[0] - bias[:, None, None]
    torch.testing.assert_close(large[:, 2:4, 4:6], weight[1])
    large[:, 2:4, 4:6] = 0
    assert large.abs().max() < 1e-6


def memorize_batch(model: nn.Module, learning_rate: float, steps: int) -> float:
    images, masks = torch.rand(4, 3, 32, 32), torch.randint(0, 3, (4, 8, 8))
    masks = masks.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    for _ in range(steps):
        loss = F.cross_entropy(model(images), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


@pytest.mark.parametrize(("network", "steps"), [("batch", 150), ("group", 150), ("lite0", 30)])
def test_one_batch_can_be_memorized(network: Literal["batch", "group", "lite0"], steps: int) -> None:
    torch.manual_seed(0)
    model = build_network(LITE0, channels=3, classes=3) if network == "lite0" else create_unet(depth=2, norm=network)
    assert memorize_batch(model, learning_rate=1e-2, steps=steps) < 0.2  # from log 3 = 1.10


def test_network_without_norm_learns_with_he_initialization() -> None:
    """With torch's default initialization the loss would be 0.5, because the signal fades through 18 layers."""
    assert memorize_batch(create_unet(base_channels=8, depth=4, norm="none"), learning_rate=3e-3, steps=150) < 0.2


def test_trainable_parameters_are_counted() -> None:
    """Counted by hand for depth 1 and one base channel, with the biases of the upsampling and head convolutions."""
    network = create_unet(channels=1, classes=2, base_channels=1, depth=1)
    encoder = 9 + 2 + 9 + 2
    bottleneck = 9 * 2 + 4 + 9 * 4 + 4
    decoder = (2 * 4 + 1) + (9 * 2 + 2 + 9 + 2) + (2 + 2)
    assert count_trainable_parameters(network) == encoder + bottleneck + decoder


@pytest.mark.parametrize(("base_channels", "groups"), [(16, 8), (4, 4), (1, 1), (12, 6)])
def test_group_norm_has_at_most_eight_groups(base_channels: int, groups: int) -> None:
    network = create_unet("bilinear", "none", depth=1, norm="group", base_channels=base_channels)
    first = network.encoder[0][1]
    assert isinstance(first, nn.GroupNorm)
    assert (first.num_groups, first.num_channels) == (groups, base_channels)


def test_group_norm_is_independent_of_other_images() -> None:
    images = torch.rand(3, 3, 16, 16)
    network = create_unet(norm="group").train()
    torch.testing.assert_close(network(images)[:1], network(images[:1]))
    assert not dict(network.named_buffers())  # no running statistics, so training and evaluation mode are the same


@pytest.mark.parametrize(("norm", "biases"), [("batch", False), ("group", False), ("none", True)])
def test_convolutions_have_biases_only_without_norm(norm: Norm, biases: bool) -> None:
    convolutions = [
        layer
        for layer in create_unet(norm=norm).modules()
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3)
    ]
    assert {layer.bias is not None for layer in convolutions} == {biases}


def test_dropout_zeroes_whole_bottleneck_maps_in_training_only() -> None:
    network = create_unet(dropout=0.5)
    seen: list[Tensor] = []
    network.bottleneck.register_forward_hook(lambda module, inputs, output: seen.append(output))
    network.upsampling[0].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    network.train()(torch.rand(4, 3, 32, 32))
    before, after = seen
    kept = after.sum(dim=(2, 3), keepdim=True) > 0
    torch.testing.assert_close(after, torch.where(kept, 2 * before, 0))
    alive = before.sum(dim=(2, 3)) > 0
    assert 0.3 < kept[alive].float().mean() < 0.7
    seen.clear()
    network.eval()(torch.rand(4, 3, 32, 32))
    assert torch.equal(*seen)


def test_dropout_keeps_names_and_initial_weights() -> None:
    without_dropout, with_dropout = create_unet().state_dict(), create_unet(dropout=0.5).state_dict()
    assert list(without_dropout) == list(with_dropout)
    assert all(torch.equal(without_dropout[name], with_dropout[name]) for name in without_dropout)
    assert not any(isinstance(module, nn.Dropout2d) for module in create_unet().modules())
