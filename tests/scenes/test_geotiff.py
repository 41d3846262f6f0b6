"""GeoTIFFs that are large, broken or malicious: a clear message, bounded memory, and no other file is opened."""

from __future__ import annotations

import struct
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.imaging.errors import ImageError
from pipeline.scenes.geotiff import GeoTiff, open_geotiff
from pipeline.scenes.tile_file import TileReference, read_tile
from tests.aerial import CRS, SIDE, draw_scene, locate_scene, write_geotiff
from tests.optional import import_or_skip

rasterio = import_or_skip("rasterio")

VRT = '<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename>/etc/passwd</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>'  # fmt: skip  # noqa: E501


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_geotiff(tmp_path / "scene.tif", draw_scene(0)[0])


def test_windows_are_those_of_rasterio_and_beyond_the_edge_invalid(path: Path) -> None:
    pixels = open_geotiff(path).read(slice(90, 100), slice(-5, 7), (3, 1))
    expected = np.moveaxis(draw_scene(0)[0][[2, 0], 90:, :7], 0, -1)
    np.testing.assert_array_equal(pixels.values[:6, 5:], expected)
    assert pixels.is_valid[:6, 5:].all()
    assert pixels.is_valid.sum() == 42
    assert not pixels.values[~pixels.is_valid].any()


def test_pixel_is_in_meters_if_the_crs_is_projected(path: Path, tmp_path: Path) -> None:
    pixel = open_geotiff(path).pixel
    assert pixel is not None and (pixel.size.height, pixel.size.width, pixel.size.unit) == (10, 10, "m")
    new_york = {"crs": "EPSG:2263", "transform": rasterio.Affine(10, 0, 980_000, 0, -10, 200_000)}
    feet = open_geotiff(write_geotiff(tmp_path / "feet.tif", draw_scene(0)[0], **new_york)).pixel
    assert feet is not None and feet.size.width == pytest.approx(3.048, abs=1e-4)
    assert open_geotiff(write_geotiff(tmp_path / "degrees.tif", draw_scene(0)[0], crs="EPSG:4326")).pixel is None


@pytest.mark.parametrize(
    ("crs", "place", "meters"),  # height and width on the ground of a pixel of 10 units
    [
        ("EPSG:32632", (500_000, 5_500_000), (10, 10)),
        ("EPSG:3035", (2_700_000, 1_900_000), (10, 10)),
        # At 52 degrees north: the cosine times the radii of curvature of WGS 84, relative to its semi-major axis.
        ("EPSG:3857", (1_113_194, 6_800_125), (6.1537, 6.1695)),
        ("EPSG:3395", (1_113_194, 6_766_432), (6.1695, 6.1695)),
        ("EPSG:32662", (1_000_000, 6_679_169), (10.0083, 5.0126)),  # equirectangular, at 60 degrees
        ("EPSG:3031", (0, 0), (10.2799, 10.2799)),  # at the pole, 1 / 0.97276
        ("ESRI:54008", (0, 5_000_000), (10, 10)),  # sinusoidal, at the central meridian
    ],
)
def test_pixel_is_measured_on_the_ground_if_the_crs_is_not_true_to_scale(
    crs: str, place: tuple[float, float], meters: tuple[float, float], tmp_path: Path
) -> None:
    transform = rasterio.Affine(10, 0, place[0] - 10 * SIDE / 2, 0, -10, place[1] + 10 * SIDE / 2)
    pixel = GeoTiff(write_geotiff(tmp_path / "scene.tif", draw_scene(0)[0], crs=crs, transform=transform)).pixel
    assert pixel is not None
    assert (pixel.size.height, pixel.size.width) == pytest.approx(meters, rel=1e-4)
    assert ("measured on the ground" in pixel.source) is (meters != (10, 10))


@pytest.mark.parametrize(
    ("crs", "place"),
    [
        ("ESRI:54008", (5_000_000, 6_000_000)),  # sinusoidal, 76 degrees from the central meridian
        ("EPSG:32632", (1e8, 1e8)),  # not on the earth
        ("+proj=eqc +R=1737400 +units=m", (0, 0)),  # on the moon
    ],
)
def test_pixel_that_has_no_sides_on_the_ground_has_no_size(
    crs: str, place: tuple[float, float], tmp_path: Path
) -> None:
    transform = rasterio.Affine(10, 0, place[0], 0, -10, place[1])
    assert GeoTiff(write_geotiff(tmp_path / "scene.tif", draw_scene(0)[0], crs=crs, transform=transform)).pixel is None


