"""Measure the peak GPU memory of training steps and of predictions, and compare it with what evaluations report."""

from __future__ import annotations

import time

import numpy as np
import torch

from benchmarks.gpu_parts.setting import NEEDS_GPU, Setting
from benchmarks.networks import CLASSES, NUM_CLASSES, create_cell, create_random_split
from pipeline.inference.prediction import predict_split
from pipeline.models.factory import build_network
from pipeline.models.precision import resolve_precision
from pipeline.models.step_memory import measure_step_memory
from pipeline.train.loop import EvalSplits, train


def run(setting: Setting) -> None:
    """Print one row per network."""
    work = setting.workload
    print(
        f"MB, {work.image_size} x {work.image_size} px, batches of {work.batch_size}; training_bytes: the memory of a "
        "step that an evaluation reports, measured on this device, then on the CPU"
    )
    for network in setting.networks:
        setting.print_row(network, measure_network, setting, network)


def measure_network(setting: Setting, network: str) -> str:
    """Return the memory of a training step, and memory and speed of predictions."""
    work = setting.workload
    cell = create_cell(network, work.batch_size, work.num_threads)
    precision = resolve_precision(cell.train.precision)
    reported = []
    for device in dict.fromkeys((work.device, "cpu")):
        model = build_network(cell.model, 3, NUM_CLASSES).to(device)
        images = torch.zeros(2, 3, work.image_size, work.image_size, device=device)
        reported.append(measure_step_memory(model, images, precision, work.batch_size))
    _start_measuring(setting)
    model = build_network(cell.model, 3, NUM_CLASSES).to(work.device)
    split = create_random_split(2 * work.batch_size, work.image_size)
    one = split.take(np.arange(1))
    next(train(model, cell, split, EvalSplits(one, one, one), CLASSES, precision))
    peak = _read_peak(setting)
    model.eval()
    split = split.take(np.arange(setting.num_eval_images) % len(split))
    predict_split(model, one, NUM_CLASSES, precision)
    _start_measuring(setting)
    start = time.perf_counter()
    predict_split(model, split, NUM_CLASSES, precision)
    images_per_second = len(split) / (time.perf_counter() - start)
    eval_peak = _read_peak(setting)
    ratio = f" = {peak / reported[0]:.2f} x training_bytes" if peak else ""
    return (
        f"training_bytes {' '.join(f'{value / 1e6:.0f}' for value in reported)}  "
        f"training peak {_format(peak)}{ratio}  evaluation peak {_format(eval_peak)}, {images_per_second:.0f} images/s"
    )


def _start_measuring(setting: Setting) -> None:
    if setting.is_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _read_peak(setting: Setting) -> int | None:
    return torch.cuda.max_memory_allocated() if setting.is_gpu else None


def _format(peak: int | None) -> str:
    return f"({NEEDS_GPU})" if peak is None else f"{peak / 1e6:.0f}"
