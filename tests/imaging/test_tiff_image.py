"""Windows of TIFFs: those of the decoded image, however its pixels are stored, and clear errors of broken files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.imaging.decode import read_image
from pipeline.imaging.errors import ImageError
from pipeline.imaging.resize import NativeSize
from pipeline.imaging.tiff import read_channels
from pipeline.imaging.tiff_image import TiffImage

LAYOUTS: tuple[dict[str, Any], ...] = ({}, {"rowsperstrip": 7}, {"tile": (32, 48)})
KINDS = (("interleaved", 1), ("interleaved", 3), ("interleaved", 6), ("planes", 3), ("pages", 2))


def make_pixels(channels: int, dtype: type = np.uint8, height: int = 90, width: int = 110) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (height, width, channels)).astype(dtype)


def write_tiff(path: Path, pixels: np.ndarray, kind: str = "interleaved", **options: Any) -> Path:
    photometric = options.pop("photometric", "rgb" if pixels.shape[-1] == 3 else "minisblack")
    with tifffile.TiffWriter(path, byteorder=options.pop("byteorder", None)) as writer:
        if kind == "pages":
            for channel in np.moveaxis(pixels, -1, 0):
                writer.write(channel, photometric=photometric, metadata=None, **options)
        elif kind == "planes":
            writer.write(np.moveaxis(pixels, -1, 0), photometric=photometric, planarconfig="separate", **options)
        elif pixels.shape[-1] == 1:
            writer.write(pixels[..., 0], photometric=photometric, **options)
        else:
            writer.write(pixels, photometric=photometric, planarconfig="contig", **options)
    return path


@given(
    st.lists(st.tuples(st.integers(0, 89), st.integers(1, 90), st.integers(0, 109), st.integers(1, 110)), max_size=4),
    st.sampled_from(LAYOUTS),
    st.sampled_from(KINDS),
    st.sampled_from((None, "zlib", "lzw", "packbits", "zstd")),
    st.sampled_from((np.uint8, np.uint16)),
    st.sampled_from("<>"),
)
@settings(max_examples=150, deadline=None)
def test_windows_are_those_of_the_decoded_image(
    tmp_path_factory: pytest.TempPathFactory,
    windows: list[tuple[int, int, int, int]],
    layout: dict[str, Any],
    kind: tuple[str, int],
    compression: str | None,
    dtype: type,
    byteorder: str,
) -> None:
    pixels = make_pixels(kind[1], dtype)
    path = write_tiff(
        tmp_path_factory.getbasetemp() / "windows.tif",
        pixels, kind[0], compression=compression, byteorder=byteorder, **layout,
    )  # fmt: skip
    with TiffImage(path) as image:
        assert (image.shape, image.dtype) == (pixels.shape, pixels.dtype)
        for top, height, left, width in windows:
            window = slice(top, min(top + height, 90)), slice(left, min(left + width, 110))
            np.testing.assert_array_equal(image[window], pixels[window])
    np.testing.assert_array_equal(read_channels(path.read_bytes(), kind[1]), pixels)


def test_white_as_zero_is_inverted(tmp_path: Path) -> None:
    pixels = make_pixels(1)
    with TiffImage(write_tiff(tmp_path / "x.tif", pixels, photometric="miniswhite")) as image:
        np.testing.assert_array_equal(image[10:20, 0:110], ~pixels[10:20])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_truncated_file_is_refused(layout: dict[str, Any], tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "x.tif", make_pixels(3), compression="zlib", **layout)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ImageError, match="not a complete image"), TiffImage(path):
        pass
    with pytest.raises(ImageError, match="not a complete image"):
        read_image(path.read_bytes())


@pytest.mark.parametrize("layout", LAYOUTS[1:])
def test_file_that_is_truncated_later_raises_at_its_missing_part(layout: dict[str, Any], tmp_path: Path) -> None:
    pixels = make_pixels(3)
    path = write_tiff(tmp_path / "x.tif", pixels, compression="zlib", **layout)
    content = path.read_bytes()
    with TiffImage(path) as image:
        np.testing.assert_array_equal(image[0:32, 0:110], pixels[:32])
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(ImageError, match="parts of it are missing"):
            image[60:90, 0:110]


def test_broken_segment_is_an_error(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "x.tif", make_pixels(1), compression="zlib", rowsperstrip=10)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        start = file.pages[0].dataoffsets[5]
    content[start : start + 40] = bytes(40)
    path.write_bytes(content)
    with TiffImage(path) as image:
        assert image[0:50, 0:110].shape == (50, 110, 1)
        with pytest.raises(ImageError, match="is not a complete image"):
            image[50:60, 0:110]


def test_turned_image_is_refused(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "x.tif", make_pixels(1), extratags=[(274, "H", 1, 6, True)])
    with pytest.raises(ImageError, match="turned"), TiffImage(path):
        pass


@given(
    st.integers(0, 59), st.integers(1, 60), st.integers(0, 69), st.integers(1, 70),
    st.sampled_from((1.0, 1.5, 2.0, 3.7)), st.sampled_from((np.uint8, np.uint16)),
)  # fmt: skip
@example(top=8, height=49, left=70, width=1, downscale=1.5, dtype=np.uint8)  # Pillow would resize its rows first
@settings(deadline=None)
def test_resized_windows_are_those_of_the_resized_image(
    top: int, height: int, left: int, width: int, downscale: float, dtype: type
) -> None:
    pixels, resizing = make_pixels(2, dtype), NativeSize(downscale)
    whole = resizing.fit_image(pixels)
    rows, columns = (min(side, length) for side, length in zip((top, left), whole.shape, strict=False))
    window = slice(rows, min(rows + height, whole.shape[0])), slice(columns, min(columns + width, whole.shape[1]))
    if whole[window].size == 0:
        return
    difference = np.abs(resizing.fit_window(pixels, window).astype(int) - whole[window].astype(int))
    assert difference.max() <= 1  # rounding