def test_changed_file_is_opened_again(path: Path) -> None:
    assert open_geotiff(path).width == SIDE
    write_geotiff(path, draw_scene(0)[0][:, :, :64])
    assert open_geotiff(path).width == 64


def test_reference_is_parsed_back() -> None:
    for is_mask in (False, True):
        tile = TileReference("a [x=1]/b.tif", 512, 0, 256, 128, (4, 3), is_mask)
        assert TileReference.parse(str(tile)) == tile
    assert TileReference.parse("images/a[z=3].tif") is None


def write_text(path: Path) -> None:
    path.write_text(VRT)


def write_vrt_with_magic(path: Path) -> None:
    path.write_bytes(b"II*\0" + VRT.encode())


def truncate_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def write_transform(*numbers: float) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        write_geotiff(path, draw_scene(0)[0], transform=rasterio.Affine(*numbers))

    return write


def write_overviews(path: Path) -> None:
    with rasterio.open(path, "r+") as file:
        file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE="/vsicurl/http://example.com/a.tif")


def write_complex(path: Path) -> None:
    write_geotiff(path, draw_scene(0)[0].astype(np.complex64))


def write_pages(path: Path) -> None:
    import tifffile

    tifffile.imwrite(path, np.zeros((3, 32, 32), np.uint8), photometric="minisblack")


def write_huge_tile(path: Path) -> None:
    """Declare one tile of 60,000 x 60,000 px."""
    tags = [(256, 4, 60_000), (257, 4, 60_000), (258, 3, 8), (259, 3, 8), (262, 3, 1), (277, 3, 1),
            (322, 4, 60_000), (323, 4, 60_000), (324, 4, 8), (325, 4, 4)]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", code, kind, 1, value) for code, kind, value in tags)
    path.write_bytes(b"II*\0" + struct.pack("<I", 12) + bytes(4) + struct.pack("<H", len(tags)) + entries + bytes(4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (write_text, "is not a TIFF"),
        (write_vrt_with_magic, "is not a complete GeoTIFF"),
        (truncate_header, "is not a complete GeoTIFF"),
        (write_transform(0, 0, 5e5, 0, 0, 5e6), "not invertible"),
        (write_transform(10, 0, float("nan"), 0, -10, 5e6), "not finite"),
        (write_overviews, "refer to another file"),
        (write_complex, "values of type complex64"),
        (write_pages, "contains 3 images"),
        (write_huge_tile, "tiles or strips of more than"),
    ],
)
def test_unusable_file_is_refused(path: Path, change: Callable[[Path], None], message: str) -> None:
    change(path)
    with pytest.raises(ImageError, match=message):
        GeoTiff(path)


@pytest.mark.parametrize("name", ["", "folder"])
def test_missing_files_and_folders_are_os_errors(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        GeoTiff(tmp_path / (name or "missing.tif"))


def test_part_that_is_missing_is_found_when_it_is_read(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:2000] + bytes(20_000) + content[22_000:])
    scene = GeoTiff(path)
    with pytest.raises(ImageError, match="is not a complete GeoTIFF"):
        read_tile(scene, TileReference("", 0, 0, SIDE, SIDE, (1,)))


def test_side_files_are_not_read(path: Path) -> None:
    metadata = '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">/vsicurl/http://x/</MDI></Metadata>'
    Path(f"{path}.aux.xml").write_text(
        f'{metadata}<PAMRasterBand band="1"><NoDataValue>7</NoDataValue></PAMRasterBand></PAMDataset>'
    )
    Path(f"{path}.ovr").write_bytes(b"II*\0broken")
    assert GeoTiff(path).nodata is None


def test_memory_depends_on_the_window(tmp_path: Path) -> None:
    """A sparse file declares 40,000 x 40,000 px, 3.2 GB."""
    path = tmp_path / "large.tif"
    shape = {"height": 40_000, "width": 40_000, "count": 1, "dtype": "uint16"}
    shape |= {"crs": CRS, "transform": locate_scene(0)}
    with rasterio.open(path, "w", driver="GTiff", tiled=True, SPARSE_OK=True, compress="deflate", **shape):
        pass
    tracemalloc.start()
    pixels = open_geotiff(path).read(slice(20_000, 20_256), slice(20_000, 20_256), (1,))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert pixels.values.shape == (256, 256, 1)
    assert peak < 20_000_000


def test_missing_rasterio_is_an_error_that_names_the_extra(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(PipelineError, match=r"unet-learning-report\[geo\]"):
        GeoTiff(path)
