"""Masks stay aligned with images that have an EXIF orientation."""

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
from tests.prepare.conftest import MASK, NAMES, load_showcase, read_samples


def create_exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def undo_orientation(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return the stored pixels that this orientation turns into the given ones."""
    return turn_upright(pixels, reverse_orientation(orientation))


@pytest.mark.parametrize("kind", ["png", "webp", "tif"])
@pytest.mark.parametrize("covers", ["upright", "stored", "own"])
def test_masks_and_rotated_images_stay_aligned(cells: Path, run: Any, covers: str, kind: str) -> None:
    images, masks = {}, {}
    for index, name in enumerate(NAMES):
        rng, orientation = np.random.default_rng(index), index % 8 + 1
        images[name], masks[name] = rng.integers(0, 256, (16, 16, 3), np.uint8), rng.integers(0, 3, (16, 16), np.uint8)
        for folder in ("images", "masks"):
            (cells / folder / f"{name}.png").unlink()
        stored = undo_orientation(images[name], orientation)
        if kind == "tif":
            tags = [(274, 3, 1, orientation, True)]
            tifffile.imwrite(cells / "images" / f"{name}.tif", stored, photometric="rgb", extratags=tags)
        else:
            options = {"lossless": True} if kind == "webp" else {}
            Image.fromarray(stored).save(cells / "images" / f"{name}.{kind}", exif=create_exif(orientation), **options)
        mask = masks[name] if covers == "upright" else undo_orientation(masks[name][..., None], orientation)[..., 0]
        mask_exif = create_exif(orientation if covers == "own" else 1)
        Image.fromarray(mask).save(cells / "masks" / f"{name}.png", exif=mask_exif)
    prepared = run(cells, mask_orientation=None if covers == "own" else covers)
    ids = [row["id"] for row in read_samples(prepared).values()]
    assert sorted(ids) == sorted(NAMES)
    for split in (*SPLITS, SHOWCASE):
        names = [name for name, row in read_samples(prepared).items() if row["split"] == Path(split).name]
        for name, image, mask in zip(
            names, np.load(prepared / split / "images.npy"), np.load(prepared / split / "masks.npy"), strict=True
        ):
            np.testing.assert_array_equal(image, images[name])
            np.testing.assert_array_equal(np.array([1, 0, 2])[mask], masks[name])  # in the section's order of classes


def test_masks_of_rotated_multichannel_tiffs_stay_aligned(cells: Path, run: Any, get_prepare_error: Any) -> None:
    """Pillow cannot open five bands, so tifffile must read the orientation for image and mask."""
    masks = {}
    for index, name in enumerate(NAMES):
        rng = np.random.default_rng(index)
        bands, masks[name] = rng.integers(0, 256, (16, 16, 5), np.uint8), rng.integers(0, 3, (16, 16), np.uint8)
        for folder in ("images", "masks"):
            (cells / folder / f"{name}.png").unlink()
        tifffile.imwrite(
            cells / "images" / f"{name}.tif",
            undo_orientation(bands, 6),
            photometric="minisblack",
            planarconfig="contig",
            extratags=[(274, 3, 1, 6, True)],
        )
        Image.fromarray(undo_orientation(masks[name][..., None], 6)[..., 0]).save(cells / "masks" / f"{name}.png")
    assert "orientation is ambiguous" in get_prepare_error(cells, channels=5)
    _, mask = load_showcase(run(cells, channels=5, mask_orientation="stored"))
    np.testing.assert_array_equal(np.array([1, 0, 2])[mask], masks["cell0"])


@pytest.mark.parametrize("orientation", range(2, 9))
def test_ambiguous_mask_orientation_is_refused(cells: Path, get_prepare_error: Any, orientation: int) -> None:
    square = np.ascontiguousarray(MASK[:, :16])
    for index, name in enumerate(NAMES):
        image = Image.fromarray(np.random.default_rng(index).integers(0, 256, (16, 16, 3), np.uint8))
        image.save(cells / "images" / f"{name}.png", exif=create_exif(orientation))
        Image.fromarray(square).save(cells / "masks" / f"{name}.png")
    message = get_prepare_error(cells)
    assert "12 masks whose orientation is ambiguous" in message
    assert f"(EXIF orientation {orientation})" in message


def test_read_orientation_of_invalid_values_is_upright(tmp_path: Path) -> None:
    assert read_orientation(b"") == 1
    assert read_orientation(b"not an image") == 1
    for value, expected in ((0, 1), (3, 3), (9, 1)):
        Image.new("L", (3, 2)).save(tmp_path / "a.png", exif=create_exif(value))
        assert read_orientation((tmp_path / "a.png").read_bytes()) == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_swaps_sides_agrees_with_turn_upright(orientation: int) -> None:
    rotated = turn_upright(np.zeros((2, 3, 1)), orientation)
    assert swaps_sides(orientation) is (rotated.shape == (3, 2, 1))
