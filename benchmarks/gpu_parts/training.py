"""Check what may differ between trainings on a GPU: determinism, resuming, data loading, and a full memory."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import statistics
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.gpu_parts.compare import describe_difference
from benchmarks.gpu_parts.setting import NEEDS_GPU, Setting
from benchmarks.networks import CLASSES, NUM_CLASSES, Workload, create_cell, create_random_split
from benchmarks.pipeline_loop import measure_images_per_second
from benchmarks.project import link_prepared_data
from pipeline.artifacts.project import Project
from pipeline.artifacts.run_folder import RunFolder
from pipeline.data import batch_loader
from pipeline.data.batch_loader import BatchLoader
from pipeline.errors import PipelineError
from pipeline.models.factory import build_network
from pipeline.models.precision import resolve_precision
from pipeline.params import Cell
from pipeline.params.file import read_params
from pipeline.runtime.training_state import TrainingState
from pipeline.sweep.gpus import VISIBLE, list_gpus
from pipeline.train.epoch_loss import GPU_INTERVAL
from pipeline.train.loop import EvalSplits, train
from pipeline.train.train_cell import train_cell

KILLED_AFTER = 2  # epochs
NETWORK = "unet16"
FREE_MEGABYTES = 100  # that the training of a full GPU may use
MAX_LINES = 5  # lines of code that are printed
SYNCHRONIZES = "called a synchronizing"  # in torch's warning


def run(setting: Setting) -> None:
    """Print one row per check."""
    setting.print_row("waits for the GPU per training step", count_waits, setting)
    setting.print_row("full GPU", report_full_memory, setting)
    setting.print_row("GPUs that a sweep uses", list_visible)
    setting.print_row("batches from GPU memory and from main memory", compare_batches, setting)
    for is_deterministic in (False, True):
        kind = "deterministic algorithms" if is_deterministic else "default algorithms"
        runs: dict[str, RunFolder] = {}
        setting.print_row(f"equal trainings, {kind}", compare_equal, setting, is_deterministic, runs)
        setting.print_row(f"killed and resumed, {kind}", compare_resumed, setting, is_deterministic, runs)
    use_deterministic(False)
    setting.print_row(f"{NETWORK}, main memory / GPU memory", compare_speeds, setting, load_from_main_memory)
    setting.print_row(f"{NETWORK}, cudnn.benchmark on / off", compare_speeds, setting, use_cudnn_benchmark)


def compare_equal(setting: Setting, is_deterministic: bool, runs: dict[str, RunFolder]) -> str:
    """Train the same cell twice; keep the first run as `uninterrupted` in `runs`."""
    use_deterministic(is_deterministic)
    first, second = (_train(setting, f"{is_deterministic}-{number}") for number in range(2))
    runs["uninterrupted"] = first
    return describe_difference(first, second)


def compare_resumed(setting: Setting, is_deterministic: bool, runs: dict[str, RunFolder]) -> str:
    """Kill a training with SIGKILL, resume it in this process, and compare it with an uninterrupted one."""
    root = _create_root(setting, f"{is_deterministic}-killed")
    process = multiprocessing.get_context("spawn").Process(
        target=train_until_killed, args=(_create_cell(setting), root, is_deterministic)
    )
    process.start()
    process.join()
    if process.exitcode != -signal.SIGKILL:
        raise RuntimeError(f"the training ended with exit code {process.exitcode} before it could be killed")
    epochs: list[int] = []

    def record(state: TrainingState) -> None:
        if state.progress:
            epochs.append(state.progress.epoch)

    cell = _create_cell(setting)
    train_cell(cell, Project(root), record)
    if epochs[0] != KILLED_AFTER + 1:
        raise RuntimeError(f"the training started again from epoch {epochs[0]}, not {KILLED_AFTER + 1}")
    return describe_difference(runs["uninterrupted"], Project(root).run(cell.name))


def train_until_killed(cell: Cell, root: Path, is_deterministic: bool) -> None:
    """Train a cell, and kill this process after some epochs."""
    use_deterministic(is_deterministic)

    def kill(state: TrainingState) -> None:
        if state.progress and state.progress.epoch == KILLED_AFTER:
            os.kill(os.getpid(), signal.SIGKILL)

    train_cell(cell, Project(root), kill)


def use_deterministic(is_deterministic: bool) -> None:
    """Select algorithms whose results do not depend on the order of additions, where torch has them."""
    warnings.filterwarnings("ignore", message=".*deterministic")
    torch.use_deterministic_algorithms(is_deterministic, warn_only=True)


def count_waits(setting: Setting) -> str:
    """Count the calls that wait for the GPU, from the difference between a long and a short epoch."""
    short, long = (_count_waits_of_epoch(setting, count * GPU_INTERVAL) for count in (1, 2))
    per_step = (long.total() - short.total()) / GPU_INTERVAL
    lines = ", ".join(f"{line} {count}" for line, count in (long - short).most_common(MAX_LINES))
    return f"{per_step:.2f}, including {2 / GPU_INTERVAL:.2f} for reading the losses. {lines}"


def _count_waits_of_epoch(setting: Setting, num_steps: int) -> Counter[str]:
    """Count the waits by the line of code that caused them."""
    batch_size = 4
    cell = create_cell(NETWORK, batch_size)
    model = build_network(cell.model, 3, NUM_CLASSES).to(setting.workload.device)
    split = create_random_split(num_steps * batch_size, 64)
    one = split.take(np.arange(1))
    precision = resolve_precision(cell.train.precision)
    epochs = train(model, cell, split, EvalSplits(one, one, one), CLASSES, precision)
    next(epochs)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if setting.is_gpu:
            torch.cuda.set_sync_debug_mode("warn")
        next(epochs)
        if setting.is_gpu:
            torch.cuda.set_sync_debug_mode("default")
    found = (warning for warning in caught if SYNCHRONIZES in str(warning.message))
    return Counter(f"{Path(warning.filename).name}:{warning.lineno}" for warning in found)


def report_full_memory(setting: Setting) -> str:
    """Train with nearly no free GPU memory, and return the message for the user."""
    if not setting.is_gpu:
        return NEEDS_GPU
    cell = _create_cell(setting)
    settings = cell.train.model_copy(update={"batch_size": 256})
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + FREE_MEGABYTES * 1e6) / total)
    try:
        train_cell(cell.model_copy(update={"train": settings}), Project(_create_root(setting, "full")))
    except PipelineError as error:
        return f"reported: {error}"
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    raise RuntimeError(f"the training did not need more than {FREE_MEGABYTES} MB")


def list_visible() -> str:
    """List the GPUs as a sweep does; check that a process with one of them in CUDA_VISIBLE_DEVICES sees one device."""
    names = list_gpus()
    code = "import torch; print(torch.cuda.device_count(), torch.cuda.get_device_name())"
    rows = []
    for name in names:
        env = {**os.environ, VISIBLE: name}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        rows.append(f"{name}: {done.stdout.strip()}")
    if len(names) != torch.cuda.device_count():
        raise RuntimeError(f"the sweep would use {len(names)} GPUs, but torch finds {torch.cuda.device_count()}")
    return ", ".join(rows) or "none"


def compare_batches(setting: Setting) -> str:
    """Compare batches that are loaded while the GPU is busy with those of the CPU."""
    work = setting.workload
    split = create_random_split(2 * work.batch_size, work.image_size)
    kept, copied = (BatchLoader(split, torch.device(work.device), keep_on_gpu=keep) for keep in (True, False))
    reference, rng = BatchLoader(split, torch.device("cpu")), torch.Generator().manual_seed(0)
    batches = []
    for _ in range(10):
        indices = reference.draw(work.batch_size, rng)
        busy = torch.rand(1024, 1024, device=work.device)
        busy @ busy
        batches.append((indices, kept.take(indices), copied.take(indices)))
    for indices, *loaded in batches:
        expected = reference.take(indices)
        for batch in loaded:
            torch.testing.assert_close(batch.images.cpu(), expected.images, rtol=1e-6, atol=0)
            assert (batch.masks.cpu() == expected.masks).all(), "the masks differ"
    return "equal to those of the CPU"


def compare_speeds(setting: Setting, change: Callable[[bool], None]) -> str:
    """Return the median ratio of the throughput with a change to the throughput without it."""
    ratios = [_measure(setting.workload, change, True) / _measure(setting.workload, change, False) for _ in range(2)]
    return f"{statistics.median(ratios):.2f} x"


def _measure(workload: Workload, change: Callable[[bool], None], is_on: bool) -> float:
    change(is_on)
    try:
        return measure_images_per_second(NETWORK, replace(workload, min_seconds=workload.min_seconds / 2))
    finally:
        change(False)


def load_from_main_memory(is_on: bool, fraction: float = batch_loader.GPU_MEMORY_FRACTION) -> None:
    """Make loaders copy each batch from main memory."""
    batch_loader.GPU_MEMORY_FRACTION = 0.0 if is_on else fraction


def use_cudnn_benchmark(is_on: bool) -> None:
    """Let cuDNN time its algorithms for each new shape; the project leaves this off."""
    torch.backends.cudnn.benchmark = is_on


def _create_cell(setting: Setting) -> Cell:
    """Create a cell with dropout, which draws from the GPU's random generator."""
    cell = read_params(setting.project / "params.yaml").cell("unet", 0.002, 0)
    return cell.model_copy(update={"model": cell.model.model_copy(update={"dropout": 0.5})})


def _create_root(setting: Setting, name: str) -> Path:
    root = setting.project.with_name(f"training-{name}")
    shutil.rmtree(root, ignore_errors=True)
    link_prepared_data(setting.project, root)
    return root


def _train(setting: Setting, name: str) -> RunFolder:
    root, cell = _create_root(setting, name), _create_cell(setting)
    train_cell(cell, Project(root))
    return Project(root).run(cell.name)
