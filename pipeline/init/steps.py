"""Choose the batch size and the epochs together, so that a training has enough steps."""

from __future__ import annotations

import math

MIN_STEPS = 600  # of a training: as many as the shipped grid has; with some dozens a network hardly moves
# Larger batches need so many steps. With fewer, small batches learn better in the same epochs (docs/recipe.md: batches
# of 16 instead of 4 are worse), and on a CPU an epoch with larger ones is only 5 to 20 % shorter.
MANY_STEPS = 10 * MIN_STEPS
BATCH_SIZES = (4, 8, 16, 32)  # images


def steps_per_epoch(training: int, batch: int) -> int:
    """Count the steps of an epoch: a last batch that is not full is dropped."""
    return max(1, training // batch)


def choose_batch(training: int, epochs: int) -> int:
    """Choose the largest batch with which so many epochs have `MANY_STEPS` steps, else the smallest batch."""
    large = [batch for batch in BATCH_SIZES if epochs * steps_per_epoch(training, batch) >= MANY_STEPS]
    return max(large, default=BATCH_SIZES[0])


def choose_epochs(training: int, batch: int, usual: int) -> int:
    """Keep the usual number of epochs, or raise it to those that `MIN_STEPS` steps need."""
    return max(usual, math.ceil(MIN_STEPS / steps_per_epoch(training, batch)))
