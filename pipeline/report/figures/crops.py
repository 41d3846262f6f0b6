"""Choose the part of a large image that the page shows at full scale."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.imaging import IGNORE
from pipeline.imaging.windows import Window
from pipeline.report.figures.error_kinds import check_shapes
from pipeline.report.images import MAX_SIZE, Mask

CROP = 256  # px, side of the part
_STEP = 16  # px between the positions that are compared


def find_crop(prediction: Mask, ground_truth: Mask) -> Window | None:
    """Find the part of an image with the most wrong pixels or, without errors, the most edges in the ground truth.

    Returns:
        Slices of the rows and columns; None if the page shows the whole image at full scale anyway.

    Raises:
        PipelineError: The prediction and the ground truth differ in shape.
    """
    check_shapes(prediction, ground_truth)
    if max(ground_truth.shape) <= MAX_SIZE:
        return None
    wrong = (prediction != ground_truth) & (ground_truth != IGNORE)
    marked = wrong if wrong.any() else _find_edges(ground_truth)
    sums = np.pad(marked, ((1, 0), (1, 0))).cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    height, width = (min(CROP, side) for side in marked.shape)
    tops, lefts = (_list_places(side - part) for side, part in zip(marked.shape, (height, width), strict=True))
    inside = (
        sums[np.ix_(tops + height, lefts + width)]
        - sums[np.ix_(tops, lefts + width)]
        - sums[np.ix_(tops + height, lefts)]
        + sums[np.ix_(tops, lefts)]
    )
    row, column = np.unravel_index(inside.argmax(), inside.shape)
    top, left = int(tops[row]), int(lefts[column])
    return slice(top, top + height), slice(left, left + width)


def _list_places(last: int) -> npt.NDArray[np.int64]:
    return np.unique([*range(0, last + 1, _STEP), last])


def _find_edges(mask: Mask) -> npt.NDArray[np.bool_]:
    """Mark the pixels whose right or lower neighbor has another class, unless one of the two is ignored."""
    edges = np.zeros(mask.shape, bool)
    evaluated = mask != IGNORE
    edges[:, :-1] |= (mask[:, :-1] != mask[:, 1:]) & evaluated[:, :-1] & evaluated[:, 1:]
    edges[:-1] |= (mask[:-1] != mask[1:]) & evaluated[:-1] & evaluated[1:]
    return edges
