"""Sizes of pixels: comparison across units, and sizes after resizing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.imaging.pixel_size import PixelSize
from pipeline.imaging.resize import Resizing

SIDES = st.integers(1, 400)
LENGTHS = st.floats(1e-3, 1e3)


@given(
    st.tuples(SIDES, SIDES), st.tuples(LENGTHS, LENGTHS), st.one_of(st.none(), st.tuples(SIDES, SIDES)),
    st.sampled_from(["stretch", "letterbox"]), st.floats(1, 8),
)  # fmt: skip
def test_resized_image_has_the_length_of_its_original(
    shape: tuple[int, int], sides: tuple[float, float], size: tuple[int, int] | None, mode: str, downscale: float
) -> None:
    resizing = Resizing.create(size, mode, downscale)  # type: ignore[arg-type]
    scaled = resizing.scale_pixel(PixelSize(*sides, "mm"), shape)
    rows, columns = resizing.locate_inner(shape)
    assert scaled.unit == "mm"
    assert scaled.height * (rows.stop - rows.start) == pytest.approx(sides[0] * shape[0])
    assert scaled.width * (columns.stop - columns.start) == pytest.approx(sides[1] * shape[1])


@pytest.mark.parametrize(
    ("one", "other", "are_different"),
    [
        (PixelSize(1, 1, "um"), PixelSize(1, 1, "µm"), False),
        (PixelSize(650, 650, "nm"), PixelSize(0.65, 0.65, "µm"), False),
        (PixelSize(1, 1, "mm"), PixelSize(1005, 1005, "µm"), False),
        (PixelSize(1, 1, "mm"), PixelSize(1, 1, "µm"), True),
        (PixelSize(1, 2, "µm"), PixelSize(2, 1, "µm"), True),
        (PixelSize(1, 1, "furlong"), PixelSize(1, 1, "µm"), False),  # unknown
        (PixelSize(1, 1, "furlong"), PixelSize(2, 2, "furlong"), True),
    ],
)
def test_sizes_are_compared_across_units(one: PixelSize, other: PixelSize, are_different: bool) -> None:
    assert one.contradicts(other) is are_different
    assert other.contradicts(one) is are_different


def test_size_is_described_with_both_sides_if_they_differ() -> None:
    assert PixelSize(0.65, 0.65, "µm").describe() == "0.65 µm"
    assert PixelSize(1, 0.5, "mm").describe() == "0.5 × 1 mm (width × height)"
    assert PixelSize(2, 0.5, "m").area == 1
