"""Extra bands: transparent pixels become black; any other band is asked about and never dropped silently."""

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

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (12, 16, 3), np.uint8)
DATA = RNG.integers(20, 240, (12, 16), np.uint8)  # near infrared
OPAQUE = np.full((12, 16), 255, np.uint8)


def encode(image: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def tiff(bands: np.ndarray, extra: list[str], photometric: str = "rgb", **options: Any) -> bytes:
    file = io.BytesIO()
    options = {"planarconfig": "contig", **options}
    tifffile.imwrite(file, bands, photometric=photometric, extrasamples=extra, **options)
    return file.getvalue()


WITH_DATA = {
    "RGBA in PNG": encode(np.dstack([RGB, DATA])),
    "RGBA in WebP": encode(np.dstack([RGB, DATA]), "WEBP", lossless=True, exact=True),
    "alpha in TIFF": tiff(np.dstack([RGB, DATA]), ["unassalpha"]),
    "premultiplied alpha in TIFF": tiff(np.dstack([RGB, DATA]), ["assocalpha"]),
    "unspecified in TIFF": tiff(np.dstack([RGB, DATA]), ["unspecified"]),
    "unspecified and opaque in TIFF": tiff(np.dstack([RGB, OPAQUE]), ["unspecified"]),
    "unspecified in tiles": tiff(np.dstack([RGB, DATA]), ["unspecified"], tile=(16, 16), compression="lzw"),
    "two unspecified in TIFF": tiff(np.dstack([RGB, DATA, DATA]), ["unspecified"] * 2),
    "alpha and unspecified in TIFF": tiff(np.dstack([RGB, OPAQUE, DATA]), ["unassalpha", "unspecified"]),
    "unspecified of 16 bits": tiff(np.dstack([RGB, DATA]).astype(np.uint16) * 257, ["unspecified"]),
}


@pytest.mark.parametrize("case", WITH_DATA)
def test_read_image_with_a_band_of_data_asks_keeps_or_leaves_it_out(case: str) -> None:
    content = WITH_DATA[case]
    bands = count_channels(content)
    assert bands == (5 if "two" in case or " and un" in case else 4)
    with pytest.raises(ImageError, match=rf"set data\.channels: {bands} .*data\.channels: 3 to leave (it|them) out"):
        read_image(content)
    everything = read_image(content, bands)
    assert (everything[..., :3] == (RGB if everything.dtype == np.uint8 else RGB.astype(np.uint16) * 257)).all()
    assert (read_image(content, 3) == RGB).all()
    assert (read_for_network(content, 3, 8) == RGB).all()


def test_read_image_with_gray_and_a_band_of_data_asks_for_2_or_1() -> None:
    gray = RGB[..., 0]
    for content in (
        encode(np.dstack([gray, DATA])),
        tiff(np.dstack([gray, DATA]), ["unspecified"], photometric="minisblack"),
    ):
        with pytest.raises(ImageError, match=r"has 2 bands; .* set data\.channels: 2 .*data\.channels: 1 to leave it"):
            read_image(content)
        assert (read_image(content, 2) == np.dstack([gray, DATA])).all()
        assert (read_image(content, 1)[..., 0] == gray).all()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_read_image_of_a_cutout_is_black_where_it_is_transparent(kind: str) -> None:
    alpha = np.where(np.arange(16) < 8, 255, 0)[None].repeat(12, 0).astype(np.uint8)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    found = read_image(encode(np.dstack([RGB, alpha]), kind, **options))
    assert (found == RGB * (alpha[..., None] > 0)).all()
    assert (read_image(encode(np.dstack([RGB, OPAQUE]), kind, **options)) == RGB).all()


@pytest.mark.parametrize("extra", ["unassalpha", "assocalpha"])
def test_read_image_that_is_transparent_everywhere_is_asked_about(extra: str) -> None:
    content = tiff(np.dstack([RGB, OPAQUE * 0]), [extra])
    with pytest.raises(ImageError, match=r"transparent everywhere; set data\.channels: 3 to leave its last band out"):
        read_image(content)
    content = encode(np.dstack([RGB, OPAQUE * 0]))
    assert (read_image(content, 3) == RGB).all()
    assert (read_image(content, 4)[..., 3] == 0).all()


@given(share=st.floats(0, 1))
def test_has_extra_band_where_more_than_a_quarter_is_half_transparent(share: float) -> None:
    alpha = OPAQUE.copy()
    half = round(share * alpha.size)
    alpha.ravel()[:half] = 128
    found = has_extra_band(Image.fromarray(np.dstack([RGB, alpha])))
    assert found is (half > 0.25 * alpha.size)


def test_image_metadata_names_a_band_that_is_not_alpha() -> None:
    assert ImageMetadata.read(WITH_DATA["unspecified in TIFF"]).kind == "RGB with another band, no alpha"
    assert ImageMetadata.read(WITH_DATA["RGBA in PNG"]).kind == "RGB with another band, no alpha"
    assert ImageMetadata.read(encode(np.dstack([RGB, OPAQUE]))).kind == "RGB with alpha"
    assert not ImageMetadata.read(WITH_DATA["unspecified in TIFF"]).has_transparency


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_read_image_of_signed_bytes_is_refused(channels: int | None) -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, (RGB[..., 0].astype(int) - 128).astype(np.int8), photometric="minisblack")
    with pytest.raises(ImageError, match="has pixels of int8; save it as uint8"):
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
