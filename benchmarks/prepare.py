"""What `pipeline prepare` takes for a folder of photographs, against Pillow's bare decoding, and the memory it holds.

    python -m benchmarks.prepare [--images 7390] [--height 375 --width 500] [--rounds 3] [--memory]

A folder of made-up JPEG photographs with PNG masks, by default as many and as large as Oxford-IIIT Pet has, is prepared
at 160 px. Beside it, as many processes open, decode and resize the same files by Pillow alone, and throw the result
away: what no way of preparing could do without. Rounds alternate between the two, and a ratio is the median of the
rounds' ratios. Then the same folder is prepared again, and again with one image more, from the cache.

`--memory` prepares once and prints the most memory that all its processes held at once (their resident sets added up,
so shared libraries count in each).
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
from pipeline.prepare.source_factory import create_source
from pipeline.prepare.stage import write_source

SIZE = 160
TOGETHER = 16
OCTAVES = (8, 32, 128)  # px of the noise that a picture is made of


def make(folder: Path, size: tuple[int, int], index: int) -> None:
    """A photograph of clouds with an ellipse in it, and its mask; its detail makes the JPEG as large as most."""
    random = np.random.default_rng(index)
    width, height = size
    picture = np.zeros((height, width, 3), np.float32)
    for octave in OCTAVES:
        noise = random.integers(0, 256, (octave * height // width + 1, octave, 3), np.uint8)
        picture += np.asarray(Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC), np.float32)
    y, x = np.mgrid[:height, :width].astype(np.float32) / (height, width)[0]
    inside = ((x - random.uniform(0.3, 1.0)) ** 2 + (y - random.uniform(0.3, 0.7)) ** 2) < random.uniform(0.01, 0.08)
    picture = picture / len(OCTAVES) * np.where(inside, 0.4, 1.0)[..., None]
    Image.fromarray(picture.astype(np.uint8)).save(folder / "images" / f"{index:06d}.jpg", quality=88)
    Image.fromarray(inside.astype(np.uint8) + 1).save(folder / "masks" / f"{index:06d}.png")


def bare(folder: Path, names: list[str]) -> None:
    """What Pillow itself does: nothing is checked and nothing is kept."""
    for name in names:
        with Image.open(folder / "images" / f"{name}.jpg") as image:
            image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS).tobytes()
        with Image.open(folder / "masks" / f"{name}.png") as mask:
            mask.resize((SIZE, SIZE), Image.Resampling.NEAREST).tobytes()


def bare_all(folder: Path) -> None:
    """All files, by as many processes as `prepare` takes."""
    names = sorted(path.stem for path in (folder / "images").iterdir())
    batches = [names[start : start + TOGETHER] for start in range(0, len(names), TOGETHER)]
    with multiprocessing.get_context("spawn").Pool(len(os.sched_getaffinity(0))) as pool:
        for _ in pool.imap(partial(bare, folder), batches):
            pass


def prepare(folder: Path) -> None:
    """The stage."""
    classes = [
        {"name": "thing", "color": "#e69f00", "foreground": True, "mask_value": 2},
        {"name": "ground", "color": "#0072b2", "foreground": False, "mask_value": 1},
    ]
    data = FolderData.model_validate(
        {
            "source": "image_mask_folder",
            "path": str(folder),
            "image_size": SIZE,
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


def forget() -> None:
    """The cache of decoded images, and what was prepared."""
    for folder in (".cache", "prepared"):
        shutil.rmtree(folder, ignore_errors=True)


def timed(work: Callable[[Path], None], folder: Path) -> float:
    """Seconds."""
    begin = time.perf_counter()
    work(folder)
    return time.perf_counter() - begin


def most_memory(work: Callable[[], None]) -> float:
    """The most that this process and all below it held at once, in MB."""
    me, most, done = psutil.Process(), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.1):
            held = 0
            for process in (me, *me.children(recursive=True)):
                try:
                    held += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            most = max(most, held)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return most / 1e6


def main() -> None:
    """Print it all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=7390)
    parser.add_argument("--height", type=int, default=375)
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as top:
        os.chdir(top)
        folder = Path("pictures")
        for kind in ("images", "masks"):
            (folder / kind).mkdir(parents=True)
        with multiprocessing.get_context("spawn").Pool() as pool:
            pool.map(partial(make, folder, (asked.width, asked.height)), range(asked.images), chunksize=TOGETHER)
        if asked.memory:
            seconds = time.perf_counter()
            most = most_memory(partial(prepare, folder))
            seconds = time.perf_counter() - seconds
            print(f"{asked.images:,} images: at most {most:,.0f} MB resident, {asked.images / seconds:.0f} images/s")
            return
        found = []
        for _ in range(asked.rounds):
            forget()
            alone, whole = timed(bare_all, folder), timed(prepare, folder)
            again = timed(prepare, folder)
            make(folder, (asked.width, asked.height), asked.images)
            more = timed(prepare, folder)
            for kind, ending in (("images", "jpg"), ("masks", "png")):
                (folder / kind / f"{asked.images:06d}.{ending}").unlink()
            found.append((alone / whole, again / whole, more / whole))
            print(f"  Pillow alone {asked.images / alone:.0f} images/s, prepare {asked.images / whole:.0f} images/s")
        rate, again, more = (statistics.median(ratios) for ratios in zip(*found, strict=True))
        print(f"prepare works at {rate:.2f} of the rate of Pillow alone, on {len(os.sched_getaffinity(0))} processors")
        print(f"prepared again without a change: {again:.2f} of the time; with one image more: {more:.2f}")


if __name__ == "__main__":
    main()
