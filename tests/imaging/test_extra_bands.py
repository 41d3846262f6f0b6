"""Extra bands: transparent pixels become black; any other band requires a choice and is never dropped silently."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.imaging.decode import count_channels, read_for_network, read_image
from pipeline.imaging.errors import ImageError
from pipeline.imaging.extra_bands import has_extra_band
from pipeline.imaging.metadata import ImageMetadata
from pipeline.volumes.slice_file import encode_slice
from pipeline.volumes.volume import Slice

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (12, 16, 3), np.uint8)
INFRARED = RNG.integers(20, 240, (12, 16), np.uint8)
OPAQUE = np.full((12, 16), 255, np.uint8)


def encode_image(image: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def encode_tiff(bands: np.ndarray, extra: list[str], photometric: str = "rgb", **options: Any) -> bytes:
    file = io.BytesIO()
    options = {"planarconfig": "contig", **options}
    tifffile.imwrite(file, bands, photometric=photometric, extrasamples=extra, **options)
    return file.getvalue()


WITH_DATA_BAND = {
    "RGBA in PNG": encode_image(np.dstack([RGB, INFRARED])),
    "RGBA in WebP": encode_image(np.dstack([RGB, INFRARED]), "WEBP", lossless=True, exact=True),
    "alpha in TIFF": encode_tiff(np.dstack([RGB, INFRARED]), ["unassalpha"]),
    "premultiplied alpha in TIFF": encode_tiff(np.dstack([RGB, INFRARED]), ["assocalpha"]),
    "unspecified in TIFF": encode_tiff(np.dstack([RGB, INFRARED]), ["unspecified"]),
    "unspecified and opaque in TIFF": encode_tiff(np.dstack([RGB, OPAQUE]), ["unspecified"]),
    "unspecified in tiles": encode_tiff(np.dstack([RGB, INFRARED]), ["unspecified"], tile=(16, 16), compression="lzw"),
    "two unspecified in TIFF": encode_tiff(np.dstack([RGB, INFRARED, INFRARED]), ["unspecified"] * 2),
    "alpha and unspecified in TIFF": encode_tiff(np.dstack([RGB, OPAQUE, INFRARED]), ["unassalpha", "unspecified"]),
    "unspecified of 16 bits": encode_tiff(np.dstack([RGB, INFRARED]).astype(np.uint16) * 257, ["unspecified"]),
}


@pytest.mark.parametrize("case", WITH_DATA_BAND)
def test_read_image_with_a_data_band_keeps_or_drops_it_only_on_request(case: str) -> None:
    content = WITH_DATA_BAND[case]
    bands = count_channels(content)
    assert bands == (5 if "two" in case or " and un" in case else 4)
    with pytest.raises(ImageError, match=rf"set data\.channels: {bands} .*data\.channels: 3 to leave (it|them) out"):
        read_image(content)
    everything = read_image(content, bands)
    assert (everything[..., :3] == (RGB if everything.dtype == np.uint8 else RGB.astype(np.uint16) * 257)).all()
    assert (read_image(content, 3) == RGB).all()
    assert (read_for_network(content, 3, 8) == RGB).all()


def test_read_image_of_gray_with_a_data_band_requires_2_or_1_channels() -> None:
    gray = RGB[..., 0]
    for content in (
        encode_image(np.dstack([gray, INFRARED])),
        encode_tiff(np.dstack([gray, INFRARED]), ["unspecified"], photometric="minisblack"),
    ):
        with pytest.raises(ImageError, match=r"has 2 bands; .* set data\.channels: 2 .*data\.channels: 1 to leave it"):
            read_image(content)
        assert (read_image(content, 2) == np.dstack([gray, INFRARED])).all()
        assert (read_image(content, 1)[..., 0] == gray).all()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_read_image_makes_transparent_pixels_black(kind: str) -> None:
    alpha = np.where(np.arange(16) < 8, 255, 0)[None].repeat(12, 0).astype(np.uint8)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    image = read_image(encode_image(np.dstack([RGB, alpha]), kind, **options))
    assert (image == RGB * (alpha[..., None] > 0)).all()
    assert (read_image(encode_image(np.dstack([RGB, OPAQUE]), kind, **options)) == RGB).all()


@pytest.mark.parametrize("extra", ["unassalpha", "assocalpha"])
def test_read_image_that_is_fully_transparent_is_refused(extra: str) -> None:
    content = encode_tiff(np.dstack([RGB, OPAQUE * 0]), [extra])
    with pytest.raises(ImageError, match=r"transparent everywhere; set data\.channels: 3 to leave its last band out"):
        read_image(content)
    content = encode_image(np.dstack([RGB, OPAQUE * 0]))
    assert (read_image(content, 3) == RGB).all()
    assert (read_image(content, 4)[..., 3] == 0).all()


@given(fraction=st.floats(0, 1))
def test_has_extra_band_if_more_than_a_quarter_is_half_transparent(fraction: float) -> None:
    alpha = OPAQUE.copy()
    half = round(fraction * alpha.size)
    alpha.ravel()[:half] = 128
    is_extra_band = has_extra_band(Image.fromarray(np.dstack([RGB, alpha])))
    assert is_extra_band is (half > 0.25 * alpha.size)


def test_image_metadata_reports_a_band_that_is_not_alpha() -> None:
    assert ImageMetadata.read(WITH_DATA_BAND["unspecified in TIFF"]).kind == "RGB with a last band that is not alpha"
    assert ImageMetadata.read(WITH_DATA_BAND["RGBA in PNG"]).kind == "RGB with a last band that is not alpha"
    assert ImageMetadata.read(encode_image(np.dstack([RGB, OPAQUE]))).kind == "RGB with alpha"
    assert not ImageMetadata.read(WITH_DATA_BAND["unspecified in TIFF"]).has_transparency
    tile = Slice(np.dstack([RGB, INFRARED]).astype(np.uint16), is_rgb=False)
    assert ImageMetadata.read(encode_slice(tile, None)).kind == "TIFF with 4 channels as pages"


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_read_image_of_signed_bytes_is_refused(channels: int | None) -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, (RGB[..., 0].astype(int) - 128).astype(np.int8), photometric="minisblack")
    with pytest.raises(ImageError, match="has pixels of type int8; save it as uint8"):
        read_image(file.getvalue(), channels)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "zstd"])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_read_image_of_16_bit_gray_in_any_storage(photometric: str, compression: str | None, byteorder: Any) -> None:
    gray = RGB[..., 0].astype(np.uint16) * 257
    values = gray if photometric == "minisblack" else 65_535 - gray
    file = io.BytesIO()
    tifffile.imwrite(file, values, photometric=photometric, compression=compression, byteorder=byteorder)
    for channels in (None, 1):
        assert (read_image(file.getvalue(), channels)[..., 0] == gray).all()
