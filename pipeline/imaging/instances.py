"""Masks that number objects, such as nuclei, made into classes that keep touching objects apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BACKGROUND, INSIDE, BORDER = 0, 1, 2  # the classes


def instance_classes(ids: NDArray[np.integer[Any]], border: int) -> NDArray[np.uint8]:
    """The class of each pixel: 0 background, 1 inside an object, 2 border.

    A network that learns the border as a class of its own separates objects that touch: what is left of class 1 falls
    into one piece an object (Caicedo et al. 2019, https://doi.org/10.1002/cyto.a.23863). A pixel is border where within
    `border` pixels of it, diagonals counted as one (chessboard distance),

    - and it being of an object, there is a pixel that is not of that object: background or another object;
    - and it being background, there are pixels of at least two objects: the gap between near objects closes.

    All other background stays background. So two objects' insides never touch, not even at a corner. What the image
    cuts off has no border there. An object that is nowhere more than 2 x `border` pixels wide has no inside.

    Args:
        ids: H x W; 0 is background, and each object has a number above 0 of its own.
        border: width, px; 0 has no border.
    """
    is_object = ids > 0
    largest = np.iinfo(ids.dtype).max
    highest = _in_sight(ids, border, np.maximum, 0)
    lowest = _in_sight(np.where(is_object, ids, largest), border, np.minimum, largest)  # of objects
    at_ground = _in_sight(~is_object, border, np.logical_or, False)
    is_border = (lowest < highest) | (is_object & at_ground)
    return np.where(is_border, BORDER, is_object).astype(np.uint8)


def _in_sight(values: NDArray[Any], radius: int, extreme: np.ufunc, outside: int) -> NDArray[Any]:
    """The extreme value of the square around each pixel that reaches `radius` pixels to each side, inside the image.

    Args:
        values: H x W.
        radius: px; each doubling of it costs one pass more.
        extreme: of two arrays; the one of each pixel and itself is its value.
        outside: a value that is never the extreme.
    """
    values, side = np.pad(values, radius, constant_values=outside), 2 * radius + 1
    for _ in range(values.ndim):
        width = 1  # of the windows whose extremes stand in `values`
        while width < side:
            step = min(width, side - width)
            values, width = extreme(values[step:], values[:-step]), width + step
        values = values.T
    return values
