"""Take a sample of a sequence of files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


def sample_evenly(items: Sequence[Item], most: int) -> list[Item]:
    """Take at most so many evenly spaced items, to cover a folder that is sorted by film or patient."""
    if len(items) <= most:
        return list(items)
    return [items[round(place)] for place in np.linspace(0, len(items) - 1, most)]
