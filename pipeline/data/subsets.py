"""Which of the training images a run sees, and which of them are compared with validation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


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
