"""Masks of showcase images stay aligned with their images for any EXIF orientation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import PipelineError
from pipeline.imaging.mask_to_classes import MaskEncoding
from pipeline.imaging.metadata import reverse_orientation
from pipeline.imaging.resize import FixedSize
from pipeline.imaging.tiff import turn_upright
from pipeline.inference.preprocessing import Preprocessing
from pipeline.params import ShowcaseImage
from pipeline.showcase.showcase_image import read_showcase_image

VALUES = MaskEncoding.from_values([(0,), (1, 255)], ())
PREPROCESSING = Preprocessing(FixedSize((16, 16), "stretch"), 3, 8)
RNG = np.random.default_rng(0)
IMAGE, MASK = RNG.integers(0, 256, (16, 16, 3), np.uint8), RNG.integers(0, 2, (16, 16, 1), np.uint8)


def write_image(folder: Path, orientation: int, covers: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    reverse = reverse_orientation(orientation)
    Image.fromarray(turn_upright(IMAGE, reverse)).save(folder / "photo.png", exif=exif)
    mask = MASK if covers == "upright" else turn_upright(MASK, reverse)
    options = {"exif": exif} if covers == "own" else {}
    Image.fromarray(mask[..., 0]).save(folder / "mask.png", **options)


def read_mask(folder: Path, mask_orientation: Any) -> Any:
    entry = ShowcaseImage(file="photo.png", mask="mask.png")
    image = read_showcase_image(entry, folder, PREPROCESSING, VALUES, mask_orientation)
    np.testing.assert_array_equal(image.network_input, IMAGE)
    return image.truth


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("covers", "choice"), [("upright", "upright"), ("stored", "stored"), ("own", None)])
def test_read_showcase_image_keeps_image_and_mask_aligned(
    tmp_path: Path, orientation: int, covers: str, choice: Any
) -> None:
    write_image(tmp_path, orientation, covers)
    np.testing.assert_array_equal(read_mask(tmp_path, choice), MASK[..., 0])


@pytest.mark.parametrize("orientation", range(2, 9))
def test_read_showcase_image_refuses_an_ambiguous_mask_orientation(tmp_path: Path, orientation: int) -> None:
    write_image(tmp_path, orientation, "upright")
    with pytest.raises(PipelineError, match=rf"upright and as stored \(EXIF orientation {orientation}\)"):
        read_mask(tmp_path, None)


def test_read_showcase_image_accepts_every_value_of_a_class(tmp_path: Path) -> None:
    write_image(tmp_path, 1, "upright")
    Image.fromarray(MASK[..., 0] * np.where(np.arange(16) < 8, 1, 255).astype(np.uint8)).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path, None), MASK[..., 0])
