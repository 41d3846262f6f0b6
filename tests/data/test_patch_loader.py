"""Patches of native images: where they are drawn, and what they show."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.artifacts.image_stack import ImageStack
from pipeline.artifacts.prepared_data import Split
from pipeline.data.augment import augment
from pipeline.data.batch_loader import Batch
from pipeline.data.patch_loader import PatchLoader
from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.params.file import read_params
from pipeline.params.train import Augmentation, Train
from tests.conftest import ROOT
from tests.data.test_augment import make_augmentation, make_generator

CPU = torch.device("cpu")
SIZES = [(40, 70), (9, 33), (16, 16), (64, 20)]


def make_settings(**changes: Any) -> Train:
    train = read_params(ROOT / "params.yaml").train
    return train.model_copy(update={"patch_size": [16, 24], "augmentation": None, **changes})


def make_split(sizes: list[tuple[int, int]] = SIZES) -> Split:
    """Make images whose two channels are a pixel's row and column, with rare pixels of class 1 and rarer of class 2."""
    images, masks = [], []
    for number, (height, width) in enumerate(sizes):
        images.append(np.stack(np.mgrid[:height, :width], axis=-1).astype(np.uint8))
        random = np.random.default_rng(number)
        masks.append(random.choice(3, (height, width), p=[0.97, 0.025, 0.005]).astype(np.uint8))
    return Split(ImageStack.of(images), ImageStack.of(masks), tuple(map(str, range(len(sizes)))))


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=4),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_patches_are_inside_images_or_around_smaller_ones(sizes: list[tuple[int, int]], share: float) -> None:
    assume(any(height >= 16 or width >= 24 for height, width in sizes))
    loader = PatchLoader(make_split(sizes), CPU, make_settings(foreground_patches=share), [1, 2])
    for patch in loader.draw(20, make_generator()):
        for name, side, full in zip(("top", "left"), (16, 24), sizes[patch["image"]], strict=True):
            first, behind = int(patch[name]), int(patch[name]) + side
            assert (first >= 0 and behind <= full) if side <= full else (first <= 0 and behind >= full)


def test_patches_show_the_pixels_of_their_image_and_ignore_others() -> None:
    split = make_split()
    loader = PatchLoader(split, CPU, make_settings(foreground_patches=0.3), [1, 2])
    patches = loader.draw_epoch(make_generator())
    assert len(patches) == len(loader) == 9 + 2 + 1 + 4  # side by side
    images, masks, _ = loader.take(patches)
    assert images.shape == (16, 2, 16, 24)
    for patch, image, mask in zip(patches, (images * 255).round(), masks, strict=True):
        height, width = SIZES[patch["image"]]
        rows, columns = np.mgrid[:16, :24] + np.array([patch["top"], patch["left"]])[:, None, None]
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        assert (mask.numpy()[~inside] == IGNORE).all()
        np.testing.assert_array_equal(image.numpy()[0][inside], rows[inside])
        np.testing.assert_array_equal(image.numpy()[1][inside], columns[inside])
        expected = split.masks[int(patch["image"])][rows[inside], columns[inside]]
        np.testing.assert_array_equal(mask.numpy()[inside], expected)


def test_pixels_are_seen_equally_often_in_images_of_any_size() -> None:
    loader = PatchLoader(make_split([(16, 24), (64, 96)]), CPU, make_settings(foreground_patches=0.0), [])
    counts = Counter(loader.draw(2000, make_generator())["image"].tolist())
    assert counts[1] / counts[0] == pytest.approx(16, rel=0.3)


def test_foreground_patches_are_centered_on_each_class_equally_often() -> None:
    split = make_split([(200, 250), (150, 240)])
    loader = PatchLoader(split, CPU, make_settings(foreground_patches=1.0), [1, 2])
    patches = loader.draw(400, make_generator())
    _, masks, _ = loader.take(patches)
    assert ((masks == 1) | (masks == 2)).any(dim=2).any(dim=1).all()
    inner = [patch["top"] not in (0, 200 - 16, 150 - 16) and patch["left"] not in (0, 226, 216) for patch in patches]
    centers = Counter(masks[torch.tensor(inner), 8, 12].tolist())
    assert centers[0] == 0
    assert centers[1] == pytest.approx(centers[2], rel=0.3)  # class 1 has five times as many pixels


def test_classes_that_do_not_occur_are_not_drawn() -> None:
    split = make_split([(40, 40)])
    split.masks.pixels[:] = 0
    loader = PatchLoader(split, CPU, make_settings(foreground_patches=1.0), [1, 2])
    assert len(loader.draw(3, make_generator())) == 3


def test_draws_depend_on_the_generator_only() -> None:
    loader = PatchLoader(make_split(), CPU, make_settings(foreground_patches=0.5), [1, 2])
    first, again, other = (loader.draw_epoch(make_generator(seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("size", [[16, 24], [16, 96]])
@pytest.mark.parametrize(
    "ranges", [make_augmentation(rotation=20.0, scale=0.25, translate=0.1), make_augmentation(rotation=90.0)]
)
def test_augmented_patches_show_real_pixels_up_to_their_corners(ranges: Augmentation, size: list[int]) -> None:
    """Rows and columns increase steadily in an image, but not in its reflection."""
    settings = make_settings(patch_size=size, augmentation=ranges, foreground_patches=0)
    loader = PatchLoader(make_split([(200, 250)]), CPU, settings, [])
    patches = loader.draw(64, make_generator())
    patches["top"] = patches["left"] = 75
    images, masks, _ = loader.take(patches)
    augmented, labels, _ = augment(Batch(images, masks), ranges, make_generator(), loader.size)
    assert augmented.shape == (64, 2, *size)
    assert labels.shape == (64, *size)
    steps = (augmented[:, :, 1:] - augmented[:, :, :-1]) * 255
    assert (steps - steps[:, :, :1, :1]).abs().max() < 0.01


def test_augmentation_that_changes_nothing_returns_the_middle() -> None:
    images, masks = torch.rand(2, 3, 30, 40), torch.randint(0, 3, (2, 30, 40))
    augmented, labels, _ = augment(Batch(images, masks), make_augmentation(), make_generator(), (16, 24))
    torch.testing.assert_close(augmented, images[:, :, 7:23, 8:32])
    assert torch.equal(labels, masks[:, 7:23, 8:32])


def test_patches_larger_than_all_images_are_refused() -> None:
    with pytest.raises(PipelineError, match=r"patch_size: 64 px is larger than .* 40 × 50 px\. Set it to at most 50"):
        PatchLoader(make_split([(50, 20), (30, 40)]), CPU, make_settings(patch_size=64), [1])
