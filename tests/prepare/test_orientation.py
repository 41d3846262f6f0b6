"""Masks and their turned images stay aligned, whichever pixels the masks cover."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS
from pipeline.imaging.metadata import read_orientation, reverse_orientation, swaps_sides
from pipeline.imaging.tiff import turn_upright
from tests.prepare.conftest import NAMES, WHOLE, shown, table


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    return found


def as_stored(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Find the pixels that this orientation turns into those that are given."""
    return turn_upright(pixels, reverse_orientation(orientation))


@pytest.mark.parametrize("kind", ["png", "webp", "tif"])
@pytest.mark.parametrize("covers", ["upright", "stored", "own"])
def test_masks_and_turned_images_stay_aligned(cells: Path, run: Any, covers: str, kind: str) -> None:
    images, masks = {}, {}
    for place, name in enumerate(NAMES):
        rng, orientation = np.random.default_rng(place), place % 8 + 1
        images[name], masks[name] = rng.integers(0, 256, (16, 16, 3), np.uint8), rng.integers(0, 3, (16, 16), np.uint8)
        for folder in ("images", "masks"):
            (cells / folder / f"{name}.png").unlink()
        stored = as_stored(images[name], orientation)
        if kind == "tif":
            tags = [(274, 3, 1, orientation, True)]
            tifffile.imwrite(cells / "images" / f"{name}.tif", stored, photometric="rgb", extratags=tags)
        else:
            options = {"lossless": True} if kind == "webp" else {}
            Image.fromarray(stored).save(cells / "images" / f"{name}.{kind}", exif=exif(orientation), **options)
        mask = masks[name] if covers == "upright" else as_stored(masks[name][..., None], orientation)[..., 0]
        own = exif(orientation if covers == "own" else 1)
        Image.fromarray(mask).save(cells / "masks" / f"{name}.png", exif=own)
    prepared = run(cells, mask_orientation=None if covers == "own" else covers)
    ids = [row["id"] for row in table(prepared).values()]
    assert sorted(ids) == sorted(NAMES)
    for split in (*SPLITS, SHOWCASE):
        names = [name for name, row in table(prepared).items() if row["split"] == Path(split).name]
        for name, image, mask in zip(
            names, np.load(prepared / split / "images.npy"), np.load(prepared / split / "masks.npy"), strict=True
        ):
            np.testing.assert_array_equal(image, images[name])
            np.testing.assert_array_equal(np.array([1, 0, 2])[mask], masks[name])  # in the section's order of classes


def test_masks_of_turned_tiffs_that_pillow_cannot_open_stay_aligned(cells: Path, run: Any, refused: Any) -> None:
    """Five bands: the orientation is read by tifffile, and so must be what the mask is turned by."""
    masks = {}
    for place, name in enumerate(NAMES):
        rng = np.random.default_rng(place)
        bands, masks[name] = rng.integers(0, 256, (16, 16, 5), np.uint8), rng.integers(0, 3, (16, 16), np.uint8)
        for folder in ("images", "masks"):
            (cells / folder / f"{name}.png").unlink()
        tifffile.imwrite(
            cells / "images" / f"{name}.tif",
            as_stored(bands, 6),
            photometric="minisblack",
            planarconfig="contig",
            extratags=[(274, 3, 1, 6, True)],
        )
        Image.fromarray(as_stored(masks[name][..., None], 6)[..., 0]).save(cells / "masks" / f"{name}.png")
    assert "may cover their turned images upright or as they are stored" in refused(cells, channels=5)
    _, mask = shown(run(cells, channels=5, mask_orientation="stored"))
    np.testing.assert_array_equal(np.array([1, 0, 2])[mask], masks["cell0"])


@pytest.mark.parametrize("orientation", range(2, 9))
def test_masks_that_fit_either_way_are_refused_without_a_choice(cells: Path, refused: Any, orientation: int) -> None:
    square = np.ascontiguousarray(WHOLE[:, :16])
    for place, name in enumerate(NAMES):
        image = Image.fromarray(np.random.default_rng(place).integers(0, 256, (16, 16, 3), np.uint8))
        image.save(cells / "images" / f"{name}.png", exif=exif(orientation))
        Image.fromarray(square).save(cells / "masks" / f"{name}.png")
    said = refused(cells)
    assert "12 masks that may cover their turned images upright or as they are stored" in said
    assert f"(EXIF orientation {orientation})" in said


def test_read_orientation_of_odd_files_is_upright(tmp_path: Path) -> None:
    assert read_orientation(b"") == 1
    assert read_orientation(b"no picture") == 1
    for value, expected in ((0, 1), (3, 3), (9, 1)):
        Image.new("L", (3, 2)).save(tmp_path / "a.png", exif=exif(value))
        assert read_orientation((tmp_path / "a.png").read_bytes()) == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_swaps_sides_where_turning_does(orientation: int) -> None:
    turned = turn_upright(np.zeros((2, 3, 1)), orientation)
    assert swaps_sides(orientation) is (turned.shape == (3, 2, 1))
