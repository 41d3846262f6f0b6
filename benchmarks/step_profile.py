"""Profile a training step: the share of its time by kind of operation, and its speed relative to the peak of the CPU.

    python -m benchmarks.step_profile [--batch 32] [--size 160] [NETWORK ...]

A step runs on one thread, so that the times of operations add up. The peak is the measured speed of matrix
multiplication, which no network can exceed. Shares add up to 100%, because all unlisted operations count as "other".
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.networks import BATCH_SIZE, CLASSES, IMAGE_SIZE, NETWORKS, NUM_CLASSES, create_cell, create_random_split
from pipeline.models.factory import build_network
from pipeline.models.precision import resolve_precision
from pipeline.runtime.operating_system import disable_malloc_trim
from pipeline.train.loop import EvalSplits, train

PREFIXES = {  # prefixes of the names of operations, by kind
    "convolution": ("aten::mkldnn_convolution", "aten::convolution", "aten::_convolution", "aten::thnn", "aten::_slow"),
    "normalization": ("aten::native_batch_norm", "aten::_batch_norm", "aten::batch_norm", "aten::native_group_norm"),
    "activation": ("aten::relu", "aten::threshold", "aten::hardtanh", "aten::clamp_min", "aten::silu"),
    "resampling": ("aten::max_pool2d", "aten::avg_pool", "aten::upsample", "aten::_upsample", "aten::cat"),
    "loss": ("aten::_log_softmax", "aten::log_softmax", "aten::nll_loss"),
    "augmentation": ("aten::grid_sampler", "aten::affine_grid"),
    "optimizer": ("aten::_fused", "aten::_foreach", "aten::lerp"),
    "copies": ("aten::copy_", "aten::_to_copy", "aten::clone", "aten::contiguous", "aten::constant_pad"),
}
OTHER = "other"


def measure_peak(dtype: torch.dtype) -> float:
    """Return the speed of multiplying two large matrices, in TFLOP/s."""
    size = 2048
    left, right = (torch.randn(size, size).to(dtype) for _ in range(2))
    left @ right
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < 2:
        left @ right
        count += 1
    return 2 * size**3 * count / (time.perf_counter() - start) / 1e12


def profile_network(network: str, batch_size: int, size: int) -> None:
    """Profile a network, and print its row."""
    disable_malloc_trim()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    cell = create_cell(network, batch_size)
    precision = resolve_precision(cell.train.precision)
    peak = measure_peak(getattr(torch, precision))
    split = create_random_split(2 * batch_size, size)
    eval_split = split.take(np.arange(1))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        build_network(cell.model, 3, NUM_CLASSES).eval()(torch.zeros(1, 3, size, size))
    # The backward pass computes two gradients, of the inputs and of the weights, each as costly as the forward pass.
    flops = 3 * counter.get_total_flops()
    model = build_network(cell.model, channels=3, classes=NUM_CLASSES)
    eval_splits = EvalSplits(eval_split, eval_split, eval_split)
    epochs = train(model, cell, split, eval_splits, CLASSES, precision)
    next(epochs)
    timed = [next(epochs) for _ in range(2)]
    images_per_second = sum(epoch.images for epoch in timed) / sum(epoch.training_seconds for epoch in timed)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        next(epochs)
    times = dict.fromkeys((*PREFIXES, OTHER), 0.0)
    other_times: list[tuple[float, str]] = []
    for event in profiler.key_averages():
        kind = next((kind for kind, prefixes in PREFIXES.items() if event.key.startswith(prefixes)), OTHER)
        times[kind] += event.self_cpu_time_total
        if kind == OTHER:
            other_times.append((event.self_cpu_time_total, event.key))
    total = sum(times.values())
    share_of_peak = images_per_second * flops / 1e12 / peak
    print(f"{network:<12}{images_per_second:>9.1f}{flops / 1e9:>9.1f}{share_of_peak:>9.0%}", end="")
    print("".join(f"{value / total:>14.0%}" for value in times.values()))
    largest = sorted(other_times)[:-6:-1]
    print(" " * 12 + f"{OTHER}: " + ", ".join(f"{key} {value / total:.1%}" for value, key in largest))


def main() -> None:
    """Print one row per network, each measured in a new process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=", ".join(NETWORKS))
    parser.add_argument("--batch", type=int, default=BATCH_SIZE, help="images per batch")
    parser.add_argument("--size", type=int, default=IMAGE_SIZE, help="side of the images, px")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        profile_network(*args.networks, args.batch, args.size)
        return
    torch.set_num_threads(1)
    peaks = ", ".join(f"{name} {measure_peak(getattr(torch, name)):.3f}" for name in ("float32", "bfloat16"))
    print(f"matrix multiplication, one thread, TFLOP/s: {peaks}")
    columns = "".join(f"{name:>9}" for name in ("images/s", "GFLOP", "of peak"))
    print(" " * 12 + columns + "".join(f"{name:>14}" for name in (*PREFIXES, OTHER)))
    for name in args.networks or NETWORKS:
        options = ["--batch", str(args.batch), "--size", str(args.size), "--worker"]
        subprocess.run([sys.executable, "-m", "benchmarks.step_profile", name, *options], check=True)


if __name__ == "__main__":
    main()
