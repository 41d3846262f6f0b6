"""Decode masks of any format: the values are those that a viewer displays."""

from __future__ import annotations

import io
import warnings
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.imaging.errors import ImageError
from pipeline.imaging.mask_decoding import GRAY, decode_mask, keep_background, orient_mask
from pipeline.imaging.metadata import reverse_orientation
from pipeline.imaging.tiff import read_labels, turn_upright

LABELS = np.random.default_rng(0).integers(0, 3, (6, 9))
COLORS = ((0, 0, 0), (255, 0, 0), (0, 255, 0))


def encode_image(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def encode_tiff(values: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **{"photometric": "minisblack", **options})
    return file.getvalue()


def make_palette_image(labels: np.ndarray, colors: Any = COLORS) -> Image.Image:
    image = Image.frombytes("P", labels.shape[::-1], labels.astype(np.uint8).tobytes())
    image.putpalette([level for color in colors for level in color])
    return image


def decode(content: bytes, colors: bool = False) -> list[list[int]]:
    return decode_mask(content, colors).values.tolist()


@given(
    dtype=st.sampled_from(["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]),
    byteorder=st.sampled_from(["<", ">"]),
    compression=st.sampled_from([None, "lzw", "packbits", "deflate", "zstd"]),
    tile=st.sampled_from([None, (16, 16)]),
    bigtiff=st.booleans(),
    photometric=st.sampled_from(["minisblack", "miniswhite"]),
)
def test_decode_mask_of_any_tiff_gives_the_displayed_values(
    dtype: str, byteorder: Any, compression: str | None, tile: Any, bigtiff: bool, photometric: str
) -> None:
    values = LABELS.astype(dtype)
    if photometric == "miniswhite":
        if np.dtype(dtype) not in (np.uint8, np.uint16):
            photometric = "minisblack"
        else:
            values = np.iinfo(dtype).max - values
    content = encode_tiff(
        values, byteorder=byteorder, compression=compression, tile=tile, bigtiff=bigtiff, photometric=photometric
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(content) == LABELS.tolist()


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("compression", [None, "group3", "group4", "packbits", "tiff_lzw", "tiff_adobe_deflate"])
def test_decode_mask_of_a_bilevel_tiff_has_1_for_white(compression: str | None, photometric: int) -> None:
    content = encode_image(Image.fromarray(LABELS > 0), "TIFF", compression=compression, tiffinfo={262: photometric})
    assert decode(content) == (LABELS > 0).astype(int).tolist()


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_decode_mask_of_few_bits_is_inverted_within_these_bits(bits: int, photometric: str) -> None:
    values = LABELS if photometric == "minisblack" else (1 << bits) - 1 - LABELS
    assert decode(encode_tiff(values.astype(np.uint8), bitspersample=bits, photometric=photometric)) == LABELS.tolist()


@pytest.mark.parametrize("dtype", ["u4", "i2", "i4"])
def test_decode_mask_of_a_wide_or_signed_tiff_with_white_as_zero_is_refused(dtype: str) -> None:
    with pytest.raises(ImageError, match="save it as MINISBLACK"):
        decode(encode_tiff(LABELS.astype(dtype), photometric="miniswhite"))


def test_read_labels_of_colors_palettes_or_pages_is_none() -> None:
    labels = LABELS.astype(np.uint8)
    assert read_labels(encode_tiff(np.dstack([labels] * 3), photometric="rgb")) is None
    assert read_labels(encode_tiff(np.stack([labels] * 2))) is None
    assert read_labels(encode_image(make_palette_image(LABELS), "TIFF")) is None
    assert read_labels(encode_image(Image.fromarray(labels), "TIFF", compression="jpeg")) is None


def test_read_labels_skips_reduced_resolution_pages() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(LABELS.astype(np.uint8), photometric="minisblack")
        writer.write(LABELS[::2, ::2].astype(np.uint8), photometric="minisblack", subfiletype=1)
    labels = read_labels(file.getvalue())
    assert labels is not None and labels.tolist() == LABELS.tolist()


UNSUPPORTED = {
    "fractions": (encode_tiff(LABELS / np.float32(3)), "has fractional pixel values"),
    "not a number": (encode_tiff(np.where(LABELS, np.nan, 1).astype(np.float32)), "has fractional pixel values"),
    "negative": (encode_tiff(LABELS.astype(np.int16) - 1), "has values from -1 to 1"),
    "too high": (encode_tiff(LABELS.astype(np.uint32) * 40_000), "has values from 0 to 80000"),
    "beyond 64 bits signed": (encode_tiff(np.full((3, 3), 2**64 - 1, np.uint64)), "but only 0 to 65535 are allowed"),
    "complex": (encode_tiff(LABELS.astype(np.complex64)), "has pixels of type complex64"),
    "two pages": (encode_tiff(np.stack([LABELS.astype(np.uint8)] * 2)), "contains 2 images"),
    "two frames": (
        encode_image(make_palette_image(LABELS), "GIF", save_all=True, append_images=[make_palette_image(2 - LABELS)]),
        "contains 2 images",
    ),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_decode_mask_of_unsupported_values_is_refused(case: str) -> None:
    content, message = UNSUPPORTED[case]
    with pytest.raises(ImageError, match=message):
        decode(content)


DEEP = LABELS.astype(np.uint16) * 1000
DEEP_CHANNELS = {
    "PNG of gray with alpha": imagecodecs.png_encode(np.dstack([DEEP] * 2)),
    "PNG of colors": imagecodecs.png_encode(np.dstack([DEEP] * 3)),
    "PNG of colors with alpha": imagecodecs.png_encode(np.dstack([DEEP] * 4)),
    "TIFF of colors": encode_tiff(np.dstack([DEEP] * 3), photometric="rgb"),
    "big-endian TIFF of colors": encode_tiff(np.dstack([DEEP] * 3), photometric="rgb", byteorder=">"),
    "TIFF of colors with alpha": encode_tiff(
        np.dstack([DEEP] * 4), photometric="rgb", extrasamples=["unassalpha"], compression="lzw"
    ),
}


@pytest.mark.parametrize("colors", [False, True])
@pytest.mark.parametrize("case", DEEP_CHANNELS)
def test_decode_mask_of_several_channels_of_16_bits_is_refused(case: str, colors: bool) -> None:
    with pytest.raises(ImageError, match="has several channels of 16 bits"):
        decode(DEEP_CHANNELS[case], colors)


def test_decode_mask_of_a_16_bit_png_keeps_all_bits() -> None:
    assert decode(imagecodecs.png_encode(DEEP)) == DEEP.tolist()


FORMATS = {
    "gray": encode_image(Image.fromarray(LABELS.astype(np.uint8))),
    "gray of 16 bits": encode_image(Image.fromarray(LABELS.astype(np.uint16))),
    "gray in three channels": encode_image(Image.fromarray(np.dstack([LABELS] * 3).astype(np.uint8))),
    "gray with alpha": encode_image(Image.fromarray(LABELS.astype(np.uint8)).convert("LA")),
    "palette": encode_image(make_palette_image(LABELS)),
    "palette of 2 bits": encode_image(make_palette_image(LABELS), bits=2),
    "palette in BMP": encode_image(make_palette_image(LABELS), "BMP"),
    "palette in TIFF": encode_image(make_palette_image(LABELS), "TIFF"),
    "palette with transparency": encode_image(make_palette_image(LABELS), transparency=1),
    "GIF": encode_image(make_palette_image(LABELS), "GIF"),
    "interlaced GIF": encode_image(make_palette_image(LABELS), "GIF", interlace=1),
    "GIF with transparency": encode_image(make_palette_image(LABELS), "GIF", transparency=1),
    "lossless WebP": encode_image(Image.fromarray(np.dstack([LABELS] * 3).astype(np.uint8)), "WEBP", lossless=True),
}


@pytest.mark.parametrize("case", FORMATS)
def test_decode_mask_of_any_format_gives_the_values(case: str) -> None:
    assert decode(FORMATS[case]) == LABELS.tolist()


@pytest.mark.parametrize("mode", ["P", "RGB", "RGBA"])
def test_decode_mask_by_color_gives_rrggbb(mode: str) -> None:
    expected = np.array([0x000000, 0xFF0000, 0x00FF00])[LABELS]
    assert decode(encode_image(make_palette_image(LABELS).convert(mode)), colors=True) == expected.tolist()


def test_decode_mask_lists_the_colors_of_the_indices_that_occur() -> None:
    mask = decode_mask(
        encode_image(make_palette_image(np.where(LABELS == 1, 2, LABELS), (*COLORS, (1, 2, 3)))), colors=False
    )
    assert mask.palette == ((0, 0x000000), (2, 0x00FF00))
    assert keep_background(mask.palette) == ((0, 0x000000),)
    assert decode_mask(encode_image(make_palette_image(LABELS)), colors=True).palette == ()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16"])
def test_decode_mask_of_gray_has_black_as_0(mode: str) -> None:
    gray = Image.fromarray(LABELS.astype(np.uint16)) if mode == "I;16" else Image.fromarray(LABELS > 0).convert(mode)
    assert decode_mask(encode_image(gray), colors=False).palette == GRAY
    assert decode_mask(encode_image(Image.new(mode, (3, 2), 1)), colors=False).palette == ()


@given(orientation=st.integers(1, 8), kind=st.sampled_from(["PNG", "TIFF", "WEBP"]))
def test_decode_mask_is_turned_by_its_own_orientation(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    gray = Image.fromarray(np.dstack([LABELS] * 3).astype(np.uint8)[..., : 3 if kind == "WEBP" else 1].squeeze())
    mask = decode_mask(
        encode_image(gray, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {})), colors=False
    )
    assert mask.has_orientation is (orientation != 1)
    assert mask.values.tolist() == turn_upright(LABELS[..., None], orientation)[..., 0].tolist()


@given(orientation=st.integers(1, 8))
def test_orient_mask_matches_images_and_is_reversible(orientation: int) -> None:
    image = np.dstack([LABELS, LABELS + 1])
    turned = orient_mask(LABELS, orientation)
    assert turned.tolist() == turn_upright(image, orientation)[..., 0].tolist()
    assert orient_mask(turned, reverse_orientation(orientation)).tolist() == LABELS.tolist()
