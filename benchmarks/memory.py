"""The memory of a training: of a cell as it ships, and of 100,000 images at 128 px.

    python -m benchmarks.memory [--images 100000]

Run in the project's folder after `pipeline prepare`. What is told is the most that a process held at any time: all of
it, as the system counts it, and without the pages of the prepared arrays, which are the page cache's and go when
somebody else needs the room. The large data set is 5 GB of blank images on the disk, with a tenth as many to validate;
its network is small, so that an epoch takes minutes.
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

SIZE = 128  # px


def peaks(command: list[str], folder: Path) -> tuple[float, float, float]:
    """The most that a command held, GB, with and without pages of files, and the seconds it took."""
    variables = {**os.environ, "PYTHONPATH": str(folder), "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    started, most, most_own = time.monotonic(), 0, 0
    variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(["pipeline", *command], cwd=folder, env=variables, stdout=subprocess.DEVNULL)
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        try:
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
            own = sum(int(lines[name].split()[0]) for name in ("RssAnon", "RssShmem"))
            most, most_own = max(most, int(lines["VmHWM"].split()[0])), max(most_own, own)
        except (OSError, KeyError):  # it is ending
            continue
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return most / 1e6, most_own / 1e6, time.monotonic() - started


def blank(folder: Path, images: int) -> None:
    """Prepared data of so many blank images; files with holes, which read as zeros."""
    prepared = folder / PREPARED
    head, *known = (prepared / PreparedData.SAMPLES).read_text().splitlines(keepends=True)
    rows = [head, *(row for row in known if f",{SHOWCASE}," in row)]
    for split, count in (("train", images), ("validation", images // 10), ("test", 10)):
        np.lib.format.open_memmap(
            prepared / split / PreparedData.IMAGES, "w+", np.uint8, (count, SIZE, SIZE, 3)
        ).flush()
        np.lib.format.open_memmap(prepared / split / PreparedData.MASKS, "w+", np.uint8, (count, SIZE, SIZE)).flush()
        rows += [f"{split}{number},{split}" + "," * (head.count(",") - 1) + "\n" for number in range(count)]
    (prepared / PreparedData.SAMPLES).write_text("".join(rows))


def main() -> None:
    """A row a training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    images = parser.parse_args().images
    print(f"{'':<28}{'GB in all':>12}{'GB of its own':>16}{'seconds':>10}")
    train = ["train", "--learning-rate", "0.001", "--seed", "0", "--variant"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve() / "project"
        copy_project(folder, {})
        for command in (["prepare"], ["train", "unet"], ["train", "lite0"], ["evaluate", "lite0-0.001-0"]):
            whole = [*train, command[1]] if command[0] == "train" else command
            print(f"{' '.join(command):<28}" + "{:>12.2f}{:>16.2f}{:>10.0f}".format(*peaks(whole, folder)), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve() / "project"
        small = {"base_channels": 2, "depth": 1}
        copy_project(folder, {"data": {"image_size": SIZE}, "model": small, "train": {"epochs": 1, "batch_size": 32}})
        peaks(["prepare"], folder)
        blank(folder, images)
        found = peaks([*train, "unet"], folder)
        print(f"{f'{images:,} images':<28}" + "{:>12.2f}{:>16.2f}{:>10.0f}".format(*found), flush=True)


if __name__ == "__main__":
    main()
