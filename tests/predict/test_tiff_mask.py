"""Masks as tiled TIFFs: the values of the strips, readable by other programs, with the place and scale of the image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.imaging.errors import ImageError
from pipeline.predict.tiff_mask import write_tiff_mask

PALETTE = np.random.default_rng(1).integers(0, 255, (256, 3)).astype(np.uint8)
GEOREFERENCE = (
    (33550, "d", 3, (0.25, 0.25, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 563_000.0, 5_934_000.0, 0.0), True),
    (34735, "H", 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 25832), True),  # EPSG:25832
)


def cut_strips(values: np.ndarray, heights: list[int]) -> Iterator[np.ndarray]:
    for height in heights:
        if len(values):
            yield values[:height]
        values = values[height:]
    if len(values):
        yield values


@given(
    st.integers(1, 600), st.integers(1, 600), st.lists(st.integers(1, 300), max_size=5),
    st.sampled_from(("palette", "deep", "colors")),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_file_has_the_values_of_the_strips(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, heights: list[int], kind: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "masks" / "x.tif"
    shape = (height, width, 3) if kind == "colors" else (height, width)
    dtype = np.uint16 if kind == "deep" else np.uint8
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    palette = PALETTE if kind == "palette" else None
    path.parent.mkdir(exist_ok=True)
    path.touch()
    write_tiff_mask(path, cut_strips(values, heights), shape, palette, source=path)
    np.testing.assert_array_equal(tifffile.imread(path), values)
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), values)
        assert image.mode == {"palette": "P", "deep": "I;16", "colors": "RGB"}[kind]
        if kind == "palette":
            assert image.getpalette() == PALETTE.ravel().tolist()
    assert [file.name for file in path.parent.iterdir()] == ["x.tif"]


def write_source(path: Path, **options: Any) -> Path:
    tifffile.imwrite(path, np.zeros((60, 50), np.uint8), photometric="minisblack", **options)
    return path


def write_mask(source: Path) -> tifffile.TiffFile:
    path = source.parent / "mask.tif"
    write_tiff_mask(path, iter([np.zeros((60, 50), np.uint8)]), (60, 50), PALETTE, source)
    return tifffile.TiffFile(path)


def test_mask_has_the_georeference_of_its_image(tmp_path: Path) -> None:
    source = write_source(tmp_path / "field.tif", extratags=GEOREFERENCE, metadata=None)
    with tifffile.TiffFile(source) as image, write_mask(source) as mask:
        assert mask.pages[0].geotiff_tags == image.pages[0].geotiff_tags
        assert mask.pages[0].geotiff_tags["ProjectedCSTypeGeoKey"] == 25832


def test_mask_has_the_resolution_of_its_image(tmp_path: Path) -> None:
    with write_mask(write_source(tmp_path / "scan.tif", resolution=(300, 150), resolutionunit="INCH")) as mask:
        tags = mask.pages[0].tags
        assert (tags["XResolution"].value, tags["YResolution"].value) == ((300, 1), (150, 1))
        assert tags["ResolutionUnit"].value == 2


def test_mask_of_an_ome_tiff_has_its_pixel_size_and_names_its_channels(tmp_path: Path) -> None:
    source = tmp_path / "cells.ome.tif"
    metadata = {
        "axes": "CYX", "PhysicalSizeX": 0.65, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.7,
        "PhysicalSizeYUnit": "µm", "Channel": {"Name": ["DAPI", "Actin & <tubulin>"]},
    }  # fmt: skip
    tifffile.imwrite(source, np.zeros((2, 60, 50), np.uint16), photometric="minisblack", metadata=metadata)
    with write_mask(source) as mask:
        assert mask.ome_metadata is not None
        image = tifffile.xml2dict(mask.ome_metadata)["OME"]["Image"]
        assert (image["Pixels"]["PhysicalSizeX"], image["Pixels"]["PhysicalSizeY"]) == (0.65, 0.7)
        assert image["Pixels"]["PhysicalSizeXUnit"] == "µm"
        assert image["Description"].endswith("DAPI, Actin & <tubulin>")


@pytest.mark.parametrize("content", [b"", b"II*\0broken", b"\x89PNG\r\n"])
def test_mask_of_a_file_that_is_no_tiff_has_neither(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.tif").write_bytes(content)
    with write_mask(tmp_path / "x.tif") as mask:
        assert mask.ome_metadata is None
        assert mask.pages[0].geotiff_tags is None


def test_error_among_the_strips_leaves_the_earlier_file(tmp_path: Path) -> None:
    def fail() -> Iterator[np.ndarray]:
        yield np.zeros((300, 50), np.uint8)
        raise ImageError("is not a complete image")

    (tmp_path / "mask.tif").write_text("earlier")
    with pytest.raises(ImageError):
        write_tiff_mask(tmp_path / "mask.tif", fail(), (600, 50), PALETTE, tmp_path / "mask.tif")
    assert (tmp_path / "mask.tif").read_text() == "earlier"
    assert len(list(tmp_path.iterdir())) == 1


def test_parts_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    ended = os.fork()
    if ended == 0:
        os._exit(0)
    os.waitpid(ended, 0)
    leftover, other = tmp_path / f".mask.tif-{ended}-abcdefgh", tmp_path / f".mask.tif-{os.getpid()}-abcdefgh"
    own = tmp_path / ".mask.tif-old-copy"
    for path in (leftover, other, own):
        path.write_text("part")
    with write_mask(write_source(tmp_path / "x.tif")):
        assert not leftover.exists()
        assert other.exists()
        assert own.exists()


@pytest.mark.parametrize(
    "options",
    [
        {"extratags": [(34737, 2, 8, "R\xe9seau|".encode("latin-1"), True)]},
        {"extratags": [(282, 5, 1, (72, 0), True), (283, 5, 1, (0, 0), True)]},
        {"extratags": [(296, 3, 1, 7, True)]},
    ],
)
def test_mask_of_a_tiff_with_invalid_tags_is_written(options: dict[str, Any], tmp_path: Path) -> None:
    with write_mask(write_source(tmp_path / "odd.tif", metadata=None, **options)) as mask:
        assert mask.pages[0].asarray().shape == (60, 50)


def test_mask_of_an_imagej_tiff_has_its_pixel_size(tmp_path: Path) -> None:
    source = tmp_path / "cells.tif"
    tifffile.imwrite(
        source, np.zeros((60, 50), np.uint8), imagej=True, resolution=(2.0, 4.0), metadata={"unit": "micron"}
    )
    with write_mask(source) as mask:
        tags = mask.pages[0].tags
        x, y = (tags[name].value for name in ("XResolution", "YResolution"))
        assert (x[0] / x[1], y[0] / y[1]) == (20_000, 40_000)
        assert tags["ResolutionUnit"].value == 3  # centimeter
