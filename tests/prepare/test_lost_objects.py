"""Objects that vanish at the prepared size, cropped before and after resizing."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.imaging.resize import FixedSize, NativeSize, Resizing
from pipeline.prepare.lost_objects import MIN_SIDE, LostObject, crop_lost_object


def crop(mask: np.ndarray, resizing: Resizing) -> LostObject | None:
    image = np.repeat(mask[..., None] * np.uint8(100), 3, axis=-1)
    return crop_lost_object("a", "cell", 1, image, mask, resizing)


@st.composite
def resizings(draw: st.DrawFn) -> Resizing:
    if draw(st.booleans()):
        return NativeSize(draw(st.sampled_from([1.0, 1.5, 4.0])))
    size = draw(st.tuples(st.integers(8, 80), st.integers(8, 80)))
    return FixedSize(size, draw(st.sampled_from(["stretch", "letterbox"])))


@given(
    shape=st.tuples(st.integers(10, 120), st.integers(10, 120)),
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    sides=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    resizing=resizings(),
)
def test_object_is_lost_if_it_has_no_pixel_at_the_prepared_size(
    shape: tuple[int, int], place: tuple[float, float], sides: tuple[int, int], resizing: Resizing
) -> None:
    mask = np.zeros(shape, np.uint8)
    top, left = (round(part * (side - length)) for part, side, length in zip(place, shape, sides, strict=True))
    mask[top : top + sides[0], left : left + sides[1]] = 1
    lost = crop(mask, resizing)
    assert (lost is None) == (resizing.resize_mask(mask) == 1).any()
    if lost is not None:
        assert (lost.area, int((lost.mask == 1).sum())) == (sides[0] * sides[1],) * 2  # all of it is shown
        assert not (lost.prepared_mask == 1).any()
        assert lost.image.shape[:2] == lost.mask.shape == lost.prepared_image.shape[:2] == lost.prepared_mask.shape
        assert all(shown >= min(MIN_SIDE, side) for shown, side in zip(lost.mask.shape, shape, strict=True))
        np.testing.assert_array_equal(lost.image[..., 0], lost.mask * np.uint8(100))


def test_largest_lost_object_is_cropped() -> None:
    mask = np.zeros((128, 128), np.uint8)
    mask[1:3, 1:3] = mask[1:2, 100:102] = 1
    mask[60:100, 60:100] = 1  # is kept
    lost = crop(mask, FixedSize((16, 16), "stretch"))
    assert lost is not None
    assert lost.area == 4
    assert lost.mask[1, 1] == 1


def test_prepared_part_shows_what_the_network_sees() -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[0, 0] = 1
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    resizing = FixedSize((16, 16), "stretch")
    lost = crop_lost_object("a", "cell", 1, image, mask, resizing)
    assert lost is not None
    shown = -(-max(lost.mask.shape) // 4)
    expected = resizing.fit_image(image)[:shown, :shown].repeat(4, axis=0).repeat(4, axis=1)
    np.testing.assert_array_equal(lost.prepared_image, expected[: lost.mask.shape[0], : lost.mask.shape[1]])
