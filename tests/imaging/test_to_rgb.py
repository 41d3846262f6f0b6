"""Convert images of any number of channels and bits to RGB for display."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.imaging.to_rgb import to_rgb


@pytest.mark.parametrize(("channels", "displayed"), [(1, [0, 0, 0]), (2, [0, 0, 0]), (3, [0, 1, 2]), (5, [0, 1, 2])])
def test_to_rgb_takes_three_channels_or_one(channels: int, displayed: list[int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 7, channels), np.uint8)
    assert (to_rgb(image) == image[..., displayed]).all()


def test_to_rgb_stretches_16_bits_over_the_range_of_the_image() -> None:
    """Use an image like that of a 12-bit camera with a hot pixel."""
    image = np.random.default_rng(0).integers(500, 4_000, (60, 60, 2), np.uint16)
    image[0, 0] = 65_535
    rgb = to_rgb(image)
    assert rgb.dtype == np.uint8
    assert (rgb.min(), rgb.max()) == (0, 255)
    assert 110 < rgb.mean() < 145


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_to_rgb_of_a_blank_image_is_blank(dtype: type) -> None:
    assert to_rgb(np.full((4, 4, 1), 7, dtype)).shape == (4, 4, 3)
