"""Surface scores equal those of MONAI and follow their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from pipeline.analysis.surface import BOUNDARY_SHARE, UNDEFINED, compute_surface_scores
from tests.optional import import_or_skip

TOLERANCE = 2.0


def draw_blobs(random: np.random.Generator, size: int = 64) -> np.ndarray:
    """Draw a random mask of blobs that may touch the edge of the image."""
    smooth = ndimage.gaussian_filter(random.normal(size=(size, size)), random.uniform(2, 6))
    return smooth > np.quantile(smooth, random.uniform(0.3, 0.97))


def disturb(mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Move, grow and perforate a mask, as a prediction of it."""
    moved = np.roll(mask, random.integers(-5, 6, 2), (0, 1))
    return (moved | (random.random(mask.shape) < 0.01)) & ~(random.random(mask.shape) < 0.02)


# MONAI calls its own functions with a deprecated argument.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("num_pairs", "is_anisotropic"), [(100, False), (200, True)])
def test_scores_equal_those_of_monai_for_random_pairs(num_pairs: int, is_anisotropic: bool) -> None:
    metrics = import_or_skip("monai.metrics")
    random = np.random.default_rng(0)
    for index in range(num_pairs):
        truth = draw_blobs(random)
        predicted = disturb(truth, random) if index % 4 else draw_blobs(random)
        spacing = tuple(random.uniform(0.3, 2, 2)) if is_anisotropic else (1.0, 1.0)
        ours = compute_surface_scores(truth, predicted, TOLERANCE, spacing)
        pair = [torch.from_numpy(np.stack([~mask, mask])[None].astype(np.float32)) for mask in (predicted, truth)]
        masks = (torch.from_numpy(mask) for mask in (predicted, truth))
        _, distances, _ = metrics.utils.get_edge_surface_distance(*masks, spacing=list(spacing), symmetric=True)
        theirs = (
            # Not compute_hausdorff_distance, which interpolates the percentile in float32
            max(np.quantile(one.double().numpy(), 0.95) for one in distances),
            metrics.compute_average_surface_distance(*pair, symmetric=True, spacing=list(spacing)),
            metrics.compute_surface_dice(*pair, class_thresholds=[TOLERANCE], spacing=list(spacing)),
        )
        assert [ours.hd95, ours.asd, ours.nsd] == pytest.approx(list(map(float, theirs)), rel=1e-6), index


def test_boundary_iou_equals_its_definition_by_erosion() -> None:
    random = np.random.default_rng(1)
    for _ in range(50):
        truth, predicted = draw_blobs(random), draw_blobs(random)
        width = max(1, round(BOUNDARY_SHARE * math.hypot(64, 64)))
        bands = [mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), width) for mask in (truth, predicted)]
        expected = (bands[0] & bands[1]).sum() / (bands[0] | bands[1]).sum()
        assert compute_surface_scores(truth, predicted, TOLERANCE).boundary_iou == pytest.approx(expected)


MASKS = arrays.arrays(bool, (12, 15), elements=st.booleans())


@given(MASKS, MASKS, st.floats(0, 5))
def test_scores_are_symmetric_and_in_range(first: np.ndarray, second: np.ndarray, tolerance: float) -> None:
    scores = compute_surface_scores(first, second, tolerance)
    np.testing.assert_allclose(
        list(vars(scores).values()), list(vars(compute_surface_scores(second, first, tolerance)).values())
    )
    for value in (scores.boundary_iou, scores.nsd):
        assert math.isnan(value) or 0 <= value <= 1
    assert math.isnan(scores.hd95) or 0 <= scores.asd <= max(12, 15)


@given(MASKS)
def test_mask_equals_itself(mask: np.ndarray) -> None:
    scores = compute_surface_scores(mask, mask, 0)
    if mask.any():
        assert (scores.boundary_iou, scores.nsd, scores.hd95, scores.asd) == (1, 1, 0, 0)
    else:
        assert all(map(math.isnan, vars(scores).values()))


@given(MASKS, st.integers(1, 4))
def test_distances_scale_with_the_spacing(mask: np.ndarray, factor: int) -> None:
    other = np.roll(mask, 1, 0)
    one = compute_surface_scores(mask, other, 1.0)
    scaled = compute_surface_scores(mask, other, float(factor), (float(factor), float(factor)))
    np.testing.assert_allclose([scaled.hd95, scaled.asd, scaled.nsd], [one.hd95 * factor, one.asd * factor, one.nsd])


def test_class_in_one_mask_only_has_no_distance() -> None:
    mask = np.zeros((9, 9), bool)
    mask[3:6, 3:6] = True
    scores = compute_surface_scores(mask, np.zeros_like(mask), TOLERANCE)
    assert (scores.boundary_iou, scores.nsd) == (0, 0)
    assert math.isnan(scores.hd95)
    assert math.isnan(scores.asd)
    assert compute_surface_scores(mask & False, mask & False, TOLERANCE) is UNDEFINED


