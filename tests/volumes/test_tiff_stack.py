"""Slices of TIFF stacks: axes from the metadata, channels, palettes, and broken files."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.imaging.decode import read_image
from pipeline.imaging.errors import ImageError
from pipeline.imaging.mask_decoding import decode_mask
from pipeline.imaging.metadata import ImageMetadata
from pipeline.imaging.pixel_size import PixelSize
from pipeline.volumes.open_volume import open_volume
from pipeline.volumes.slice_file import IntensityWindow, SliceReference, read_slice
from pipeline.volumes.tiff_stack import TiffStack

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_stack(values: np.ndarray, **options: Any) -> Path:
        tifffile.imwrite(tmp_path / "stack.tif", values, **{"photometric": "minisblack", **options})
        return tmp_path / "stack.tif"

    return write_stack


def make_noise(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 250, shape).astype(dtype)


FORMATS: dict[str, dict[str, Any]] = {
    "plain": {"metadata": None},
    "named": {"metadata": {"axes": "ZYX"}},
    "OME": {"ome": True, "metadata": {"axes": "ZYX"}},
    "ImageJ": {"imagej": True, "metadata": {"axes": "ZYX"}},
    "compressed": {"compression": "zlib", "metadata": None},
    "tiled": {"tile": (16, 16), "compression": "lzw", "metadata": None},
    "big-endian": {"byteorder": ">", "metadata": None},
    "one page": {"metadata": {"axes": "ZYX", "truncate": True}, "contiguous": True},
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("kind", FORMATS)
def test_slices_are_the_pages(kind: str, dtype: type, write: Write) -> None:
    values = make_noise(5, 20, 30, dtype=dtype)
    stack = TiffStack(write(values, **FORMATS[kind]), "z")
    assert (stack.num_slices, stack.height, stack.width, stack.channels) == (5, 20, 30, 1)
    for index in (4, 0, 2):
        np.testing.assert_array_equal(stack.read_slice(index).values[..., 0], values[index])


@pytest.mark.parametrize(
    ("shape", "options", "axis", "slices", "channels"),
    [
        ((4, 20, 30), {"ome": True, "metadata": {"axes": "TYX"}}, "t", 4, 1),
        ((4, 20, 30), {"ome": True, "metadata": {"axes": "CYX"}}, "z", 1, 4),
        ((4, 2, 20, 30), {"ome": True, "metadata": {"axes": "ZCYX"}}, "z", 4, 2),
        ((2, 4, 20, 30), {"ome": True, "metadata": {"axes": "CZYX"}}, "z", 4, 2),
        ((4, 2, 20, 30), {"imagej": True, "metadata": {"axes": "ZCYX"}}, "z", 4, 2),
        ((4, 20, 30, 3), {"photometric": "rgb", "metadata": None}, "z", 4, 3),
        ((4, 3, 20, 30), {"photometric": "minisblack", "planarconfig": "separate", "metadata": None}, "z", 4, 3),
        ((20, 30), {"metadata": None}, "z", 1, 1),
    ],
)
def test_axes_are_those_of_the_metadata(
    shape: tuple[int, ...], options: dict[str, Any], axis: str, slices: int, channels: int, write: Write
) -> None:
    values = make_noise(*shape)
    stack = TiffStack(write(values, **options), axis)
    assert (stack.num_slices, stack.channels) == (slices, channels)
    channel_axis = {"CYX": 0, "ZCYX": 1, "CZYX": 0}.get((options["metadata"] or {}).get("axes", ""))
    if channel_axis is not None:
        values = np.moveaxis(values, channel_axis, -1)
    elif "planarconfig" in options:
        values = np.moveaxis(values, 1, -1)
    found = np.stack([stack.read_slice(index).values for index in range(slices)])
    np.testing.assert_array_equal(found, values.reshape(found.shape))
    content = read_slice(stack, slices - 1)
    np.testing.assert_array_equal(read_image(content, channels), found[-1])


@pytest.mark.parametrize("axes", ["TZYX", "ZTYX"])
def test_two_axes_of_slices_are_refused(axes: str, write: Write) -> None:
    path = write(make_noise(3, 4, 20, 30), ome=True, metadata={"axes": axes})
    with pytest.raises(ImageError, match=r"with (3|4) time points, but slices are along z only"):
        TiffStack(path, "z")


def test_axis_of_a_patient_is_refused(write: Write) -> None:
    with pytest.raises(ImageError, match="along z or t, not along x"):
        TiffStack(write(make_noise(3, 20, 30)), "x")


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "ImageJ"])
def test_palette_stack_keeps_its_indices_and_colors(kind: str, write: Write) -> None:
    colors = np.arange(768, dtype=np.uint16).reshape(3, 256) * 80
    values = make_noise(3, 20, 30)
    stack = TiffStack(write(values, **FORMATS[kind], photometric="palette", colormap=colors), "z")
    mask = decode_mask(read_slice(stack, 1), colors=False)
    np.testing.assert_array_equal(mask.values, values[1])
    in_colors = decode_mask(read_slice(stack, 1), colors=True).values
    assert in_colors[0, 0] >> 16 == colors[0, values[1, 0, 0]] >> 8


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_pages_may_have_different_palettes(compression: str | None, tmp_path: Path) -> None:
    pages = [Image.fromarray(make_noise(20, 30) % 2).convert("P") for _ in range(3)]
    for page, red in zip(pages, (10, 20, 30), strict=True):
        page.putpalette([0, 0, 0, red, 0, 0])
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:], compression=compression)
    stack = TiffStack(tmp_path / "stack.tif", "z")
    for index, red in enumerate((10, 20, 30)):
        found = decode_mask(read_slice(stack, index), colors=True).values
        np.testing.assert_array_equal(found, np.where(make_noise(20, 30) % 2, red << 16, 0))


def write_bilevel(path: Path, values: np.ndarray, **tags: int) -> Path:
    """Write pages of 1 bit with a palette of two colors, which tifffile cannot do, and change the values of tags."""
    colors = (320, "H", 6, (0, 0xFFFF, 0, 0, 0, 0), True)
    with tifffile.TiffWriter(path) as writer:
        for page in values:
            writer.write(page, photometric="minisblack", contiguous=False, metadata=None, extratags=[colors])
    with tifffile.TiffFile(path, mode="r+b") as file:
        for page in file.pages:
            for name, value in {"PhotometricInterpretation": 3, **tags}.items():
                page.aspage().tags[name].overwrite(value)
    return path


def test_palette_of_one_bit_is_read(tmp_path: Path) -> None:
    values = make_noise(3, 20, 30) > 100
    stack = TiffStack(write_bilevel(tmp_path / "stack.tif", values), "z")
    np.testing.assert_array_equal(decode_mask(read_slice(stack, 2), colors=False).values, values[2])
    np.testing.assert_array_equal(decode_mask(read_slice(stack, 2), colors=True).values, values[2] * 0xFF0000)


def test_palette_without_colors_is_refused(tmp_path: Path) -> None:
    path = write_bilevel(tmp_path / "stack.tif", make_noise(2, 20, 30, dtype=bool), ColorMap=(0, 0))
    with pytest.raises(ImageError):
        read_slice(TiffStack(path, "z"), 0)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_palette_of_more_than_8_bits_is_refused(dtype: Any, tmp_path: Path) -> None:
    path = write_bilevel(tmp_path / "stack.tif", make_noise(2, 20, 30, dtype=dtype))
    with pytest.raises(ImageError, match="save it with 8 bits, or without a palette"):
        TiffStack(path, "z")


def test_labels_of_any_type_are_masks(write: Write) -> None:
    for dtype in (np.uint8, np.int16, np.int32, np.float32, np.float64):
        values = make_noise(3, 20, 30, dtype=dtype)
        stack = TiffStack(write(values, metadata=None), "z")
        np.testing.assert_array_equal(decode_mask(read_slice(stack, 2), colors=False).values, values[2])


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4), st.sampled_from((8, 16)))
@settings(max_examples=50, deadline=None)
def test_window_is_linear_and_clips(low: float, width: float, bits: int) -> None:
    highest, window = 2**bits - 1, IntensityWindow(low, low + width, bits)
    fractions = np.array([-5, 0, 0.25, 0.5, 1, 7])
    np.testing.assert_allclose(window.apply(low + fractions * width), fractions.clip(0, 1) * highest, atol=0.51 + 1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint32, np.float16, bool])
def test_window_may_exceed_the_range_of_the_type(dtype: Any) -> None:
    values = np.array([0, 1]).astype(dtype)
    np.testing.assert_array_equal(IntensityWindow(-1000, 1000).apply(values), [128, 128])
    np.testing.assert_array_equal(IntensityWindow(-(10**6), 0).apply(values), [255, 255])


@pytest.mark.parametrize("height", [3, 4, 20])
def test_colors_of_low_slices_are_kept(height: int, write: Write) -> None:
    values = make_noise(2, height, 30, 3)
    stack = TiffStack(write(values, photometric="rgb", planarconfig="contig", metadata=None), "z")
    np.testing.assert_array_equal(read_image(read_slice(stack, 1)), values[1])


def test_pixel_size_of_the_stack_is_that_of_its_slices(write: Write) -> None:
    metadata = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.6, "PhysicalSizeZ": 2.0}
    stack = TiffStack(write(make_noise(70, 20, 30), ome=True, metadata=metadata), "z")
    assert ImageMetadata.read(read_slice(stack, 69)).pixel == PixelSize(0.6, 0.5, "µm")


def test_changed_file_is_opened_again(write: Write) -> None:
    for count in (3, 5):
        assert open_volume(write(make_noise(count, 20, 30), metadata=None), "z").num_slices == count


@given(st.text(min_size=1), st.sampled_from("xyzt"), st.integers(0, 10**6))
def test_reference_is_parsed_as_it_was_written(file: str, axis: str, index: int) -> None:
    reference = SliceReference(file, axis, index)
    assert SliceReference.parse(str(reference)) == reference


@pytest.mark.parametrize("path", ["images/scan.nii.gz", "a[z=1].tif", "scan.nii.gz[z=-1]", "[z=1]", "x[z=]"])
def test_path_of_a_file_is_no_reference(path: str) -> None:
    assert SliceReference.parse(path) is None


def write_ome(description: str) -> bytes:
    buffer = io.BytesIO()
    xml = f'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{description}</OME>'
    tifffile.imwrite(buffer, make_noise(2, 20, 30), photometric="minisblack", description=xml, metadata=None)
    return buffer.getvalue()


def make_circular() -> bytes:
    """Create a TIFF whose second page refers to the first one as the next page."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, make_noise(2, 20, 30), photometric="minisblack", metadata=None)
    content = bytearray(buffer.getvalue())
    first = struct.unpack_from("<I", content, 4)[0]
    places = first + 2 + 12 * struct.unpack_from("<H", content, first)[0]
    second = struct.unpack_from("<I", content, places)[0]
    struct.pack_into("<I", content, second + 2 + 12 * struct.unpack_from("<H", content, second)[0], first)
    return bytes(content)


