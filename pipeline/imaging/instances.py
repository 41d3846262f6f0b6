"""Convert masks that number objects, such as nuclei, to classes that separate touching objects."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BACKGROUND, INSIDE, BORDER = 0, 1, 2  # the classes


def classify_instances(ids: NDArray[np.integer[Any]], border: int) -> NDArray[np.uint8]:
    """Classify each pixel: 0 background, 1 inside an object, 2 border.

    A network that learns the border as a class of its own separates objects that touch: the rest of class 1 is one
    connected piece per object (Caicedo et al. 2019, https://doi.org/10.1002/cyto.a.23863). A pixel is border if within
    `border` pixels of it, diagonals counted as one (chessboard distance),

    - of an object's pixel there is a pixel of the background or of another object;
    - of a background pixel there are pixels of at least two objects: the gap between near objects closes.

    All other background stays background. Therefore the insides of two objects never touch, not even at a corner. There
    is no border along the image's edge. An object at most 2 x `border` pixels wide has no inside.

    Args:
        ids: H x W; 0 is background, and each object has its own number above 0.
        border: Width in px; 0 for no border.
    """
    is_object = ids > 0
    largest = np.iinfo(ids.dtype).max
    highest = _filter_square(ids, border, np.maximum, 0)
    lowest = _filter_square(np.where(is_object, ids, largest), border, np.minimum, largest)  # of objects
    near_background = _filter_square(~is_object, border, np.logical_or, False)
    is_border = (lowest < highest) | (is_object & near_background)
    return np.where(is_border, BORDER, is_object).astype(np.uint8)


def _filter_square(values: NDArray[Any], radius: int, extreme: np.ufunc, outside: int) -> NDArray[Any]:
    """Compute the extreme value in a square around each pixel, inside the image.

    Args:
        values: H x W.
        radius: Of the square, px to each side; the passes grow with its logarithm.
        extreme: Of two arrays, such as `np.maximum`.
        outside: A value that is never the extreme.
    """
    values, side = np.pad(values, radius, constant_values=outside), 2 * radius + 1
    for _ in range(values.ndim):
        width = 1  # of the windows whose extremes are in `values`
        while width < side:
            step = min(width, side - width)
            values, width = extreme(values[step:], values[:-step]), width + step
        values = values.T
    return values
