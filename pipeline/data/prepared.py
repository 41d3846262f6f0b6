"""The prepared arrays, memory-mapped: decoded once by `prepare`, shared by every run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline import runs
from pipeline.artifacts.prepared_data import Images, PreparedData, Split

__all__ = ["Images", "Split", "gap_subset", "open_split", "training_subset"]


def open_split(split: str, folder: Path = runs.PREPARED) -> Split:
    """Map a split's arrays into memory without reading them."""
    return PreparedData(folder).open_split(split)


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
