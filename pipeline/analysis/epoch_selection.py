"""Choose a few epochs that show how a prediction changes during training."""

from __future__ import annotations

NUM_EPOCHS = 8  # approximately; never more than two above


def choose_epochs(last: int, best: int | None) -> list[int]:
    """Choose about `NUM_EPOCHS` epochs: mostly early ones, and always the last and the best one.

    Args:
        last: number of epochs.
        best: the best epoch; None if there is none.
    """
    if last < 1:
        return []
    ratio = [round(last ** (i / (NUM_EPOCHS - 1))) for i in range(NUM_EPOCHS)]
    spread = sorted({*ratio, *range(1, min(last, NUM_EPOCHS // 2) + 1), last})
    if best is not None and 1 <= best <= last and best not in spread:
        near = min(
            (epoch for epoch in spread if epoch not in (1, last)), key=lambda epoch: abs(epoch - best), default=1
        )
        spread = sorted({*spread} - {near} | {best})
    return spread
