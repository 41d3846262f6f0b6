"""The contact sheet of the data card: selected images of each split and their thumbnails."""

from __future__ import annotations

import io
import tracemalloc
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.format import open_memmap
from PIL import Image

from pipeline.artifacts.prepared_data import SPLITS, PreparedData, SegmentationClass
from pipeline.artifacts.project import PREPARED, Project
from pipeline.imaging import IGNORE
from pipeline.report.context import ReportContext
from pipeline.report.figures.thumbnail import VEIL_COLOR, render_thumbnail
from pipeline.report.images import EmbeddedImage
from pipeline.report.sections.contact_sheet import MAX_IMAGES, build_contact_sheet, select_rows
from pipeline.report.sections.data_card import build_data_card

if TYPE_CHECKING:
    from tests.report.conftest import ReportProject

CLASSES = (
    SegmentationClass("nucleus", "#023e8a", True),
    SegmentationClass("ground", "#ffffff", False),
    SegmentationClass("rim", "#e9dfc7", False, is_boundary=True),
)


@given(st.dictionaries(st.sampled_from(SPLITS), st.integers(0, 200)))
def test_select_rows_spreads_images_over_splits(counts: dict[str, int]) -> None:
    rows = select_rows(counts)
    assert sum(map(len, rows.values())) == min(MAX_IMAGES, sum(counts.values()))
    for split, indices in rows.items():
        assert indices == sorted(set(indices))
        assert all(0 <= index < counts[split] for index in indices)
        steps = np.diff([-1, *indices, counts[split]])
        assert not indices or max(steps[1:-1], default=1) - min(steps[1:-1], default=1) <= 1
        smaller = min(len(indices), *(len(other) for other in rows.values()))
        short = [other for other in rows if len(rows[other]) < len(indices) - 1]
        assert len(indices) <= smaller + 1 or all(len(rows[other]) == counts[other] for other in short)


def test_contact_sheet_reads_only_the_images_shown(make_project: type[ReportProject], tmp_path: Path) -> None:
    project, many = make_project(tmp_path), 5_000
    folder = project.root / PREPARED
    table = pd.read_csv(folder / PreparedData.SAMPLES)
    train = pd.concat([table[table["split"] == "train"].head(1)] * many, ignore_index=True)
    train["prepared_height"] = train["prepared_width"] = 256
    train["id"] = train["sha256"] = [f"image {row}" for row in range(many)]
    pd.concat([train, table[table["split"] != "train"]]).to_csv(folder / PreparedData.SAMPLES, index=False)
    size = (many, 256, 256)  # a sparse file of about a gigabyte
    open_memmap(folder / "train" / PreparedData.IMAGES, "w+", np.uint8, (*size, 3)).flush()
    open_memmap(folder / "train" / PreparedData.MASKS, "w+", np.uint8, size).flush()
    tracemalloc.start()
    card = build_data_card(ReportContext(Project(project.root), project.params.data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert card.sheet is not None
    (name, images), *_ = card.sheet.splits
    assert (name, [image.caption for image in images[:2]]) == ("Training", ["image 156", "image 468"])
    assert peak < 50e6


def decode_image(image: EmbeddedImage) -> np.ndarray:
    content = b64decode(image.src.split(",", 1)[1])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), dtype=int)


def render_pixels(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return decode_image(render_thumbnail(image, mask, CLASSES, "alt", "caption"))


def test_contact_sheet_shows_each_image_with_its_name_and_mask(
    make_project: type[ReportProject], tmp_path: Path
) -> None:
    def paint(split: str, row: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        mask = np.full((size, size), 1, np.uint8)
        mask[:, : size // 2 if row % 2 else 0] = 0
        mask[-1] = (0, 1, 2)[row % 3]  # every class occurs
        return np.full((size, size, 3), 40 * row, np.uint8), mask

    project = make_project(tmp_path, paint=paint)
    for name, images in build_contact_sheet(ReportContext(Project(project.root), project.params.data)).splits:
        split = "train" if name == "Training" else name.lower()
        assert [image.caption for image in images] == project.ids(split)
        for row, image in enumerate(images):
            thumbnail = decode_image(image)
            middle = thumbnail[len(thumbnail) // 2]
            left, right = middle[len(middle) // 4], middle[7 * len(middle) // 8]
            assert np.abs(right - 40 * row).max() < 12
            assert (left[0] > left[2] + 20) == bool(row % 2)  # foreground is tinted orange


def create_quarters(size: int = 96) -> np.ndarray:
    """Create a mask with a quarter each of foreground, ground, rim and ignored pixels."""
    mask = np.repeat(np.repeat(np.array([[0, 1], [2, IGNORE]]), size // 2, 0), size // 2, 1)
    return mask.astype(np.uint8)


def test_thumbnail_marks_classes_and_ignored_pixels() -> None:
    thumbnail = render_pixels(np.full((96, 96, 3), 90, np.uint8), create_quarters())
    size = len(thumbnail)
    near, far = size // 2 - 1, size // 4  # relative to the foreground's corner
    assert np.abs(thumbnail[far, near] - (0x02, 0x3E, 0x8A)).max() < 40  # its outline
    assert thumbnail[far, far][2] > thumbnail[far, far][0] + 20  # its tint
    assert np.abs(thumbnail[far, 3 * far] - 90).max() < 12  # the ground is unchanged
    assert np.abs(thumbnail[far, near + 2] - 90).max() < 50  # its edge is unchanged: only foreground has an outline
    assert np.abs(thumbnail[3 * far, near - 1] - (0xE9, 0xDF, 0xC7)).max() < 40
    assert np.abs(thumbnail[3 * far, 3 * far] - (90 + 0.75 * (VEIL_COLOR - 90))).max() < 12


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_thumbnails_of_any_channels_and_dtype_have_contrast(channels: int, dtype: type) -> None:
    image: np.ndarray = np.zeros((64, 64, channels), dtype)
    image[..., 0] = np.linspace(0, 200 if dtype is np.uint8 else 3000, 64)  # 12 bits
    if channels >= 3:
        image[..., 2] = image[..., 0]
    if dtype is np.uint16:
        image[0, 0] = 65_535  # a hot pixel
    thumbnail = render_pixels(image, np.ones((64, 64), np.uint8))
    assert thumbnail.shape == (144, 144, 3)
    middle = thumbnail[72, 120]
    assert middle[0] > 120
    assert (np.abs(middle - middle[0]).max() < 12) if channels < 3 else (middle[1] < 40 < middle[2])


def test_contact_sheet_of_noise_has_a_limited_size(make_project: type[ReportProject], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def noise(split: str, row: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.integers(0, 256, (size, size, 3), np.uint8), rng.integers(0, 3, (size, size), np.uint8)

    project = make_project(tmp_path, paint=noise, size=160)
    sheet = build_contact_sheet(ReportContext(Project(project.root), project.params.data))
    urls = [thumbnail.src for _, split in sheet.splits for thumbnail in split]
    assert len(urls) == 14
    assert sum(map(len, urls)) < 14 / 24 * 120_000
