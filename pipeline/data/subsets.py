"""Select the training images of a run, and the subset of them to compare with validation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def select_training_subset(total: int, count: int | None) -> npt.NDArray[np.int64]:
    """Select the indices of a run's training images: the first `count` in a fixed order, or all.

    A subset contains all smaller ones. It does not depend on the run's seed, which varies the training, not the data.
    """
    order = np.random.default_rng(0).permutation(total)
    return np.sort(order[:count])


def select_gap_subset(training: npt.NDArray[np.int64], num_validation: int) -> npt.NDArray[np.int64]:
    """Select the training images to compare with validation: as many as validation has, or all if there are fewer.

    As in `select_training_subset`, the selection does not depend on the run's seed.
    """
    order = np.random.default_rng(1).permutation(len(training))
    return np.sort(training[order[:num_validation]])
