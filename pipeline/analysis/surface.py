"""Scores of outlines: boundary IoU, normalized surface Dice, and surface distances of one class in one image.

A surface pixel is a pixel of the class that has a horizontal or vertical neighbor outside the class; beyond the edge of
the image, everything is outside. Pixels at ignored pixels, or next to one, are left out, because the true outline is
unknown there. Distances are between pixel centers; if pixels are not square, each still counts once.

Implementations differ in how they define a surface and its percentiles (Podobnik and Vrtovec, Metrics Revolutions,
arXiv 2410.02630). The definitions here are those of MONAI, whose surface Dice with `use_subvoxels=True` instead weights
the elements of a surface between pixels by their length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import KDTree

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

BOUNDARY_SHARE = 0.02  # width of the band of boundary IoU, as a share of the image's diagonal


@dataclass(frozen=True)
class SurfaceScores:
    """Scores of one class in an image; undefined scores are NaN."""

    # Intersection over union of the bands of pixels that belong to the class and are near its known outline (Cheng,
    # Girshick, Dollar, Berg and Kirillov, CVPR 2021); undefined if neither mask has the class, or no outline is known
    boundary_iou: float
    # share of both surfaces that is within the tolerance of the other one (Nikolov et al., JMIR 23, 2021); undefined if
    # neither mask has the class, or both have it and one of the outlines is unknown
    nsd: float
    # 95th percentile of the distances from either surface to the other, the larger of both directions; undefined unless
    # both masks have the class, with a known outline
    hd95: float
    asd: float  # mean distance from all pixels of either surface to the other; undefined like hd95


UNDEFINED = SurfaceScores(math.nan, math.nan, math.nan, math.nan)
NOTHING_FOUND = SurfaceScores(0.0, 0.0, math.nan, math.nan)


def compute_surface_scores(
    truth: Mask,
    predicted: Mask,
    tolerance: float,
    spacing: tuple[float, float] = (1.0, 1.0),
    ignored: Mask | None = None,
) -> SurfaceScores:
    """Compute the scores of one class in an image.

    Args:
        truth: H x W, pixels of the class in the ground truth.
        predicted: H x W, pixels that are predicted as the class.
        tolerance: largest distance at which surfaces count as equal in `nsd`, in the unit of `spacing`.
        spacing: height and width of a pixel; 1 and 1 for distances in px. It does not affect the boundary IoU.
        ignored: H x W, pixels whose class is unknown; None if there are none.
    """
    if ignored is None:
        ignored = np.zeros_like(truth)
    truth, predicted = truth & ~ignored, predicted & ~ignored
    union = truth | predicted
    if not union.any():
        return UNDEFINED
    if not (truth.any() and predicted.any()):
        return NOTHING_FOUND
    width = max(1, round(BOUNDARY_SHARE * math.hypot(*truth.shape)))
    box = ndimage.find_objects(union.astype(np.uint8))[0]  # everything outside of it is outside both masks
    around = tuple(slice(side.start, side.stop + 2) for side in box)  # the box and the pixels next to it, if padded
    known = np.pad(_erode(~ignored, beyond_edge=True), 1, constant_values=True)[around]
    masks = [np.pad(mask[box], 1) for mask in (truth, predicted)]
    boundary_iou = _compute_boundary_iou(masks, known, width)
    surfaces = [(mask & ~_erode(mask) & known)[1:-1, 1:-1] for mask in masks]
    if not (surfaces[0].any() and surfaces[1].any()):
        return SurfaceScores(boundary_iou, math.nan, math.nan, math.nan)
    there = _measure_distances(surfaces[0], surfaces[1], spacing)
    back = _measure_distances(surfaces[1], surfaces[0], spacing)
    both = np.concatenate([there, back])
    return SurfaceScores(
        boundary_iou=boundary_iou,
        nsd=float((both <= tolerance).mean()),
        hd95=max(float(np.quantile(distances, 0.95)) for distances in (there, back)),
        asd=float(both.mean()),
    )


def _erode(mask: Mask, beyond_edge: bool = False) -> Mask:
    """Remove the pixels that have a horizontal or vertical neighbor outside the mask.

    Args:
        mask: H x W.
        beyond_edge: whether the pixels beyond the edge count as the mask's.
    """
    padded = np.pad(mask, 1, constant_values=beyond_edge)
    return mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]


def _measure_distances(start: Mask, target: Mask, spacing: tuple[float, float]) -> Floats:
    """Measure the distance from each surface pixel of `start` to the nearest one of `target`.

    A tree of the surface pixels takes less time than a distance transform, which covers all pixels.
    """
    apart, there = np.argwhere(start & ~target), np.argwhere(target)
    distances = np.zeros(int(start.sum()))  # 0 at the pixels of both surfaces
    if len(apart):
        tree = KDTree(there * spacing, leafsize=32, balanced_tree=False, compact_nodes=False)
        _, nearest = tree.query(apart * spacing)
        # Differences between whole numbers of pixels are exact, so that a distance equal to the tolerance is not above.
        distances[: len(apart)] = np.hypot(*((apart - there[nearest]) * spacing).T)
    return distances


def _compute_boundary_iou(masks: Sequence[Mask], known: Mask, width: int) -> float:
    bands = [_find_band(mask, known, width) for mask in masks]
    union = int((bands[0] | bands[1]).sum())
    return int((bands[0] & bands[1]).sum()) / union if union else math.nan


def _find_band(mask: Mask, known: Mask, width: int) -> Mask:
    """Find the known pixels of a mask within `width` px of its known outline, also along diagonals.

    Pixels outside the mask are at its known outline if they touch a known pixel of it. Those behind ignored pixels are
    not: the outline is somewhere between.
    """
    inside = mask & known
    outline = ndimage.maximum_filter(inside, 3) & known & ~mask
    return np.asarray(inside & ndimage.maximum_filter(outline, 2 * width + 1), dtype=np.bool_)
