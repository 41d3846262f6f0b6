"""Outline regions of a mask as polygons that a person can edit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.prepare.formats.outlines import decode_segmentation

# px; no point of the exact outline is farther from the polygon. Half a pixel leaves less than half of the points.
TOLERANCE = 0.5
_STRAIGHT = 1e-6  # px; tolerance that removes only the points on straight lines
_DIGITS = 3  # decimals of coordinates

Points = NDArray[np.float64]  # points x 2: x and y in px from the upper left corner of the image


def outline_region(region: NDArray[np.bool_]) -> Points:
    """Outline a connected region as one polygon, without repeating the first point.

    A hole is joined to the outline by a seam of width 0, because polygons of annotation tools have no holes. The
    polygon is simplified (Douglas and Peucker 1973) if only pixels along the outline change; otherwise it is exact.

    Args:
        region: H x W; pixels that touch at a corner are connected.
    """
    rings = _trace_rings(region)
    simple = join_rings([_simplify(ring, TOLERANCE) for ring in rings])
    if _changes_only_outline(simple, region):
        return simple
    return join_rings([_simplify(ring, _STRAIGHT) for ring in rings])


def _trace_rings(region: NDArray[np.bool_]) -> list[Points]:
    """Trace the outline of a region and then of its holes, without repeating first points."""
    from skimage.measure import find_contours  # this import takes long

    contours = find_contours(np.pad(region, 1).astype(np.float32), 0.5, fully_connected="high")
    rings = [contour[:-1, ::-1] - 0.5 for contour in contours]  # from centers of padded pixels to corners of pixels
    return sorted(rings, key=lambda ring: float(ring[:, 0].min()))  # the outline begins to the left of its holes


def _simplify(ring: Points, tolerance: float) -> Points:
    from skimage.measure import approximate_polygon

    closed = approximate_polygon(np.concatenate([ring, ring[:1]]), tolerance)
    simple: Points = closed[:-1]
    return simple if len(simple) >= 3 else ring


def join_rings(rings: Sequence[Points]) -> Points:
    """Join an outline and its holes, sorted by their leftmost points, to one polygon.

    From the leftmost point of each hole, a seam goes to the left, up to the nearest edge. Holes further to the right
    are not in its way.
    """
    polygon = rings[0]
    for hole in rings[1:]:
        first = int(hole[:, 0].argmin())
        hole = np.roll(hole, -first, axis=0)
        start = hole[0]
        edge, end = _find_edge_to_the_left(polygon, start)
        seam = [end[None], hole, start[None], end[None]]
        polygon = np.concatenate([polygon[: edge + 1], *seam, polygon[edge + 1 :]])
    rounded: Points = np.round(polygon, _DIGITS)
    return rounded


def _find_edge_to_the_left(polygon: Points, point: Points) -> tuple[int, Points]:
    """Find the nearest edge to the left of a point inside a polygon: its first point's index, and the point on it."""
    x, y = polygon.T
    next_x, next_y = np.roll(polygon, -1, axis=0).T
    crosses = (y <= point[1]) != (next_y <= point[1])
    edges = np.flatnonzero(crosses)
    share = (point[1] - y[edges]) / (next_y[edges] - y[edges])
    hits = x[edges] + share * (next_x[edges] - x[edges])
    is_left = hits <= point[0]
    nearest = int(np.where(is_left, hits, -np.inf).argmax())
    return int(edges[nearest]), np.array([hits[nearest], point[1]])


def _changes_only_outline(polygon: Points, region: NDArray[np.bool_]) -> bool:
    """Return whether a polygon, drawn as in COCO, differs from the region only in pixels along its outline."""
    from scipy.ndimage import binary_dilation, binary_erosion

    padded = np.pad(region, 1)
    drawn = decode_segmentation([(polygon + 1).ravel().tolist()], *padded.shape)
    around = np.ones((3, 3), bool)
    inside, outside = binary_erosion(padded, around), ~binary_dilation(padded, around)
    return bool(drawn[inside].all() and not drawn[outside].any() and drawn.any())
