"""The prepared arrays, memory-mapped: decoded once by `prepare`, shared by every run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.artifacts.prepared_data import Images, PreparedData, Split
from pipeline.artifacts.project import PREPARED

__all__ = ["Images", "Split", "open_split", "select_gap_subset", "select_training_subset"]


def open_split(split: str, folder: Path = PREPARED) -> Split:
    """Map a split's arrays into memory without reading them."""
    return PreparedData(folder).open_split(split)


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
