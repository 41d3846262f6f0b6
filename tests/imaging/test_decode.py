"""Decode images as gray, RGB or any number of channels, and resize them into the network's square."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import time
import tracemalloc
from contextlib import nullcontext, suppress
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.imaging.decode import read_for_network, read_image
from pipeline.imaging.errors import ImageError
from pipeline.imaging.resize import FixedSize
from tests.imaging.hostile_tiffs import HOSTILE, LONG, get_tail_offset, make_image_tags, write_tiff

ORIENTATION = 0x0112  # EXIF's tag, and TIFF's


def encode_image(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def encode_tiff(image: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, image, **options)
    return buffer.getvalue()


def make_noise(*shape: int, dtype: Any = np.uint8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


RGB = Image.fromarray(make_noise(20, 30, 3))
GRAY_16 = make_noise(20, 30, dtype=np.uint16)
ENCODED = {
    "RGB": encode_image(RGB),
    "JPEG": encode_image(RGB, "JPEG"),
    "TIFF": encode_image(RGB, "TIFF", compression="tiff_lzw"),
    "JPEG in TIFF": encode_image(RGB, "TIFF", compression="jpeg"),
    "WebP": encode_image(RGB, "WEBP"),
    "gray": encode_image(RGB.convert("L")),
    "gray TIFF": encode_image(RGB.convert("L"), "TIFF"),
    "palette": encode_image(RGB.convert("P")),
    "one bit": encode_image(RGB.convert("1")),
    "alpha": encode_image(
        Image.fromarray(np.dstack([make_noise(20, 30, 3), (make_noise(20, 30) > 99) * np.uint8(255)]))
    ),
    "CMYK": encode_image(RGB.convert("CMYK"), "TIFF"),
}


@pytest.mark.parametrize("kind", ENCODED)
def test_read_image_of_8_bits_gives_rgb_or_gray(kind: str) -> None:
    rgb, gray = read_image(ENCODED[kind]), read_image(ENCODED[kind], 1)
    assert (rgb.shape, rgb.dtype) == ((20, 30, 3), np.uint8)
    assert (read_image(ENCODED[kind], 3) == rgb).all()
    # Pillow uses the weights of ITU-R 601.
    assert (gray[..., 0] == np.asarray(Image.fromarray(rgb).convert("L"))).all()


def test_read_image_of_gray_keeps_its_values() -> None:
    assert (read_image(ENCODED["gray"], 1)[..., 0] == np.asarray(RGB.convert("L"))).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_read_image_of_16_bit_gray_keeps_its_bits(kind: str) -> None:
    content = encode_image(Image.fromarray(GRAY_16), kind)
    for channels in (None, 1):
        image = read_image(content, channels)
        assert (image.shape, image.dtype) == ((20, 30, 1), np.uint16)
        assert (image[..., 0] == GRAY_16).all()
    with pytest.raises(ImageError, match="is 16-bit gray, which has 1 channel, but 3 are expected"):
        read_image(content, 3)


@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_read_image_of_16_bit_rgb_keeps_its_bits_if_3_channels_are_requested(planes: str) -> None:
    rgb = make_noise(20, 30, 3, dtype=np.uint16)
    image = rgb if planes == "contig" else rgb.transpose(2, 0, 1)
    content = encode_tiff(image, photometric="rgb", planarconfig=planes)
    assert (read_image(content, 3) == rgb).all()
    if planes == "contig":
        assert (read_image(content) == rgb >> 8).all()
    else:  # Pillow would mix up the bytes
        with pytest.raises(ImageError, match=r"set data\.channels: 3"):
            read_image(content)


@given(
    channels=st.sampled_from([2, 4, 5, 7, 32]),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    layout=st.sampled_from(["samples", "tiles", "planes", "pages", "imagej", "ome"]),
    compression=st.sampled_from([None, "zlib", "lzw", "packbits", "zstd"]),
    predictor=st.booleans(),
    order=st.sampled_from("<>"),
    big=st.booleans(),
    rows=st.sampled_from([1, 7, 20]),
)
@settings(max_examples=120, deadline=None)
def test_read_image_reads_samples_planes_and_pages_as_channels(
    channels: int, dtype: Any, layout: str, compression: Any, predictor: bool, order: Any, big: bool, rows: int
) -> None:
    image = make_noise(20, 33, channels, dtype=dtype, seed=channels)
    planes = image.transpose(2, 0, 1)
    options: dict[str, Any] = {"compression": compression, "predictor": predictor and compression in ("zlib", "lzw")}
    if layout == "imagej":
        content = encode_tiff(planes, imagej=True, metadata={"axes": "CYX"})
    elif layout in ("samples", "tiles"):
        options |= {"tile": (16, 16)} if layout == "tiles" else {"rowsperstrip": rows}
        content = encode_tiff(
            image, photometric="minisblack", planarconfig="contig", byteorder=order, bigtiff=big, **options
        )
    else:
        options |= {"planarconfig": "separate"} if layout == "planes" else {"ome": layout == "ome"}
        content = encode_tiff(
            planes, photometric="minisblack", byteorder=order, bigtiff=big, rowsperstrip=rows, **options
        )
    decoded = read_image(content, channels)
    assert decoded.dtype == dtype
    assert decoded.dtype.isnative
    assert (decoded == image).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("layout", ["pages", "planes", "samples"])
def test_read_image_of_a_tiff_with_three_channels_reads_them(layout: str, dtype: Any) -> None:
    image = make_noise(20, 30, 3, dtype=dtype)
    planes = {"pages": None, "planes": "separate", "samples": "contig"}[layout]
    options: dict[str, Any] = {"photometric": "minisblack", "planarconfig": planes}
    content = encode_tiff(image if layout == "samples" else image.transpose(2, 0, 1), **options)
    assert (read_image(content, 3) == image).all()
    with pytest.raises(ImageError, match=r"set data\.channels: 3"):
        read_image(content)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_read_image_turns_a_tiff_upright_as_pillow_does(orientation: int) -> None:
    image = make_noise(20, 30, 3)
    tags = [(ORIENTATION, "H", 1, orientation, True)]
    rgb = read_image(encode_tiff(image, photometric="rgb", extratags=tags))
    assert rgb.shape == ((20, 30, 3) if orientation < 5 else (30, 20, 3))
    padded = np.concatenate([image, image[..., :2]], axis=-1)
    decoded = read_image(encode_tiff(padded, photometric="minisblack", planarconfig="contig", extratags=tags), 5)
    assert (decoded[..., :3] == rgb).all()


def test_read_image_with_white_as_zero_is_inverted() -> None:
    image = make_noise(4, 20, 30)
    assert (read_image(encode_tiff(image, photometric="miniswhite"), 4) == 255 - image.transpose(1, 2, 0)).all()


def test_read_image_skips_reduced_resolution_pages() -> None:
    image = make_noise(5, 20, 30)
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(image, photometric="minisblack")
        writer.write(image[0, ::2, ::2], subfiletype=1)
    assert (read_image(buffer.getvalue(), 5) == image.transpose(1, 2, 0)).all()


INTERLEAVED = {"photometric": "minisblack", "planarconfig": "contig"}
REFUSED: dict[str, tuple[bytes, int | None, str]] = {
    "samples, not requested": (
        encode_tiff(make_noise(20, 30, 5), **INTERLEAVED),
        None,
        r"^has 5 channels; .* set data\.channels: 5$",
    ),
    "pages, not requested": (
        encode_tiff(make_noise(5, 20, 30)),
        None,
        r"^contains 5 images; save one per file or, .* data\.channels: 5, or data\.slices if",
    ),
    "many pages": (
        encode_tiff(make_noise(40, 20, 30)),
        None,
        r"^contains 40 images; save one per file, or set data\.sl",
    ),
    "very many pages": (
        encode_tiff(make_noise(80, 20, 30)),
        None,
        r"^contains more than 64 images; save one per file, or set data\.slices if",
    ),
    "others": (encode_tiff(make_noise(20, 30, 5), **INTERLEAVED), 4, r"^has 5 channels, but 4 are expected$"),
    "gray requested": (encode_tiff(make_noise(20, 30, 5), **INTERLEAVED), 1, r"^has 5 channels, but 1 is expected$"),
    "RGB requested": (encode_tiff(make_noise(5, 20, 30)), 3, r"^has 5 channels, but 3 are expected$"),
    "a gray TIFF": (encode_tiff(make_noise(20, 30)), 5, r"^has 1 channel, but 5 are expected$"),
    "PNG": (ENCODED["RGB"], 5, r"^has 3 channels, but 5 are expected; only TIFFs"),
    "gray PNG": (ENCODED["gray"], 2, r"^has 1 channel, but 2 are expected$"),
    "RGBA in PNG": (ENCODED["alpha"], 5, r"^has 4 channels, but 5 are expected; only TIFFs"),
    "RGB pages": (encode_tiff(make_noise(2, 20, 30, 3), photometric="rgb"), 6, "^contains 2 images of 3 channels each"),
    "fractions": (
        encode_tiff(make_noise(5, 20, 30).astype(np.float32)),
        5,
        "^has pixels of type float32; save it as uint8 or uint16",
    ),
    "signed": (encode_tiff(make_noise(5, 20, 30).astype(np.int16)), 5, "^has pixels of type int16"),
    "JPEG in TIFF": (
        encode_tiff(make_noise(5, 32, 32), compression="jpeg"),
        5,
        "^is compressed with JPEG; use no compression",
    ),
    "palette": (
        encode_tiff(make_noise(4, 20, 30), photometric="palette", colormap=make_noise(3, 256, dtype=np.uint16)),
        4,
        "^stores colors as PALETTE; ",
    ),
    "a volume": (
        encode_tiff(make_noise(8, 32, 32), volumetric=True, tile=(8, 16, 16)),
        8,
        "^contains a volume of 8 slices",
    ),
    "text": (b"II*\0 not an image", 5, "^contains no image"),
    "empty": (b"", 5, "^is not in one of the formats PNG"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_read_image_of_unsupported_content_gives_the_reason(case: str) -> None:
    content, channels, message = REFUSED[case]
    with pytest.raises(ImageError, match=message):
        read_image(content, channels)


def test_read_image_with_pages_of_different_sizes_is_refused() -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(make_noise(20, 30))
        writer.write(make_noise(30, 20))
    with pytest.raises(ImageError, match="contains 2 images of 2 different sizes or kinds; save one per file"):
        read_image(buffer.getvalue(), 2)


@pytest.mark.parametrize("channels", [None, 1, 3, 5])
@pytest.mark.parametrize("case", HOSTILE)
def test_read_image_of_a_hostile_tiff_is_refused_in_bounded_memory(case: str, channels: int | None) -> None:
    content = HOSTILE[case]()
    is_harmless = channels == 5 and case == "tags of the whole file"  # tifffile does not read the values of such tags
    tracemalloc.start()
    try:
        with nullcontext() if is_harmless else pytest.raises(ImageError):
            read_image(content, channels)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 30_000_000 + 5 * len(content)


VALID_TIFFS = [
    encode_tiff(make_noise(20, 23, 5), **INTERLEAVED, compression="lzw", predictor=True),
    encode_tiff(
        make_noise(20, 23, 5, dtype=np.uint16), **INTERLEAVED, compression="zlib", tile=(16, 16), byteorder=">"
    ),
    encode_tiff(
        make_noise(5, 20, 23, dtype=np.uint16), planarconfig="separate", photometric="minisblack", bigtiff=True
    ),
    encode_tiff(make_noise(5, 20, 23), photometric="minisblack", ome=True),
    encode_tiff(make_noise(5, 20, 23, dtype=np.uint16), imagej=True, metadata={"axes": "CYX"}),
]


@given(data=st.data(), channels=st.sampled_from([None, 1, 3, 5]))
@settings(max_examples=400, deadline=None)
def test_read_image_of_a_broken_tiff_is_read_or_refused(data: st.DataObject, channels: int | None) -> None:
    content = bytearray(data.draw(st.sampled_from(VALID_TIFFS)))
    for _ in range(data.draw(st.integers(0, 4))):
        offset = data.draw(st.integers(0, min(len(content), 800) - 4))
        content[offset : offset + 4] = data.draw(st.binary(min_size=1, max_size=4))
    cut = data.draw(st.none() | st.integers(0, len(content)))
    try:
        image = read_image(bytes(content[:cut]), channels)
    except ImageError as error:
        assert 0 < len(str(error)) < 400
    else:
        assert image.ndim == 3


def test_read_image_of_odd_files_logs_nothing(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    tags = make_image_tags(16, 16, get_tail_offset(9), 16 * 16 * 5)
    tags[7] = (278, LONG, 1, 1)  # as if each row were a strip
    with pytest.raises(ImageError, match="parts of it are missing"):
        read_image(write_tiff([tags], bytes(2_000)), 5)
    assert not caplog.records
    assert not any(capfd.readouterr())
    assert logging.getLogger("tifffile").level == logging.NOTSET


def test_read_image_with_too_many_tags_is_refused() -> None:
    with pytest.raises(ImageError, match="number of tags"):
        read_image(HOSTILE["tags without end"](), 5)


@pytest.mark.parametrize("channels", [None, 5])
@pytest.mark.parametrize("case", HOSTILE)
def test_read_image_of_a_hostile_tiff_takes_less_than_2_seconds(case: str, channels: int | None) -> None:
    content = HOSTILE[case]()
    start = time.process_time()
    with suppress(ImageError):
        read_image(content, channels)
    assert time.process_time() - start < 2


def test_read_image_of_many_small_pages_may_read_each_directory_twice() -> None:
    image = make_noise(32, 4, 4)
    assert (
        read_image(encode_tiff(image, photometric="minisblack", metadata=None), 32) == image.transpose(1, 2, 0)
    ).all()


def test_read_image_with_a_large_private_tag_reads_the_pixels() -> None:
    """Photoshop keeps its layers in a tag, which may be larger than the pixels."""
    image = make_noise(20, 30, 3)
    tags = [(37724, "B", 12_000_000, bytes(12_000_000), True)]
    for channels in (None, 3):
        assert (read_image(encode_tiff(image, photometric="rgb", extratags=tags), channels) == image).all()


def test_read_image_of_rgb_does_not_import_tifffile() -> None:
    code = (
        "import io, sys; from PIL import Image; from pipeline.imaging.decode import read_image; buffer = io.BytesIO()\n"
        "for kind in 'PNG', 'TIFF':\n"
        "    Image.new('RGB', (9, 9)).save(buffer, kind); read_image(buffer.getvalue()); buffer = io.BytesIO()\n"
        "sys.exit('tifffile' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_read_image_without_tifffile_refuses_other_channels_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tifffile", None)
    assert read_image(ENCODED["TIFF"], 3).shape == (20, 30, 3)
    with pytest.raises(ImageError, match=r"^is not in one of the formats PNG"):
        read_image(VALID_TIFFS[0])
    with pytest.raises(ImageError, match="the Python package tifffile is missing"):
        read_image(VALID_TIFFS[0], 5)


@pytest.mark.parametrize(
    ("channels", "bits", "content", "shape"),
    [
        (1, 8, ENCODED["RGB"], (20, 30, 3)),  # decoded as RGB for display; the network input is gray
        (1, 16, encode_image(Image.fromarray(GRAY_16)), (20, 30, 1)),
        (3, 8, encode_image(Image.fromarray(GRAY_16)), (20, 30, 1)),
        (3, 8, encode_tiff(make_noise(3, 20, 30), photometric="minisblack"), (20, 30, 3)),
        (3, 16, ENCODED["gray"], (20, 30, 3)),
        (5, 16, encode_tiff(make_noise(5, 20, 30)), (20, 30, 5)),
    ],
)
def test_read_for_network_accepts_images_that_can_be_converted(
    channels: int, bits: int, content: bytes, shape: tuple[int, ...]
) -> None:
    assert read_for_network(content, channels, bits).shape == shape


@pytest.mark.parametrize(
    ("channels", "bits", "message"),
    [(1, 8, "has 4 channels, but 1 is expected"), (3, 8, "but 3 are expected"), (5, 8, "but 5 are expected")],
)
def test_read_for_network_refuses_other_channels(channels: int, bits: int, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_for_network(encode_tiff(make_noise(4, 20, 30), photometric="minisblack"), channels, bits)


SIDES = st.integers(1, 60)


@given(
    height=SIDES,
    width=SIDES,
    channels=st.integers(1, 7),
    size=st.integers(1, 40),
    resize=st.sampled_from(["letterbox", "stretch"]),
    dtype=st.sampled_from([np.uint8, np.uint16]),
)
@settings(max_examples=100, deadline=None)
def test_fit_image_resizes_each_channel_separately(
    height: int, width: int, channels: int, size: int, resize: Any, dtype: Any
) -> None:
    image = make_noise(height, width, channels, dtype=dtype)
    resizing = FixedSize((size, size + 3), resize)
    fitted = resizing.fit_image(image)
    assert (fitted.shape, fitted.dtype) == ((size, size + 3, channels), dtype)
    for channel in range(channels):
        assert (resizing.fit_image(image[..., [channel]])[..., 0] == fitted[..., channel]).all()


def test_fit_image_resamples_as_pillow_does() -> None:
    rgb, size = make_noise(50, 70, 3), (48, 32)
    resizing = FixedSize((32, 48), "stretch")
    expected = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS))
    assert (resizing.fit_image(rgb) == expected).all()
    floats = np.asarray(Image.fromarray(GRAY_16.astype(np.float32)).resize(size, Image.Resampling.LANCZOS))
    expected = np.clip(np.rint(floats), 0, 65_535).astype(np.uint16)
    assert (resizing.fit_image(GRAY_16[..., None])[..., 0] == expected).all()


def test_fit_image_clips_overshoot_of_16_bits() -> None:
    image = np.zeros((40, 40, 5), np.uint16)
    image[10:30, 10:30] = 65_535  # the Lanczos filter overshoots at edges
    fitted = FixedSize((17, 17), "letterbox").fit_image(image)
    assert fitted[8, 8].tolist() == [65_535] * 5
    assert fitted[0, 0].tolist() == [0] * 5
