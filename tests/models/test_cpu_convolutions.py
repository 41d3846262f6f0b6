"""Convolutions with faster training steps: outputs and gradients equal torch's up to rounding."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import Conv2dSame
from torch import Tensor, nn

from pipeline.models.cpu_convolutions import (
    DepthwiseConvolution,
    TransposedConvolution,
    UpsampledConvolution,
    is_slow_depthwise,
    replace_slow_depthwise,
)
from pipeline.models.factory import build_network
from pipeline.models.smp import SameDepthwise
from pipeline.params.model import SmpModel

REPLACEMENTS = {nn.Conv2d: DepthwiseConvolution}


def run_backward(layer: nn.Module, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return the output, and the gradients of its sum of squares with respect to the images and the weights."""
    images = images.clone().requires_grad_()
    out = layer(images)
    out.square().sum().backward()
    assert images.grad is not None
    return out.detach(), [images.grad, *(weight.grad for weight in layer.parameters() if weight.grad is not None)]


def assert_same_gradients(ours: nn.Module, theirs: nn.Module, images: Tensor) -> None:
    theirs.load_state_dict(ours.state_dict())
    for found, expected in zip(run_backward(ours, images), run_backward(theirs, images), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@settings(deadline=None, max_examples=40)
@given(
    kernel=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    size=st.tuples(st.integers(9, 15), st.integers(9, 15)),
    bias=st.booleans(),
)
def test_depthwise_convolution_has_the_gradients_of_torch(
    kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], size: tuple[int, int], bias: bool
) -> None:
    arguments = {"kernel_size": kernel, "stride": stride, "padding": padding, "groups": 4, "bias": bias}
    ours, theirs = (cls(4, 4, **arguments).double() for cls in (DepthwiseConvolution, nn.Conv2d))
    assert_same_gradients(ours, theirs, torch.randn(2, 4, *size, dtype=torch.float64))


@settings(deadline=None, max_examples=40)
@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 1),
    size=st.tuples(st.integers(3, 6), st.integers(3, 6)),
    bias=st.booleans(),
)
def test_transposed_convolution_has_the_gradients_of_torch(
    kernel: int, stride: int, padding: int, size: tuple[int, int], bias: bool
) -> None:
    ours, theirs = (
        cls(5, 3, kernel, stride, padding, bias=bias).double() for cls in (TransposedConvolution, nn.ConvTranspose2d)
    )
    assert_same_gradients(ours, theirs, torch.randn(2, 5, *size, dtype=torch.float64))


class TwoOperations(nn.Conv2d):
    """Nearest-neighbor upsampling and a convolution, as torch computes them."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(F.interpolate(images, scale_factor=2, mode="nearest"))


@settings(deadline=None, max_examples=40)
@given(
    channels=st.sampled_from([(1, 1), (5, 3), (2, 6), (96, 96)]),  # the last has too many kernels for the summed taps
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    bias=st.booleans(),
)
def test_upsampled_convolution_has_the_outputs_and_gradients_of_two_operations(
    channels: tuple[int, int], size: tuple[int, int], bias: bool
) -> None:
    ours, theirs = (cls(*channels, 3, padding=1, bias=bias).double() for cls in (UpsampledConvolution, TwoOperations))
    images = torch.randn(2, channels[0], *size, dtype=torch.float64)
    assert_same_gradients(ours, theirs, images)
    torch.testing.assert_close(ours(images), theirs(images))
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images))


CASES = [
    (DepthwiseConvolution, nn.Conv2d, {"kernel_size": 5, "padding": 2, "groups": 8, "bias": False}),
    (DepthwiseConvolution, nn.Conv2d, {"kernel_size": 3, "padding": 1, "stride": 2, "groups": 8}),
    (TransposedConvolution, nn.ConvTranspose2d, {"kernel_size": 2, "stride": 2}),
    (UpsampledConvolution, TwoOperations, {"kernel_size": 3, "padding": 1}),
]


@pytest.mark.parametrize(("ours", "theirs", "arguments"), CASES)
@pytest.mark.parametrize("autocast", [True, False])
def test_autocast_keeps_outputs_and_gradients_as_accurate_as_torch(
    ours: type[nn.Module], theirs: type[nn.Module], arguments: dict[str, int], autocast: bool
) -> None:
    torch.manual_seed(0)
    layer, reference = (cls(8, 8, **arguments) for cls in (ours, theirs))
    reference.load_state_dict(layer.state_dict())
    images = torch.randn(2, 8, 12, 12).contiguous(memory_format=torch.channels_last)
    exact_output, exact = run_backward(reference, images)
    reference.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output, found = run_backward(layer, images)
        expected_output, expected = run_backward(reference, images)
    assert output.dtype == (torch.bfloat16 if autocast else torch.float32)
    if ours is not UpsampledConvolution:
        assert torch.equal(output, expected_output)
    assert all(gradient.dtype == torch.float32 for gradient in found)
    for our_value, torch_value, exact_value in zip(
        [output, *found], [expected_output, *expected], [exact_output, *exact], strict=True
    ):
        scale = exact_value.abs().max()
        our_error, torch_error = ((value - exact_value).abs().max() / scale for value in (our_value, torch_value))
        assert our_error <= 2 * torch_error + 1e-5


def test_replace_slow_depthwise_keeps_fast_convolutions() -> None:
    fast = [
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.Conv2d(8, 8, 5, padding=2),
        nn.Conv2d(8, 16, 5, groups=8),
        nn.Conv2d(8, 8, 5, groups=8, dilation=2),
        nn.Conv2d(8, 8, 5, groups=8, padding=2, padding_mode="reflect"),
        nn.Conv2d(8, 8, 1, stride=2, groups=8),
        nn.Conv2d(1, 1, 5),
    ]
    assert not any(map(is_slow_depthwise, fast))
    network = nn.Sequential(*fast)
    replace_slow_depthwise(network, REPLACEMENTS)
    assert [type(layer) for layer in network] == [nn.Conv2d] * len(fast)


def test_replace_slow_depthwise_keeps_weights_names_and_random_state() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 8, 5, padding=2, stride=2, groups=8)
    before = torch.get_rng_state()
    network = nn.Sequential(layer)
    replace_slow_depthwise(network, REPLACEMENTS)
    assert isinstance(network[0], DepthwiseConvolution)
    assert (network[0].weight is layer.weight, network[0].bias is layer.bias) == (True, True)
    assert list(network.state_dict()) == ["0.weight", "0.bias"]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("size", [(12, 12), (13, 16)])
def test_replace_layer_keeps_same_padding(size: tuple[int, int]) -> None:
    layer = Conv2dSame(8, 8, 5, stride=2, groups=8, bias=False).double()
    reference = Conv2dSame(8, 8, 5, stride=2, groups=8, bias=False).double()
    reference.load_state_dict(layer.state_dict())
    replace_slow_depthwise(nn.Sequential(layer), {Conv2dSame: SameDepthwise})
    assert isinstance(layer, SameDepthwise)
    assert_same_gradients(layer, reference, torch.randn(2, 8, *size, dtype=torch.float64))


def test_lite0_has_no_slow_depthwise_convolution() -> None:
    model = SmpModel(family="smp", architecture="Unet", encoder="tf_efficientnet_lite0", pretrained=False)
    layers = list(build_network(model, 3, 3).modules())
    slow = [layer for layer in layers if isinstance(layer, nn.Conv2d) and is_slow_depthwise(layer)]
    assert len(slow) == 11
    assert all(isinstance(layer, DepthwiseConvolution) for layer in slow)
