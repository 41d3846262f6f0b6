"""Images of equal and unequal sizes in one array, in memory and in a prepared file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.artifacts.image_stack import ImageStack
from pipeline.prepare.prepare_data import NpyWriter

SIZES = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=5)
CHANNELS = st.sampled_from([(), (1,), (3,)])


def make_images(sizes: list[tuple[int, int]], channels: tuple[int, ...]) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 65_536, (*size, *channels), np.uint16) for size in sizes]


@given(SIZES, CHANNELS)
def test_stack_returns_the_images_it_was_made_of(sizes: list[tuple[int, int]], channels: tuple[int, ...]) -> None:
    images = make_images(sizes, channels)
    stack = ImageStack.of(images)
    assert len(stack) == len(images)
    assert stack.size == (sizes[0] if len(set(sizes)) == 1 else None)
    for image, found in zip(images, stack, strict=True):
        np.testing.assert_array_equal(image, found)
        assert np.shares_memory(found, stack.pixels)
    order = np.random.default_rng(1).permutation(len(images))
    some = stack.take(order).take(np.arange(len(images) // 2, len(images)))  # of a selection
    for index, found in zip(order[len(images) // 2 :], some, strict=True):
        np.testing.assert_array_equal(images[index], found)
        assert np.shares_memory(found, stack.pixels)
    assert some.nbytes == sum(images[index].nbytes for index in order[len(images) // 2 :])


@given(st.integers(1, 5), CHANNELS)
def test_stack_of_an_array_shares_its_memory(count: int, channels: tuple[int, ...]) -> None:
    array = np.stack(make_images([(4, 3)] * count, channels))
    stack = ImageStack.of(array)
    np.testing.assert_array_equal(list(stack), array)
    assert np.shares_memory(stack.pixels, array)


def test_stack_of_other_sizes_than_its_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="7 pixels cannot be split into 2 images with 8 pixels in total"):
        ImageStack.split(np.zeros(7, np.uint8), np.array([[2, 2], [4, 1]]))


@pytest.mark.parametrize("channels", [(), (1,), (32,)])
@pytest.mark.parametrize("sizes", [[(2, 3)], [(2, 3)] * 4, [(2, 3), (3, 2)], [(1, 1), (5, 4), (1, 1)]])
def test_written_file_has_one_axis_per_side_if_sizes_are_equal(
    sizes: list[tuple[int, int]], channels: tuple[int, ...], tmp_path: Path
) -> None:
    images = make_images(sizes, channels)
    writer = NpyWriter(tmp_path / "images.npy")
    for image in images:
        writer.append(image)
    writer.close()
    array = np.load(tmp_path / "images.npy")
    pixels = (len(sizes), *sizes[0]) if len(set(sizes)) == 1 else (sum(height * width for height, width in sizes),)
    assert array.shape == (*pixels, *channels)
    stack = ImageStack.split(array.reshape(-1, *channels), np.array(sizes))
    for image, found in zip(images, stack, strict=True):
        np.testing.assert_array_equal(image, found)