def test_outline_of_ignored_pixels_does_not_count() -> None:
    truth = np.zeros((20, 20), bool)
    truth[5:15, 5:15] = True
    ignored = np.zeros_like(truth)
    ignored[:, 10:] = True
    predicted = truth.copy()
    predicted[:, 10:] = False  # wrong only where the truth is unknown
    scores = compute_surface_scores(truth, predicted, 0.0, ignored=ignored)
    assert (scores.nsd, scores.hd95, scores.boundary_iou) == (1, 0, 1)
    shifted = np.roll(truth, -2, 1)
    assert compute_surface_scores(truth, shifted, 0.0, ignored=ignored).hd95 == 2


def compute_known_boundary_iou(truth: np.ndarray, predicted: np.ndarray, ignored: np.ndarray) -> float:
    """Compute the boundary IoU pixel by pixel, from the outside pixels at the known outlines."""
    width = max(1, round(BOUNDARY_SHARE * math.hypot(*truth.shape)))
    known = np.pad(~ndimage.binary_dilation(ignored), 1, constant_values=True)
    bands = []
    for mask in (truth, predicted):
        padded = np.pad(mask & ~ignored, 1)
        near = np.zeros_like(padded)
        for row, column in np.argwhere(known & ~padded).tolist():
            window = slice(max(0, row - 1), row + 2), slice(max(0, column - 1), column + 2)
            if (padded & known)[window].any():
                near[max(0, row - width) : row + width + 1, max(0, column - width) : column + width + 1] = True
        bands.append(padded & known & near)
    union = (bands[0] | bands[1]).sum()
    return (bands[0] & bands[1]).sum() / union if union else math.nan


def test_boundary_iou_compares_only_known_outlines() -> None:
    random = np.random.default_rng(2)
    for index in range(60):
        truth = draw_blobs(random)
        predicted = disturb(truth, random) if index % 3 else draw_blobs(random)
        ring = ndimage.binary_dilation(truth, iterations=1 + index % 3) & ~truth
        ignored = draw_blobs(random) if index % 2 else ring & draw_blobs(random)
        if not ((truth & ~ignored).any() and (predicted & ~ignored).any()):
            continue
        expected = compute_known_boundary_iou(truth, predicted, ignored)
        found = compute_surface_scores(truth, predicted, TOLERANCE, ignored=ignored).boundary_iou
        assert found == pytest.approx(expected, nan_ok=True), index


@pytest.mark.parametrize("thickness", [1, 2, 6])  # px, less and more than the width of the band, 3 px
def test_boundary_iou_of_unknown_outlines_is_undefined(thickness: int) -> None:
    truth = np.zeros((100, 100), bool)
    truth[30:70, 20:80] = True
    ignored = ndimage.binary_dilation(truth, iterations=thickness) & ~truth
    inside_ring = ndimage.binary_dilation(truth, iterations=thickness - 1) if thickness > 1 else truth
    for predicted in (truth, inside_ring, truth | ignored):
        assert math.isnan(compute_surface_scores(truth, predicted, TOLERANCE, ignored=ignored).boundary_iou)
    beyond = truth.copy()
    beyond[30:70, 5:20] = True  # a known outline, where the class ends inside the ring
    assert compute_surface_scores(truth, beyond, TOLERANCE, ignored=ignored).boundary_iou == 0


@pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (1, 0.5), (8, 0.0)])
def test_boundary_iou_excludes_the_edge_of_ignored_pixels(shift: int, expected: float) -> None:
    ignored = np.ones((100, 100), bool)
    ignored[10:90, :50] = False  # only the left edge of the class is known, with a band of 3 px
    truth, predicted = np.zeros_like(ignored), np.zeros_like(ignored)
    truth[:, 20:], predicted[:, 20 + shift :] = True, True
    scores = compute_surface_scores(truth, predicted, TOLERANCE, ignored=ignored)
    assert scores.boundary_iou == expected
    assert scores.hd95 == shift


def test_outline_at_an_ignored_ring_is_unknown() -> None:
    distance = np.hypot(*(np.mgrid[:40, :40] - 20))
    truth, ignored = distance < 10, (distance >= 10) & (distance < 13)
    scores = compute_surface_scores(truth, np.roll(truth, 3, 1), TOLERANCE, ignored=ignored)
    assert scores.boundary_iou < 1
    assert math.isnan(scores.nsd)
    assert math.isnan(scores.hd95)
    truth = np.zeros((40, 40), bool)
    truth[10:30, 5:20] = True
    ignored = np.zeros_like(truth)
    ignored[:, 20:] = True
    predicted = truth.copy()
    predicted[:, 14:] = False  # its edge is 6 px from the unknown outline, and farther from the known one
    assert compute_surface_scores(truth, predicted, TOLERANCE, ignored=ignored).hd95 > 6
