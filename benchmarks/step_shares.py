"""Where the time of a training step goes, by kind of work, and what share of the processor's arithmetic it reaches.

    python -m benchmarks.step_shares [--batch 32] [--size 160] [NETWORK ...]

With one thread, so that the times of operations add up. The rate of multiplying matrices is measured beside it: no
network can be faster than its operations at that rate. Nothing is left out: what is in no kind stands under "the rest".
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

from benchmarks.workload import BATCH, CLASSES, NETWORKS, SIZE, cell, made_up
from pipeline.models.factory import build_network
from pipeline.models.malloc import disable_malloc_trim
from pipeline.models.precision import resolve_precision
from pipeline.train.loop import EvalSplits, train

KINDS = {  # the beginnings of operations' names
    "convolution": ("aten::mkldnn_convolution", "aten::convolution", "aten::_convolution", "aten::thnn", "aten::_slow"),
    "normalization": ("aten::native_batch_norm", "aten::_batch_norm", "aten::batch_norm", "aten::native_group_norm"),
    "activation": ("aten::relu", "aten::threshold", "aten::hardtanh", "aten::clamp_min", "aten::silu"),
    "sizes": ("aten::max_pool2d", "aten::avg_pool", "aten::upsample", "aten::_upsample", "aten::cat"),
    "loss": ("aten::_log_softmax", "aten::log_softmax", "aten::nll_loss"),
    "augmentation": ("aten::grid_sampler", "aten::affine_grid"),
    "optimizer": ("aten::_fused", "aten::_foreach", "aten::lerp"),
    "copies": ("aten::copy_", "aten::_to_copy", "aten::clone", "aten::contiguous", "aten::constant_pad"),
}


def matrix_rate(dtype: torch.dtype) -> float:
    """Operations a second of a product of two large matrices, in units of 1e12."""
    size = 2048
    left, right = (torch.randn(size, size).to(dtype) for _ in range(2))
    left @ right
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < 2:
        left @ right
        count += 1
    return 2 * size**3 * count / (time.perf_counter() - started) / 1e12


def shares(network: str, batch: int, size: int) -> None:
    """Print a network's row."""
    disable_malloc_trim()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    chosen = cell(network, batch)
    precision = resolve_precision(chosen.train.precision)
    peak = matrix_rate(getattr(torch, precision))
    split = made_up(2 * batch, size)
    few = split.take(np.arange(1))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        build_network(chosen.model, 3, CLASSES).eval()(torch.zeros(1, 3, size, size))
    operations = 3 * counter.get_total_flops()  # back takes twice as many as there: to the images, and to the weights
    built = build_network(chosen.model, channels=3, classes=CLASSES)
    epochs = train(built, split, EvalSplits(few, few, few), chosen.train, 1e-3, 0, CLASSES, precision)
    next(epochs)
    timed = [next(epochs) for _ in range(2)]
    rate = sum(epoch.images for epoch in timed) / sum(epoch.training_seconds for epoch in timed)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        next(epochs)
    found = dict.fromkeys((*KINDS, "the rest"), 0.0)
    rest: list[tuple[float, str]] = []
    for event in profiler.key_averages():
        kind = next((kind for kind, names in KINDS.items() if event.key.startswith(names)), "the rest")
        found[kind] += event.self_cpu_time_total
        if kind == "the rest":
            rest.append((event.self_cpu_time_total, event.key))
    total = sum(found.values())
    print(f"{network:<12}{rate:>9.1f}{operations / 1e9:>9.1f}{rate * operations / 1e12 / peak:>9.0%}", end="")
    print("".join(f"{value / total:>14.0%}" for value in found.values()))
    print(" " * 12 + "the rest: " + ", ".join(f"{key} {value / total:.1%}" for value, key in sorted(rest)[:-6:-1]))


def main() -> None:
    """A process a network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=", ".join(NETWORKS))
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--size", type=int, default=SIZE, help="px")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        shares(*arguments.networks, arguments.batch, arguments.size)
        return
    torch.set_num_threads(1)
    rates = ", ".join(f"{name} {matrix_rate(getattr(torch, name)):.3f}" for name in ("float32", "bfloat16"))
    print(f"products of matrices, one thread, 1e12 operations a second: {rates}")
    columns = ("images/s", "GFLOP", "of peak")
    print(
        " " * 12 + "".join(f"{name:>9}" for name in columns) + "".join(f"{name:>14}" for name in (*KINDS, "the rest"))
    )
    for name in arguments.networks or NETWORKS:
        options = ["--batch", str(arguments.batch), "--size", str(arguments.size), "--one"]
        subprocess.run([sys.executable, "-m", "benchmarks.step_shares", name, *options], check=True)


if __name__ == "__main__":
    main()
