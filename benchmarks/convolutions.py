"""The convolutions whose way back is this project's own, against torch's: milliseconds there and back, one thread.

    python -m benchmarks.convolutions

Layers of EfficientNet-lite0, of the U-Net and of Keras' pets network at 160 px, in batches of 8; each pair in turn.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipeline.models.cpu_convolutions import DepthwiseConvolution, TransposedConvolution
from pipeline.models.malloc import disable_malloc_trim

BATCH, ROUNDS, SECONDS = 8, 5, 0.2
DEPTHWISE = ((96, 80, 3, 2), (144, 40, 5, 1), (144, 40, 5, 2), (240, 20, 3, 2), (672, 10, 5, 1), (672, 10, 5, 2))
TRANSPOSED = ((32, 16, 80, 2, 2, 0), (256, 128, 10, 2, 2, 0), (64, 32, 80, 3, 1, 1))
PRECISIONS = (torch.bfloat16, torch.float32)


def milliseconds(work: Callable[[], object]) -> float:
    """Of one call, once it is warm."""
    work()
    started, calls = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
        work()
        calls += 1
    return (time.perf_counter() - started) / calls * 1e3


def there_and_back(layer: nn.Module, images: Tensor) -> tuple[float, float]:
    """Milliseconds of a layer's way there and of its way back."""

    def there() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=images.dtype == torch.bfloat16):
            out: Tensor = layer(images)
            return out

    grad = torch.ones_like(there())
    forwards = milliseconds(there)
    return forwards, milliseconds(lambda: there().backward(grad)) - forwards


def compare(name: str, theirs: nn.Module, ours: nn.Module, images: Tensor) -> None:
    """Print a layer's row a precision."""
    for precision in PRECISIONS:
        seen = images.to(precision).requires_grad_()
        rounds = [(*there_and_back(theirs, seen), *there_and_back(ours, seen)) for _ in range(ROUNDS)]
        medians = [statistics.median(values) for values in zip(*rounds, strict=True)]
        ratio = statistics.median((row[0] + row[1]) / (row[2] + row[3]) for row in rounds)
        cells = "".join(f"{value:>12.2f}" for value in medians)
        print(f"{name:<34}{str(precision).removeprefix('torch.'):<10}{cells}{ratio:>8.1f} x", flush=True)


def main() -> None:
    """A row a layer and precision."""
    torch.set_num_threads(1)
    disable_malloc_trim()  # as training does
    torch.manual_seed(0)
    heads = "".join(f"{head:>12}" for head in ("torch there", "back", "ours there", "back"))
    print(f"{'milliseconds':<44}{heads}{'faster':>10}")
    for channels, size, kernel, stride in DEPTHWISE:
        layers = [
            made(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
            for made in (nn.Conv2d, DepthwiseConvolution)
        ]
        name = f"depthwise {kernel} x {kernel}, stride {stride}, {channels} at {size}"
        compare(name, *layers, _images(channels, size))
    for channels_in, channels_out, size, kernel, stride, padding in TRANSPOSED:
        layers = [
            made(channels_in, channels_out, kernel, stride, padding).to(memory_format=torch.channels_last)
            for made in (nn.ConvTranspose2d, TransposedConvolution)
        ]
        name = f"transposed {kernel} x {kernel}, {channels_in} to {channels_out} at {size}"
        compare(name, *layers, _images(channels_in, size))


def _images(channels: int, size: int) -> Tensor:
    return torch.randn(BATCH, channels, size, size).contiguous(memory_format=torch.channels_last)


if __name__ == "__main__":
    main()
