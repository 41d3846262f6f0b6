"""Pixel sizes that TIFFs state: OME-XML, ImageJ and resolution tags, for upright images."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.imaging.metadata import ImageMetadata
from pipeline.imaging.pixel_size import PixelSize
from pipeline.imaging.tiff_resolution import IMAGEJ, OME, TIFF, StatedPixelSize, read_pixel_size

SIZE = (40, 50)


def encode(shape: tuple[int, ...] = SIZE, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros(shape, np.uint8), photometric="minisblack", **options)
    return file.getvalue()


def encode_ome(**sizes: object) -> bytes:
    return encode(ome=True, metadata={"axes": "YX", **sizes})


def encode_imagej(unit: str, x: float, y: float) -> bytes:
    return encode(imagej=True, resolution=(x, y), metadata={"unit": unit})


def read(content: bytes) -> StatedPixelSize | None:
    return read_pixel_size(io.BytesIO(content))


@pytest.mark.parametrize(
    ("content", "size", "source"),
    [
        (encode_ome(PhysicalSizeX=0.65, PhysicalSizeY=0.7), PixelSize(0.7, 0.65, "µm"), OME),
        (
            encode_ome(PhysicalSizeX=650.0, PhysicalSizeXUnit="nm", PhysicalSizeY=0.65, PhysicalSizeYUnit="µm"),
            PixelSize(650, 650, "nm"),
            OME,
        ),
        (encode_imagej("micron", 1 / 0.65, 1 / 0.65), PixelSize(0.65, 0.65, "µm"), IMAGEJ),
        (encode_imagej("\\u00B5m", 2.0, 4.0), PixelSize(0.25, 0.5, "µm"), IMAGEJ),
        (encode_imagej("mm", 4.0, 4.0), PixelSize(0.25, 0.25, "mm"), IMAGEJ),
        (encode(resolution=(1e4 / 0.65, 1e4 / 0.5), resolutionunit="CENTIMETER"), PixelSize(0.5, 0.65, "µm"), TIFF),
        (encode(resolution=(5.0, 5.0), resolutionunit="CENTIMETER"), PixelSize(2, 2, "mm"), TIFF),
        (encode(resolution=(25_400.0, 25_400.0), resolutionunit="INCH"), PixelSize(1, 1, "µm"), TIFF),
    ],
)
def test_pixel_size_is_read(content: bytes, size: PixelSize, source: str) -> None:
    assert read(content) == StatedPixelSize(size, source, is_for_print=False)
    assert ImageMetadata.read(content).pixel == size


@pytest.mark.parametrize(
    "content",
    [
        encode(resolution=(72.0, 72.0), resolutionunit="INCH"),
        encode(resolution=(300.0, 300.0), resolutionunit="INCH"),
        encode(resolution=(118.11, 118.11), resolutionunit="CENTIMETER"),  # 300 dpi
        encode_imagej("inch", 96.0, 96.0),
    ],
)
def test_resolution_for_printing_is_no_pixel_size(content: bytes) -> None:
    stated = read(content)
    assert stated is not None
    assert stated.is_for_print
    assert stated.dpi == pytest.approx(round(stated.dpi), rel=1e-3)
    assert ImageMetadata.read(content).pixel is None


def encode_png() -> bytes:
    file = io.BytesIO()
    Image.new("L", SIZE).save(file, "PNG", dpi=(300, 300))
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"II*\0",
        b"II*\0broken",
        encode_png(),
        encode(),
        encode(resolution=(2.0, 2.0), resolutionunit="NONE"),
        encode_imagej("pixel", 1.0, 1.0),
        encode_ome(),
        encode_ome(PhysicalSizeX=0.65),
        encode_ome(PhysicalSizeX=0.0, PhysicalSizeY=0.65),
        encode_ome(PhysicalSizeX=-1.0, PhysicalSizeY=-1.0),
        encode_ome(PhysicalSizeX=1.0, PhysicalSizeXUnit="pixel", PhysicalSizeY=1.0, PhysicalSizeYUnit="pixel"),
        encode(extratags=[(282, 5, 1, (72, 0), True), (283, 5, 1, (0, 0), True), (296, 3, 1, 3, True)]),
        encode(metadata=None, description='<OME><Pixels PhysicalSizeX="wide" PhysicalSizeY="1"/></OME>'),
        encode(metadata=None, description='<OME><Pixels PhysicalSizeX="nan" PhysicalSizeY="1e999"/></OME>'),
    ],
)
def test_file_without_a_valid_pixel_size_has_none(content: bytes) -> None:
    assert read(content) is None


def test_pixel_size_of_a_turned_image_is_that_of_the_upright_image() -> None:
    resolution = {"resolution": (1e4 / 2, 1e4), "resolutionunit": "CENTIMETER"}  # 2 µm wide, 1 µm high
    for orientation, size in ((1, PixelSize(1, 2, "µm")), (3, PixelSize(1, 2, "µm")), (6, PixelSize(2, 1, "µm"))):
        stated = read(encode(extratags=[(274, 3, 1, orientation, True)], metadata=None, **resolution))
        assert stated is not None
        assert stated.size == size


def test_pixel_size_of_a_stack_is_that_of_its_first_page() -> None:
    stated = read(encode((5, *SIZE), imagej=True, resolution=(2.0, 2.0), metadata={"unit": "um", "axes": "CYX"}))
    assert stated is not None
    assert stated.size == PixelSize(0.5, 0.5, "µm")
