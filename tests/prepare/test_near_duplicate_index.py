"""Images that look the same are found however they were saved; others are not."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from scipy import ndimage

from pipeline.params.data.image_data import NearDuplicates
from pipeline.prepare.near_duplicates import ImageFingerprint, NearDuplicateIndex, normalize_thumbnails
from tests.prepare.conftest import ROOT

PHOTOGRAPHS = sorted((ROOT / "data/sample/backgrounds").iterdir())


def fingerprint(image: Image.Image, sha256: str = "") -> ImageFingerprint:
    return ImageFingerprint.of(np.asarray(image.convert("RGB").resize((96, 96), Image.Resampling.LANCZOS)), sha256)


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def cropped(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((width // 50, height // 50, width - width // 50, height - height // 50))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "a bad JPEG": lambda image: as_jpeg(image, 30),
    "a third of the size": lambda image: image.resize((image.width // 3, image.height // 3)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.3),
    "grey": lambda image: image.convert("L"),
    "without its edge": cropped,
}


@pytest.fixture(scope="module")
def seen() -> NearDuplicateIndex:
    """All photographs, and no two of them alike."""
    found = NearDuplicateIndex(NearDuplicates())
    for path in PHOTOGRAPHS:
        look = fingerprint(opened(path), path.name)
        assert found.find(look) == []
        found.add(path.stem, look)
    return found


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_copies_of_photographs_are_found(
    seen: NearDuplicateIndex, change: Callable[[Image.Image], Image.Image]
) -> None:
    hits = [path.stem in seen.find(fingerprint(change(opened(path)))) for path in PHOTOGRAPHS]
    assert np.mean(hits) >= 0.9


def test_pictures_of_one_microscope_are_no_copies_though_their_light_is_the_same() -> None:
    y, x = np.mgrid[:96, :96] / 96 - 0.5
    light = 170 * (1 - 1.2 * (x * x + y * y))
    found, thumbnails = NearDuplicateIndex(NearDuplicates()), []
    for index in range(60):
        random = np.random.default_rng(index)
        cells = ndimage.gaussian_filter((random.random((96, 96)) < 0.004).astype(float), 2)
        grey = light + 20 * cells / cells.max() + random.normal(0, 4, light.shape)
        gray = np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=-1)
        look = ImageFingerprint.of(gray, str(index))
        assert found.find(look) == []
        found.add(str(index), look)
        thumbnails.append(look.pixels)
    correlations = normalize_thumbnails(np.stack(thumbnails)) @ normalize_thumbnails(np.stack(thumbnails)).T
    assert correlations.min() > 0.95  # so thumbnails alone would take all for copies


def test_what_is_flat_looks_like_nothing_but_its_own_copy() -> None:
    found = NearDuplicateIndex(NearDuplicates())
    for grey in (0, 100, 255):
        look = fingerprint(Image.new("RGB", (96, 96), (grey, grey, grey)), str(grey))
        assert found.find(look) == []
        found.add(str(grey), look)
    assert found.find(replace(look, sha256="100")) == ["100"]


@given(st.lists(st.integers(0, 30), max_size=200))
@settings(max_examples=30, deadline=None)
def test_every_earlier_copy_is_found_and_nothing_else(indices: list[int]) -> None:
    found, names = NearDuplicateIndex(NearDuplicates()), list[int]()
    for place, index in enumerate(indices):
        noise = np.random.default_rng(index).integers(0, 256, (32, 32, 3), np.uint8)
        look = ImageFingerprint.of(noise, f"file {place}")
        earlier = [str(other) for other, one in enumerate(names) if one == index]
        assert found.find(look) == earlier
        found.add(str(place), look)
        names.append(index)
