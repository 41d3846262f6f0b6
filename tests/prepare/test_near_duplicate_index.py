"""Finding near-duplicates: copies saved in other formats, sizes and colors, without false positives."""

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

BACKGROUNDS = sorted((ROOT / "data/sample/backgrounds").iterdir())


def compute_fingerprint(image: Image.Image, sha256: str = "") -> ImageFingerprint:
    return ImageFingerprint.of(np.asarray(image.convert("RGB").resize((96, 96), Image.Resampling.LANCZOS)), sha256)


def open_image(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def compress_jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def crop_edges(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((width // 50, height // 50, width - width // 50, height - height // 50))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "low-quality JPEG": lambda image: compress_jpeg(image, 30),
    "smaller": lambda image: image.resize((image.width // 3, image.height // 3)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.3),
    "gray": lambda image: image.convert("L"),
    "cropped": crop_edges,
}


@pytest.fixture(scope="module")
def index() -> NearDuplicateIndex:
    """An index of all backgrounds, which contain no near-duplicates."""
    index = NearDuplicateIndex(NearDuplicates())
    for path in BACKGROUNDS:
        fingerprint = compute_fingerprint(open_image(path), path.name)
        assert index.find(fingerprint) == []
        index.add(path.stem, fingerprint)
    return index


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_find_returns_changed_copies(index: NearDuplicateIndex, change: Callable[[Image.Image], Image.Image]) -> None:
    hits = [path.stem in index.find(compute_fingerprint(change(open_image(path)))) for path in BACKGROUNDS]
    assert np.mean(hits) >= 0.9


def test_find_ignores_different_images_with_the_same_illumination() -> None:
    y, x = np.mgrid[:96, :96] / 96 - 0.5
    light = 170 * (1 - 1.2 * (x * x + y * y))
    index, thumbnails = NearDuplicateIndex(NearDuplicates()), []
    for number in range(60):
        random = np.random.default_rng(number)
        cells = ndimage.gaussian_filter((random.random((96, 96)) < 0.004).astype(float), 2)
        pixels = light + 20 * cells / cells.max() + random.normal(0, 4, light.shape)
        gray = np.repeat(pixels.clip(0, 255).astype(np.uint8)[..., None], 3, axis=-1)
        fingerprint = ImageFingerprint.of(gray, str(number))
        assert index.find(fingerprint) == []
        index.add(str(number), fingerprint)
        thumbnails.append(fingerprint.pixels)
    correlations = normalize_thumbnails(np.stack(thumbnails)) @ normalize_thumbnails(np.stack(thumbnails)).T
    assert correlations.min() > 0.95  # comparing thumbnails alone would report all of them


def test_find_returns_only_exact_copies_of_flat_images() -> None:
    index = NearDuplicateIndex(NearDuplicates())
    for level in (0, 100, 255):
        fingerprint = compute_fingerprint(Image.new("RGB", (96, 96), (level, level, level)), str(level))
        assert index.find(fingerprint) == []
        index.add(str(level), fingerprint)
    assert index.find(replace(fingerprint, sha256="100")) == ["100"]


@given(st.lists(st.integers(0, 30), max_size=200))
@settings(max_examples=30, deadline=None)
def test_find_returns_exactly_the_earlier_copies(seeds: list[int]) -> None:
    index, earlier_seeds = NearDuplicateIndex(NearDuplicates()), list[int]()
    for position, seed in enumerate(seeds):
        noise = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)
        fingerprint = ImageFingerprint.of(noise, f"file {position}")
        earlier = [str(other) for other, earlier_seed in enumerate(earlier_seeds) if earlier_seed == seed]
        assert index.find(fingerprint) == earlier
        index.add(str(position), fingerprint)
        earlier_seeds.append(seed)
