"""The prepared arrays, memory-mapped: decoded once by `prepare`, shared by every run."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline import runs
from pipeline.errors import PipelineError

Images = npt.NDArray[np.uint8 | np.uint16]


@dataclass(frozen=True)
class Split:
    """Samples of a split: `images` N x H x W x C (uint8 or uint16), `masks` N x H x W (uint8), `ids` N names."""

    images: Images
    masks: npt.NDArray[np.uint8]
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: npt.NDArray[np.int64]) -> Split:
        """The samples at these places, copied into memory."""
        return Split(self.images[index], self.masks[index], tuple(self.ids[i] for i in index))


def open_split(split: str, folder: Path = runs.PREPARED) -> Split:
    """Map a split's arrays without reading them.

    Raises `PipelineError` where a file is missing, or where images, masks and `samples.csv` disagree.
    """
    try:
        images = np.load(folder / split / runs.IMAGES, mmap_mode="r", allow_pickle=False)
        masks = np.load(folder / split / runs.MASKS, mmap_mode="r", allow_pickle=False)
        with (folder / runs.SAMPLES).open(encoding="utf-8", newline="") as file:
            ids = tuple(row["id"] for row in csv.DictReader(file) if row["split"] == split)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise PipelineError(
            f"{folder / split} cannot be read ({error}). Make it anew: dvc repro --force prepare"
        ) from None
    if not len(images) == len(masks) == len(ids) or images.shape[:3] != masks.shape:
        raise PipelineError(
            f"{folder / split} is inconsistent: {images.shape} images, {masks.shape} masks, {len(ids)} rows in "
            f"{runs.SAMPLES}. Make it anew: dvc repro --force prepare"
        )
    return Split(images, masks, ids)


def training_subset(total: int, used: int | None) -> npt.NDArray[np.int64]:
    """Places of the training images that a run sees: the first `used` of a fixed order, so that 40 contain the 20.

    The order does not depend on a run's seed: a seed varies training, never the data.
    """
    order = np.random.default_rng(0).permutation(total)
    return np.sort(order[:used])


def gap_subset(seen: npt.NDArray[np.int64], validation: int) -> npt.NDArray[np.int64]:
    """Places of the training images whose yardstick is compared with validation's: as many as validation has.

    Fixed like `training_subset`; all that the run sees where it sees fewer.
    """
    order = np.random.default_rng(1).permutation(len(seen))
    return np.sort(seen[order[:validation]])
