"""Measure the speed of `pipeline prepare` relative to decoding with Pillow, or its peak memory, for JPEG images.

    python -m benchmarks.prepare [--images 7390] [--height 375 --width 500] [--side 160] [--rounds 3] [--memory]

A folder of synthetic JPEG images with PNG masks is prepared at `side` px. By default, number and size of the images are
those of Oxford-IIIT Pet. For comparison, the same number of processes opens, decodes and resizes the files with Pillow
and discards the results, which is the minimum work of any preparation. The folder is then prepared again from the
cache, once unchanged and once with one more image. Rounds alternate between the cases, and each ratio is the median
over the rounds.

With `--memory`, the folder is prepared once, and the peak of the total resident memory of all processes is printed. It
includes shared libraries once per process.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from pipeline.params.data.image_data import FolderData
from pipeline.prepare.prepare_data import create_source, write_source

CHUNK_SIZE = 16  # images per task of a process
NOISE_SIZES = (8, 32, 128)  # px, widths of the noise patterns that are added up to an image


def write_sample(folder: Path, size: tuple[int, int], index: int) -> None:
    """Write an image of smooth noise with a darker ellipse as a JPEG file of typical size, and its mask.

    `size` is the width and height in px.
    """
    rng = np.random.default_rng(index)
    width, height = size
    image = np.zeros((height, width, 3), np.float32)
    for noise_size in NOISE_SIZES:
        noise = rng.integers(0, 256, (noise_size * height // width + 1, noise_size, 3), np.uint8)
        image += np.asarray(Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC), np.float32)
    y, x = np.mgrid[:height, :width].astype(np.float32) / (height, width)[0]
    inside = ((x - rng.uniform(0.3, 1.0)) ** 2 + (y - rng.uniform(0.3, 0.7)) ** 2) < rng.uniform(0.01, 0.08)
    image = image / len(NOISE_SIZES) * np.where(inside, 0.4, 1.0)[..., None]
    Image.fromarray(image.astype(np.uint8)).save(folder / "images" / f"{index:06d}.jpg", quality=88)
    Image.fromarray(inside.astype(np.uint8) + 1).save(folder / "masks" / f"{index:06d}.png")


def decode_images(folder: Path, side: int, names: list[str]) -> None:
    """Decode and resize images and masks with Pillow without any checks, and discard the results."""
    for name in names:
        with Image.open(folder / "images" / f"{name}.jpg") as image:
            image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS).tobytes()
        with Image.open(folder / "masks" / f"{name}.png") as mask:
            mask.resize((side, side), Image.Resampling.NEAREST).tobytes()


def decode_folder(folder: Path, side: int) -> None:
    """Decode a folder with the number of processes that `prepare` uses."""
    names = sorted(path.stem for path in (folder / "images").iterdir())
    chunks = [names[start : start + CHUNK_SIZE] for start in range(0, len(names), CHUNK_SIZE)]
    with multiprocessing.get_context("spawn").Pool(len(os.sched_getaffinity(0))) as pool:
        for _ in pool.imap(partial(decode_images, folder, side), chunks):
            pass


def prepare_folder(folder: Path, side: int) -> None:
    """Prepare a folder as the stage `prepare` does."""
    classes = [
        {"name": "thing", "color": "#e69f00", "foreground": True, "mask_value": 2},
        {"name": "ground", "color": "#0072b2", "foreground": False, "mask_value": 1},
    ]
    data = FolderData.model_validate(
        {
            "source": "image_mask_folder",
            "path": str(folder),
            "image_size": side,
            "resize": "stretch",
            "classes": classes,
            "ignore_value": None,
            "splits": {"validation": 0.15, "test": 0.15},
            "showcase_ids": None,
            "seed": 0,
            "max_train_images": None,
        }
    )
    write_source(create_source(data), "image_mask_folder", Path("prepared"))


def remove_outputs() -> None:
    """Remove the prepared data and the cache of decoded images."""
    for folder in (".cache", "prepared"):
        shutil.rmtree(folder, ignore_errors=True)


def measure_seconds(function: Callable[[Path, int], None], folder: Path, side: int) -> float:
    """Return the duration of a call in seconds."""
    start = time.perf_counter()
    function(folder, side)
    return time.perf_counter() - start


def measure_peak_memory(function: Callable[[], None]) -> float:
    """Return the peak of the total resident memory of this process and its descendants, in MB."""
    this_process, peak, is_done = psutil.Process(), 0, threading.Event()

    def poll() -> None:
        nonlocal peak
        while not is_done.wait(0.1):
            total = 0
            for process in (this_process, *this_process.children(recursive=True)):
                try:
                    total += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            peak = max(peak, total)

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        function()
    finally:
        is_done.set()
        thread.join()
    return peak / 1e6


def main() -> None:
    """Print the throughput of each round and the median ratios, or the peak memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=7390)
    parser.add_argument("--height", type=int, default=375)
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--side", type=int, default=160, help="side of prepared images, px")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true")
    args = parser.parse_args()
    size = (args.width, args.height)
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        folder = Path("images_and_masks")
        for kind in ("images", "masks"):
            (folder / kind).mkdir(parents=True)
        with multiprocessing.get_context("spawn").Pool() as pool:
            pool.map(partial(write_sample, folder, size), range(args.images), chunksize=CHUNK_SIZE)
        if args.memory:
            start = time.perf_counter()
            peak = measure_peak_memory(partial(prepare_folder, folder, args.side))
            seconds = time.perf_counter() - start
            print(f"{args.images:,} images: at most {peak:,.0f} MB resident, {args.images / seconds:.0f} images/s")
            return
        ratios = []
        measure = partial(measure_seconds, folder=folder, side=args.side)
        for _ in range(args.rounds):
            remove_outputs()
            pillow, prepare = measure(decode_folder), measure(prepare_folder)
            unchanged = measure(prepare_folder)
            write_sample(folder, size, args.images)
            one_more = measure(prepare_folder)
            for kind, suffix in (("images", "jpg"), ("masks", "png")):
                (folder / kind / f"{args.images:06d}.{suffix}").unlink()
            ratios.append((pillow / prepare, unchanged / prepare, one_more / prepare))
            print(f"  Pillow alone {args.images / pillow:.0f} images/s, prepare {args.images / prepare:.0f} images/s")
        speed, unchanged, one_more = (statistics.median(column) for column in zip(*ratios, strict=True))
        print(f"prepare reaches {speed:.2f} of the speed of Pillow alone, on {len(os.sched_getaffinity(0))} cores")
        print(f"prepared again without a change: {unchanged:.2f} of the time; with one more image: {one_more:.2f}")


if __name__ == "__main__":
    main()
