"""Early-stopping criteria of Prechelt, "Early Stopping - But When?" (Neural Networks: Tricks of the Trade, 1998)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def compute_generalization_loss(val: Floats) -> Floats:
    """Compute GL at every epoch: the increase of the validation loss over its minimum so far, in percent."""
    return np.asarray(100 * (val / np.minimum.accumulate(val) - 1), dtype=np.float64)


def compute_progress_quotient(train: Floats, val: Floats, strip: int = 5) -> Floats:
    """Compute PQ at every epoch: GL divided by the training progress of the last `strip` epochs in per mille.

    It is NaN in the first `strip` - 1 epochs.
    """
    quotient = np.full(len(val), np.nan)
    losses = compute_generalization_loss(val)
    for end in range(strip, len(val) + 1):
        window = train[end - strip : end]
        progress = 1000 * (window.sum() / (strip * window.min()) - 1)
        quotient[end - 1] = losses[end - 1] / progress if progress > 0 else np.inf
    return quotient


def count_successive_rises(val: Floats, strip: int = 5) -> npt.NDArray[np.int64]:
    """Count UP at every epoch: successive strips of `strip` epochs whose last loss exceeds that of the strip before."""
    ups = np.zeros(len(val), dtype=np.int64)
    for end in range(2 * strip - 1, len(val)):
        if val[end] > val[end - strip]:
            ups[end] = ups[end - strip] + 1
    return ups
