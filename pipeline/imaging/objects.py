"""Split class masks into objects: the connected regions of foreground classes, together with their boundary pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# px; boundary pixels farther from the inside of an object belong to no object. This is the widest border of
# `data.instances`, and lets large images be processed in strips that overlap by this number of rows.
MAX_REACH = 64

_FAR = np.iinfo(np.int32).max

Labels = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class ObjectLabels:
    """Objects of an image."""

    labels: NDArray[np.integer[Any]]  # H x W, number of the object at each pixel; 0 is background
    classes: NDArray[np.uint8]  # class index by number, with an unused entry for number 0

    @property
    def count(self) -> int:
        """Number of objects with at least one pixel."""
        return int(np.count_nonzero(np.bincount(self.labels.ravel())[1:]))

    def keep(self, pixels: NDArray[np.bool_]) -> ObjectLabels:
        """Set all other pixels to background, which may remove whole objects."""
        return self if pixels.all() else ObjectLabels(np.where(pixels, self.labels, 0), self.classes)


def label_objects(
    mask: NDArray[np.uint8], foreground: Sequence[int], boundary: Sequence[int] = (), min_area: float = 0
) -> ObjectLabels:
    """Number the objects of a class mask from 1, in the order of their first pixels, row by row.

    An object is a connected region of one foreground class; pixels that touch at a corner are connected. With boundary
    classes, these regions are the insides of the objects, and `grow_into_boundary` adds the boundary pixels. A boundary
    region that touches no inside is not an object. This inverts `instances.classify_instances`, except that objects
    without an inside are lost, and that the background pixels between two close objects, which belong to the border
    class, are divided between them.

    Args:
        mask: H x W, class indices; ignored pixels are not part of objects.
        foreground: Indices of the classes of objects.
        boundary: Indices of the boundary classes.
        min_area: Smaller objects are left out, px.
    """
    labels, classes = label_insides(mask, foreground)
    if boundary:
        labels = grow_into_boundary(labels, np.isin(mask, boundary))
    areas = np.bincount(labels.ravel(), minlength=len(classes))
    if min_area > 1:
        numbers, classes = select_numbers(areas, classes, min_area)
        labels = numbers[labels]
    return ObjectLabels(labels, classes)


def label_true_objects(
    mask: NDArray[np.uint8],
    instances: NDArray[np.uint16] | None,
    foreground: Sequence[int],
    boundary: Sequence[int] = (),
) -> ObjectLabels:
    """Return the objects of a ground truth.

    Args:
        mask: H x W, class indices; all foreground pixels of a numbered object have the same class.
        instances: Number of the object at each pixel, H x W; None if the objects are the regions of the class mask.
        foreground: Indices of the classes of objects. Numbered objects of other classes are left out; those that
            consist of boundary pixels only belong to the first class.
        boundary: Indices of the boundary classes.
    """
    if instances is None:
        return label_objects(mask, foreground, boundary)
    is_foreground = np.isin(mask, foreground)
    classes = np.full(int(instances.max(initial=0)) + 1, foreground[0], np.uint8)
    classes[instances[is_foreground]] = mask[is_foreground]
    is_kept = np.zeros(len(classes), np.bool_)
    is_kept[instances[is_foreground | np.isin(mask, boundary)]] = True
    return ObjectLabels(np.where(is_kept[instances], instances, 0), classes)


def label_insides(mask: NDArray[np.uint8], foreground: Sequence[int]) -> tuple[Labels, NDArray[np.uint8]]:
    """Number the connected regions of each foreground class, without boundary pixels.

    Returns:
        Numbers from 1, H x W, and the class index of each number, with an unused entry for 0.
    """
    from skimage.measure import label  # this import takes 0.2 s, also in processes that only decode images

    values = np.where(np.isin(mask, foreground), mask.astype(np.int16) + 1, 0)
    labels = label(values, background=0, connectivity=2).astype(np.int32)
    classes = np.zeros(int(labels.max(initial=0)) + 1, np.uint8)
    classes[labels] = mask
    classes[0] = 0
    return labels, classes


def grow_into_boundary(labels: Labels, is_boundary: NDArray[np.bool_], reach: int = MAX_REACH) -> Labels:
    """Assign each boundary pixel to the object with the shortest path to it through boundary pixels.

    A diagonal step counts as 1. If several objects are equally close, the lowest number wins. Pixels whose path has
    more than `reach` steps remain background.

    Args:
        labels: Numbers of the objects' insides, H x W.
        is_boundary: Boundary pixels, H x W.
        reach: Maximum number of steps.

    Returns:
        Numbers of the objects, H x W.
    """
    padded = np.pad(labels, 1)
    width = padded.shape[1]
    flat, is_free = padded.reshape(-1), np.pad(is_boundary & (labels == 0), 1).reshape(-1)
    steps = np.array([row * width + column for row in (-1, 0, 1) for column in (-1, 0, 1) if row or column])
    # The first step is taken from the boundary pixels, the others from the pixels reached by the previous one.
    free = np.flatnonzero(is_free)
    nearest = np.full(len(free), _FAR, np.int32)
    for step in steps:
        around = flat[free + step]
        np.minimum(nearest, around, out=nearest, where=around > 0)
    is_reached = nearest < _FAR
    front = free[is_reached]
    flat[front], is_free[front] = nearest[is_reached], False
    for _ in range(reach - 1):
        if not len(front):
            break
        places = (front[:, None] + steps).ravel()
        numbers = np.repeat(flat[front], len(steps))
        numbers, places = numbers[is_free[places]], places[is_free[places]]
        order = np.argsort(numbers, kind="stable")[::-1]  # of repeated places, the last assignment remains
        flat[places[order]] = numbers[order]
        front = np.unique(places)
        is_free[front] = False
    return padded[1:-1, 1:-1]


def select_numbers(
    areas: NDArray[np.int64], classes: NDArray[np.uint8], min_area: float
) -> tuple[Labels, NDArray[np.uint8]]:
    """Number the objects of at least `min_area` px consecutively.

    Args:
        areas: Area by number, px; the entry for number 0 is unused, as in `classes`.
        classes: Class index by number.
        min_area: Minimum area, px.

    Returns:
        The new number by old number, 0 for objects that are too small, and the class index by new number.
    """
    is_kept = areas >= max(min_area, 1)
    is_kept[0] = False
    numbers = np.where(is_kept, np.cumsum(is_kept), 0).astype(np.int32)
    return numbers, np.concatenate([classes[:1], classes[is_kept]])
