"""The weight map of the U-Net paper: values from the definition, and its way through loaders and augmentation."""

from __future__ import annotations

import math
import resource
import signal
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.artifacts.image_stack import ImageStack
from pipeline.artifacts.prepared_data import SegmentationClass, Split
from pipeline.data.augment import augment
from pipeline.data.batch_loader import Batch, BatchLoader
from pipeline.data.boundary_weights import BoundaryWeights, compute_boundary_weights
from pipeline.data.patch_loader import PatchLoader, create_loader
from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.params.train import BoundaryWeight
from tests.data.test_augment import make_augmentation, make_generator
from tests.data.test_patch_loader import make_settings

CPU = torch.device("cpu")
CLASSES = tuple(SegmentationClass(name, "#000000", name == "cell") for name in ("background", "cell"))
PAPER = BoundaryWeight(w0=10.0, sigma=5.0)
Mask = np.ndarray[Any, np.dtype[np.uint8]]


def compute_from_definition(mask: Mask, foreground: list[int], w0: float, sigma: float) -> Mask:
    """Find objects by flood fill and measure all distances, pixel by pixel."""
    height, width = mask.shape
    objects, left = [], {(row, column) for row, column in np.ndindex(height, width) if mask[row, column] in foreground}
    while left:
        region, edge = set(), [left.pop()]
        while edge:
            row, column = edge.pop()
            region.add((row, column))
            near = {(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)}
            same = {pixel for pixel in near & left if mask[pixel] == mask[row, column]}
            left -= same
            edge += same
        objects.append(region)
    weights = np.zeros(mask.shape)
    for pixel in np.ndindex(height, width):
        distances = sorted(min(math.dist(pixel, other) for other in region) for region in objects)
        if len(distances) > 1:
            weights[pixel] = w0 * math.exp(-((distances[0] + distances[1]) ** 2) / (2 * sigma**2))
    return weights


def make_squares() -> Mask:
    mask = np.zeros((24, 30), np.uint8)
    mask[4:10, 3:11] = 1
    mask[6:15, 14:25] = 1
    return mask


def test_two_squares_have_the_weights_of_the_paper() -> None:
    mask = make_squares()
    weights = compute_boundary_weights(mask, [1], PAPER)
    np.testing.assert_allclose(weights, compute_from_definition(mask, [1], 10.0, 5.0), rtol=1e-3, atol=1e-5)
    # Between the squares, 4 px apart, every pixel of a row has the same sum of distances.
    assert weights[8, 11:14] == pytest.approx([10 * math.exp(-(4**2) / 50)] * 3, rel=1e-3)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.05, 0.4, 0.9]), st.sampled_from([0.4, 2.0, 50.0]))
def test_weights_equal_the_definition(seed: int, share: float, sigma: float) -> None:
    random = np.random.default_rng(seed)
    parts = [1 - share, share / 3, share / 3, share / 3]
    mask = random.choice(np.array([0, 1, 2, IGNORE], np.uint8), (9, 11), p=parts)
    weights = compute_boundary_weights(mask, [1, 2], BoundaryWeight(w0=3.0, sigma=sigma))
    np.testing.assert_allclose(weights, compute_from_definition(mask, [1, 2], 3.0, sigma), rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("mask", [np.zeros((5, 6), np.uint8), np.eye(7, dtype=np.uint8)], ids=["none", "diagonal"])
def test_fewer_than_two_objects_have_no_weights(mask: Mask) -> None:
    assert not compute_boundary_weights(mask, [1], PAPER).any()


def test_touching_objects_of_two_classes_have_the_highest_weight() -> None:
    mask = np.repeat(np.array([[1, 1, 2, 2]], np.uint8), 3, axis=0)
    weights = compute_boundary_weights(mask, [1, 2], BoundaryWeight(w0=1000.0, sigma=100.0))
    assert np.isfinite(weights).all()
    assert weights[0, 1] == pytest.approx(1000, rel=1e-3)
    assert not compute_boundary_weights(mask, [1], PAPER).any()


def test_stored_weights_are_those_of_their_mask_in_any_order_and_size() -> None:
    masks = [make_squares(), make_squares()[:, :21], make_squares()[3:], make_squares().T]
    weights = BoundaryWeights(ImageStack.of(masks), [1], PAPER)
    for index in (2, 0, 3, 2, 1, 0, 3):
        np.testing.assert_array_equal(weights[index], compute_boundary_weights(masks[index], [1], PAPER))


def test_full_temporary_folder_is_reported() -> None:
    weights = BoundaryWeights(ImageStack.of([make_squares()]), [1], PAPER)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(PipelineError, match=r"boundary_weight: .* cannot hold the weights .*: File too large\."):
            weights[0]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def make_split() -> Split:
    masks = np.zeros((3, 40, 60), np.uint8)
    masks[0, :24, :30], masks[1, 9:33, 12:42], masks[2, 16:, 30:] = (make_squares(),) * 3
    return Split.of(np.zeros((*masks.shape, 3), np.uint8), masks)


def test_whole_images_have_their_weights() -> None:
    split = make_split()
    loader = create_loader(split, CPU, make_settings(patch_size=None, boundary_weight=PAPER), CLASSES)
    assert isinstance(loader, BatchLoader)
    boundary = loader.take(np.array([2, 0])).boundary
    assert boundary is not None
    assert boundary.dtype == torch.float32
    for weights, index in zip(boundary, (2, 0), strict=True):
        np.testing.assert_array_equal(weights, compute_boundary_weights(split.masks[index], [1], PAPER))
    assert create_loader(split, CPU, make_settings(patch_size=None), CLASSES).take(np.array([0])).boundary is None


def test_patches_have_the_weights_of_their_image_and_0_outside() -> None:
    split = make_split()
    loader = create_loader(split, CPU, make_settings(patch_size=[48, 32], boundary_weight=PAPER), CLASSES)
    assert isinstance(loader, PatchLoader)
    patches = loader.draw(8, make_generator())
    _, masks, boundary = loader.take(patches)
    assert boundary is not None
    for patch, mask, weights in zip(patches, masks, boundary, strict=True):
        whole = np.pad(compute_boundary_weights(split.masks[int(patch["image"])], [1], PAPER), ((4, 4), (0, 0)))
        left = int(patch["left"])
        np.testing.assert_array_equal(weights, whole[:, left : left + 32])
        assert not weights[mask == IGNORE].any()


def test_augmentation_moves_weights_with_masks_and_keeps_their_values() -> None:
    random = torch.rand(6, 24, 30, generator=make_generator(1))
    masks = (random * 50).long()
    batch = Batch(torch.zeros(6, 3, 24, 30), masks, masks.float() / 4)
    ranges = make_augmentation(
        hflip_prob=0.5, rotation=30.0, scale=0.4, translate=0.2, brightness_contrast=0.5, random_erasing_prob=1.0
    )
    _, moved, boundary = augment(batch, ranges, make_generator())
    assert boundary is not None
    assert not torch.equal(moved, masks)
    assert torch.equal(boundary, moved / 4)
    _, alone, _ = augment(batch._replace(boundary=None), ranges, make_generator())
    assert torch.equal(moved, alone)
