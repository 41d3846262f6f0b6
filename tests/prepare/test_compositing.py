"""Compositing animals over backgrounds: masks with borders, poses, lighting and crops."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from pipeline.prepare.sources import compositing
from pipeline.prepare.sources.compositing import ANIMAL, BACKGROUND, BORDER, Layer

WIDE_BORDER = 7 / 128  # several pixels wide in small images, as a fraction of the shorter side


def create_disc(side: int) -> Image.Image:
    y, x = np.mgrid[:side, :side] + 0.5 - side / 2
    alpha = np.clip(side / 2 - np.hypot(x, y), 0, 1)
    # Transparent pixels are bright green, as transparent pixels of real cut-outs have some color.
    pixels = np.where(alpha[..., None] > 0, (230, 40, 40), (0, 255, 0))
    return Image.fromarray(np.dstack([pixels, 255 * alpha]).astype(np.uint8), "RGBA").convert("RGBa")


def create_disc_mask(size: int, radius: float) -> np.ndarray:
    y, x = np.mgrid[:size, :size] + 0.5 - size / 2
    return np.hypot(x, y) < radius


@pytest.mark.parametrize("size", [64, 96, 128, 160, 256])
def test_border_of_a_disc_has_the_configured_width(size):
    radius = 0.3 * size
    mask = compositing.draw_mask(create_disc_mask(size, radius), WIDE_BORDER)
    width = (mask == BORDER).sum() / (2 * math.pi * radius)
    # Each side of the border is rounded to whole pixels.
    assert width == pytest.approx(WIDE_BORDER * size, abs=1)


def test_border_covers_both_sides_of_the_contour():
    animal = np.zeros((128, 128), bool)
    animal[:, :64] = True
    columns = compositing.draw_mask(animal, WIDE_BORDER)[64]
    np.testing.assert_array_equal(columns[60:68], [ANIMAL] + [BORDER] * 6 + [BACKGROUND])


def test_small_images_keep_a_border():
    mask = compositing.draw_mask(create_disc_mask(16, 5))
    assert set(np.unique(mask)) == {ANIMAL, BACKGROUND, BORDER}


@pytest.mark.parametrize(("value", "expected"), [(True, ANIMAL), (False, BACKGROUND)])
def test_image_edge_is_not_a_contour(value, expected):
    np.testing.assert_array_equal(compositing.draw_mask(np.full((96, 96), value)), expected)


@given(arrays.arrays(bool, st.tuples(st.just(24), st.just(24))))
def test_border_follows_from_the_distance_to_the_other_class(animal):
    mask = compositing.draw_mask(animal)
    max_distance = max(compositing.DEFAULT_COMPOSITION.border * 24 / 2 + 0.5, 1.01)
    positions = np.argwhere(np.ones_like(animal))
    squares = ((positions[:, None] - positions[None]) ** 2).sum(-1)
    other = animal.ravel()[:, None] != animal.ravel()[None]
    border = (other & (squares < max_distance**2)).any(1).reshape(animal.shape)
    np.testing.assert_array_equal(mask == BORDER, border)
    np.testing.assert_array_equal(mask[~border] == ANIMAL, animal[~border])


def test_hidden_colors_do_not_bleed_into_the_contour():
    animal = compositing.place(compositing.resize_animal(create_disc(200), 0.31), (96, 96), 17, 17)
    image, _ = compositing.compose(np.zeros((96, 96, 3), np.float32), [animal])
    # Red over black is never green, even at a soft edge.
    red, green = image[..., 0].astype(float), image[..., 1].astype(float)
    assert red.max() > 200
    assert (green <= red * 40 / 230 + 2).all()


@given(st.integers(0, 2**32 - 1), st.sampled_from([(32, 32), (96, 96), (160, 96)]))
def test_random_animals_are_large_and_mostly_visible(seed, size):
    animal = create_disc(60)
    layer = compositing.pose_animal(animal, size, np.random.default_rng(seed))
    # A rotated disc is slightly narrower than its bounding box, hence the factor 0.9.
    smallest = math.pi / 4 * (compositing.DEFAULT_COMPOSITION.scale[0] * min(size)) ** 2
    assert layer.alpha.sum() >= 0.9 * compositing.DEFAULT_COMPOSITION.min_visible_fraction * smallest
    assert layer.alpha.shape == size
    assert (layer.color <= layer.alpha[..., None] + 1e-6).all()


@given(st.integers(0, 2**32 - 1))
def test_lighting_keeps_transparent_pixels(seed):
    rng = np.random.default_rng(seed)
    lit = compositing.vary_lighting(np.zeros((2, 2, 3), np.float32), np.zeros((2, 2), np.float32), rng, 0.2)
    np.testing.assert_array_equal(lit, 0)


def test_backgrounds_are_cropped_to_any_size():
    background = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 90, 3), np.uint8), "RGB")
    for size in ((16, 16), (50, 50), (20, 70)):
        scene = compositing.crop_background(background, size, np.random.default_rng(1))
        assert scene.shape == (*size, 3)
        assert 0 <= scene.min() <= scene.max() <= 1


def test_last_layer_is_in_front():
    def create_layer(value):
        return Layer(np.full((8, 8, 3), value, np.float32), np.ones((8, 8), np.float32))

    image, mask = compositing.compose(np.zeros((8, 8, 3), np.float32), [create_layer(0.2), create_layer(0.8)])
    np.testing.assert_array_equal(image, 204)
    np.testing.assert_array_equal(mask, ANIMAL)


def test_pixels_covered_by_more_than_half_are_animal():
    for alpha, expected in ((0.5, BACKGROUND), (0.51, ANIMAL)):
        layer = Layer(np.zeros((8, 8, 3), np.float32), np.full((8, 8), alpha, np.float32))
        _, mask = compositing.compose(np.ones((8, 8, 3), np.float32), [layer])
        np.testing.assert_array_equal(mask, expected)


def test_min_visible_fraction_holds_for_animals_with_uneven_weight(monkeypatch):
    pixels = np.zeros((80, 60, 4), np.uint8)
    pixels[:12] = pixels[:, 28:30] = 255  # a hammer shape: most pixels at one end
    visible = []

    def record_visible_fraction(animal, size, left, top, original=compositing.place):
        layer = original(animal, size, left, top)
        visible.append(layer.alpha.sum() / (np.asarray(animal.getchannel("a")).sum() / 255))
        return layer

    monkeypatch.setattr(compositing, "place", record_visible_fraction)
    for seed in range(200):
        compositing.pose_animal(Image.fromarray(pixels, "RGBA").convert("RGBa"), (96, 96), np.random.default_rng(seed))
    assert min(visible) >= compositing.DEFAULT_COMPOSITION.min_visible_fraction - 1e-3
    assert min(visible) < 1
