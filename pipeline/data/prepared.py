"""Open the prepared arrays, memory-mapped: `prepare` decodes images once for all runs."""

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
    """Samples of a split.

    Attributes:
        images: N x H x W x C, uint8 or uint16.
        masks: N x H x W, uint8, class index or IGNORE.
        ids: N names.
    """

    images: Images
    masks: npt.NDArray[np.uint8]
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: npt.NDArray[np.int64]) -> Split:
        """Copy some samples into memory by their indices."""
        return Split(self.images[index], self.masks[index], tuple(self.ids[i] for i in index))


def open_split(split: str, folder: Path = runs.PREPARED) -> Split:
    """Map a split's arrays without reading them.

    Raises:
        PipelineError: A file is missing, or images, masks and `samples.csv` disagree.
    """
    try:
        images = np.load(folder / split / runs.IMAGES, mmap_mode="r", allow_pickle=False)
        masks = np.load(folder / split / runs.MASKS, mmap_mode="r", allow_pickle=False)
        with (folder / runs.SAMPLES).open(encoding="utf-8", newline="") as file:
            ids = tuple(row["id"] for row in csv.DictReader(file) if row["split"] == split)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise PipelineError(
            f"{folder / split} cannot be read ({error}). Prepare it again: dvc repro --force prepare"
        ) from None
    if not len(images) == len(masks) == len(ids) or images.shape[:3] != masks.shape:
        raise PipelineError(
            f"{folder / split} is inconsistent: {images.shape} images, {masks.shape} masks, {len(ids)} rows in "
            f"{runs.SAMPLES}. Prepare it again: dvc repro --force prepare"
        )
    return Split(images, masks, ids)


def select_training_subset(total: int, count: int | None) -> npt.NDArray[np.int64]:
    """Select the indices of the training images of a run: the first `count` of a fixed order, or all.

    A subset contains all smaller ones. It does not depend on a run's seed, which varies training, never the data.
    """
    order = np.random.default_rng(0).permutation(total)
    return np.sort(order[:count])


def select_gap_subset(training: npt.NDArray[np.int64], num_validation: int) -> npt.NDArray[np.int64]:
    """Select the training images whose loss is compared with validation's: as many as validation has, or all.

    Fixed like `select_training_subset`.
    """
    order = np.random.default_rng(1).permutation(len(training))
    return np.sort(training[order[:num_validation]])
