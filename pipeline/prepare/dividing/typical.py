"""Find the most typical of some images by their class shares."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

Shares = NDArray[np.float64]  # of each class in an image's evaluated pixels


def most_typical(shares: Mapping[str, Shares], candidates: Collection[str]) -> str:
    """Return the candidate whose class shares are closest to the median of all images.

    The distance is the sum of the absolute differences. Ties go to the first candidate in the order of `shares`.

    Args:
        shares: by image.
        candidates: one or more of these images.
    """
    median = np.median(np.stack(list(shares.values())), axis=0)
    distances = {name: float(np.abs(shares[name] - median).sum()) for name in shares if name in candidates}
    return min(distances, key=lambda name: round(distances[name], 9))
