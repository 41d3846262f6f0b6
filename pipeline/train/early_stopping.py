"""Early stopping of runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.params.train import EarlyStopping


def find_early_stop(val_losses: Sequence[float], settings: EarlyStopping | None) -> int | None:
    """Find the epoch after which a run ends early, because validation has not improved for too many epochs.

    The result depends only on the losses, so a resumed run ends at the same epoch as an uninterrupted one.

    Args:
        val_losses: Validation loss of each epoch so far, nats per pixel.
        settings: Early-stopping settings; None if the run never ends early.

    Returns:
        The epoch, counted from 1; None if the run continues.
    """
    if settings is None:
        return None
    lowest, improved = math.inf, 0
    for epoch, loss in enumerate(val_losses, start=1):
        if loss < lowest - settings.min_delta:
            lowest, improved = loss, epoch
        if epoch >= settings.min_epochs and epoch - improved >= settings.patience:
            return epoch
    return None