def make_pages(*shapes: tuple[int, int], **options: Any) -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for shape in shapes:
            writer.write(make_noise(*shape), photometric="minisblack", metadata=None, **options)
    return buffer.getvalue()


PIXELS = (
    '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="30" SizeY="20" SizeC="1" '
    'SizeZ="{}" SizeT="1"><TiffData IFD="0" PlaneCount="2"/>{}</Pixels></Image>'
)
IMAGEJ = "ImageJ=1.11a\nimages=999999999\nslices=999999999\nhyperstack=true\n"
BROKEN = {
    "text": b"patient,age\n" * 99,
    "half of it": make_pages((20, 30), (20, 30))[:700],
    "pages of two sizes": make_pages((20, 30), (30, 20)),
    "circular pages": make_circular(),
    "JPEG": make_pages((32, 32), (32, 32), compression="jpeg"),
    "other files": write_ome(
        PIXELS.format(4, '<TiffData FirstZ="2"><UUID FileName="b.tif">urn:uuid:1</UUID></TiffData>')
    ),
    "a billion slices": write_ome(PIXELS.format(999_999_999, "")),
    "contradictory ImageJ metadata": make_pages((20, 30), (20, 30), compression="zlib", description=IMAGEJ),
    "many planes": write_ome(PIXELS.format(2, '<TiffData IFD="0" PlaneCount="999999999"/>')),
    "many channels and slices": write_ome(PIXELS.format(99_999, "").replace('SizeT="1"', 'SizeT="99999"')),
    "expanding entities": write_ome('<!DOCTYPE a [<!ENTITY b "c">]><Image ID="Image:0"/>'),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_stack_is_refused(case: str, tmp_path: Path) -> None:
    (tmp_path / "stack.tif").write_bytes(BROKEN[case])
    with pytest.raises(ImageError):
        TiffStack(tmp_path / "stack.tif", "z").read_slice(0)


def test_stack_of_many_small_pages_is_read(tmp_path: Path) -> None:
    """Its headers have more bytes than its pixels."""
    with tifffile.TiffWriter(tmp_path / "stack.tif") as writer:
        for page in range(1000):
            writer.write(np.full((8, 8), page, np.uint16), metadata=None, contiguous=False, compression="zlib")
    stack = TiffStack(tmp_path / "stack.tif", "z")
    assert [stack.read_slice(index).values[0, 0, 0] for index in (999, 0, 500)] == [999, 0, 500]
