"""Measure the peak memory of commands on the default data, and of a training on 100,000 images of 128 px.

    python -m benchmarks.memory [--images 100000]

Run it in the project's folder. Two peaks are printed for each command: the total resident memory, and the resident
memory without file-backed pages. The latter excludes the memory-mapped images, whose pages the system reclaims when
memory is short. The large data set has 100,000 blank training images (5 GB) and a tenth as many validation images. Its
network is small, so that the epoch takes only minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.project import copy_project
from pipeline.artifacts.prepared_data import SHOWCASE, PreparedData
from pipeline.artifacts.project import PREPARED

IMAGE_SIZE = 128  # px


def measure_command(command: list[str], folder: Path) -> tuple[float, float, float]:
    """Return the peak memory of a command in GB, with and without file-backed pages, and its duration in seconds."""
    env = {**os.environ, "PYTHONPATH": str(folder), "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    start, peak, peak_anonymous = time.monotonic(), 0, 0
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(["pipeline", *command], cwd=folder, env=env, stdout=subprocess.DEVNULL)
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        try:
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
            anonymous = sum(int(lines[name].split()[0]) for name in ("RssAnon", "RssShmem"))
            peak, peak_anonymous = max(peak, int(lines["VmHWM"].split()[0])), max(peak_anonymous, anonymous)
        except (OSError, KeyError):  # the process is ending
            continue
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit code {process.returncode}")
    return peak / 1e6, peak_anonymous / 1e6, time.monotonic() - start


def write_blank_data(folder: Path, num_images: int) -> None:
    """Replace the prepared data by `num_images` blank training images in sparse files, and a tenth for validation."""
    prepared = folder / PREPARED
    header, *rows = (prepared / PreparedData.SAMPLES).read_text().splitlines(keepends=True)
    sizes, shares = f",,,{IMAGE_SIZE},{IMAGE_SIZE}", "," * (header.count(",") - 8)
    lines = [header, *(row for row in rows if f",{SHOWCASE}," in row)]
    for split, count in (("train", num_images), ("validation", num_images // 10), ("test", 10)):
        image_shape, mask_shape = (count, IMAGE_SIZE, IMAGE_SIZE, 3), (count, IMAGE_SIZE, IMAGE_SIZE)
        np.lib.format.open_memmap(prepared / split / PreparedData.IMAGES, "w+", np.uint8, image_shape).flush()
        np.lib.format.open_memmap(prepared / split / PreparedData.MASKS, "w+", np.uint8, mask_shape).flush()
        lines += [f"{split}{number},{split},{sizes},,0{shares}\n" for number in range(count)]
    (prepared / PreparedData.SAMPLES).write_text("".join(lines))


def main() -> None:
    """Print one row per command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    num_images = parser.parse_args().images
    print(f"{'':<28}{'GB':>12}{'GB, no files':>16}{'seconds':>10}")
    train = ["train", "--learning-rate", "0.001", "--seed", "0", "--variant"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve() / "project"
        copy_project(folder, {})
        for label in (["prepare"], ["train", "unet"], ["train", "lite0"], ["evaluate", "lite0-0.001-0"]):
            command = [*train, label[1]] if label[0] == "train" else label
            _print_row(" ".join(label), measure_command(command, folder))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve() / "project"
        model = {"base_channels": 2, "depth": 1}
        train_params = {"epochs": 1, "batch_size": 32}
        copy_project(folder, {"data": {"image_size": IMAGE_SIZE}, "model": model, "train": train_params})
        measure_command(["prepare"], folder)
        write_blank_data(folder, num_images)
        _print_row(f"{num_images:,} images", measure_command([*train, "unet"], folder))


def _print_row(label: str, values: tuple[float, float, float]) -> None:
    print(f"{label:<28}" + "{:>12.2f}{:>16.2f}{:>10.0f}".format(*values), flush=True)


if __name__ == "__main__":
    main()
