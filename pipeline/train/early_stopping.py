"""When a run ends before its last epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.params.train import EarlyStopping


def should_stop(val_losses: Sequence[float], settings: EarlyStopping | None) -> bool:
    """Return whether a run ends after these epochs: too many without an improvement.

    It depends on the losses only, so a resumed training ends like one that was never interrupted.

    Args:
        val_losses: Validation loss of each epoch so far, nats per pixel.
        settings: None if a run never ends early.
    """
    if settings is None or len(val_losses) < settings.min_epochs:
        return False
    lowest, improved = math.inf, 0
    for epoch, loss in enumerate(val_losses, start=1):
        if loss < lowest - settings.min_delta:
            lowest, improved = loss, epoch
    return len(val_losses) - improved >= settings.patience
