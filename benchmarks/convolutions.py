"""Compare the speed of the project's convolutions in training with torch's own, on one thread.

    python -m benchmarks.convolutions

Prints the milliseconds of the forward and the backward pass of layers of EfficientNet-lite0, the U-Net and Keras' pets
network, for images of 160 px in batches of 8. Rounds alternate between the two implementations.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipeline.models.cpu_convolutions import DepthwiseConvolution, TransposedConvolution, UpsampledConvolution
from pipeline.runtime.operating_system import disable_malloc_trim

BATCH_SIZE, NUM_ROUNDS, MIN_SECONDS = 8, 5, 0.2
# channels, size of the feature maps in px, kernel size, stride
DEPTHWISE = ((96, 80, 3, 2), (144, 40, 5, 1), (144, 40, 5, 2), (240, 20, 3, 2), (672, 10, 5, 1), (672, 10, 5, 2))
# input channels, output channels, size of the feature maps in px, kernel size, stride, padding
TRANSPOSED = ((32, 16, 80, 2, 2, 0), (256, 128, 10, 2, 2, 0))
# input channels, output channels, size of the feature maps before upsampling in px
UPSAMPLED = ((128, 64, 20), (64, 32, 40), (32, 16, 80))
PRECISIONS = (torch.bfloat16, torch.float32)


def measure_milliseconds(function: Callable[[], object]) -> float:
    """Return the mean time of a call after one warm-up call."""
    function()
    start, num_calls = time.perf_counter(), 0
    while time.perf_counter() - start < MIN_SECONDS:
        function()
        num_calls += 1
    return (time.perf_counter() - start) / num_calls * 1e3


def measure_passes(layer: nn.Module, images: Tensor) -> tuple[float, float]:
    """Return the milliseconds of a layer's forward pass and of its backward pass."""

    def forward() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=images.dtype == torch.bfloat16):
            output: Tensor = layer(images)
            return output

    grad = torch.ones_like(forward())
    forward_time = measure_milliseconds(forward)
    return forward_time, measure_milliseconds(lambda: forward().backward(grad)) - forward_time


def compare(name: str, torch_layer: nn.Module, custom_layer: nn.Module, images: Tensor) -> None:
    """Print one row per precision with the median times of both layers."""
    for precision in PRECISIONS:
        inputs = images.to(precision).requires_grad_()
        rounds = [
            (*measure_passes(torch_layer, inputs), *measure_passes(custom_layer, inputs)) for _ in range(NUM_ROUNDS)
        ]
        medians = [statistics.median(values) for values in zip(*rounds, strict=True)]
        ratio = statistics.median((row[0] + row[1]) / (row[2] + row[3]) for row in rounds)
        cells = "".join(f"{value:>16.2f}" for value in medians)
        print(f"{name:<38}{str(precision).removeprefix('torch.'):<10}{cells}{ratio:>8.1f} x", flush=True)


def main() -> None:
    """Print one row per layer and precision."""
    torch.set_num_threads(1)
    disable_malloc_trim()  # as in training
    torch.manual_seed(0)
    columns = "".join(f"{column:>16}" for column in ("torch forward", "backward", "ours forward", "backward"))
    print(f"{'milliseconds':<48}{columns}{'speedup':>10}")
    for channels, size, kernel, stride in DEPTHWISE:
        layers = [
            layer_class(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
            for layer_class in (nn.Conv2d, DepthwiseConvolution)
        ]
        name = f"depthwise {kernel} x {kernel}, stride {stride}, {channels} at {size}"
        compare(name, *layers, _create_images(channels, size))
    for in_channels, out_channels, size, kernel, stride, padding in TRANSPOSED:
        layers = [
            layer_class(in_channels, out_channels, kernel, stride, padding).to(memory_format=torch.channels_last)
            for layer_class in (nn.ConvTranspose2d, TransposedConvolution)
        ]
        name = f"transposed {kernel} x {kernel}, {in_channels} to {out_channels} at {size}"
        compare(name, *layers, _create_images(in_channels, size))
    for in_channels, out_channels, size in UPSAMPLED:
        convolution, ours = (
            layer_class(in_channels, out_channels, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
            for layer_class in (nn.Conv2d, UpsampledConvolution)
        )
        layers = [nn.Sequential(nn.UpsamplingNearest2d(scale_factor=2), convolution), ours]
        compare(
            f"upsampled 3 x 3, {in_channels} to {out_channels} at {size}", *layers, _create_images(in_channels, size)
        )


def _create_images(channels: int, size: int) -> Tensor:
    return torch.randn(BATCH_SIZE, channels, size, size).contiguous(memory_format=torch.channels_last)


if __name__ == "__main__":
    main()
