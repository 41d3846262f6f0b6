"""The contact sheet of the data card: which images of each split it shows, and how."""

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
from pipeline.report.sections.contact_sheet import (
    MAX_IMAGES,
    VEIL_COLOR,
    build_contact_sheet,
    render_thumbnail,
    select_rows,
)
from pipeline.report.sections.data_card import build_data_card
from pipeline.report.view_models import EmbeddedImage
from tests.report.test_browser import CHROMIUM, browser, opened  # noqa: F401

if TYPE_CHECKING:
    from tests.report.conftest import ReportProject

CLASSES = (
    SegmentationClass("nucleus", "#023e8a", True),
    SegmentationClass("ground", "#ffffff", False),
    SegmentationClass("rim", "#e9dfc7", False, is_boundary=True),
)


@given(st.dictionaries(st.sampled_from(SPLITS), st.integers(0, 200)))
def test_the_sheet_shows_as_many_of_each_split_as_there_are_and_fit(counts: dict[str, int]) -> None:
    rows = select_rows(counts)
    assert sum(map(len, rows.values())) == min(MAX_IMAGES, sum(counts.values()))
    for split, places in rows.items():
        assert places == sorted(set(places))
        assert all(0 <= place < counts[split] for place in places)
        steps = np.diff([-1, *places, counts[split]])
        assert not places or max(steps[1:-1], default=1) - min(steps[1:-1], default=1) <= 1
        smaller = min(len(places), *(len(other) for other in rows.values()))
        short = [other for other in rows if len(rows[other]) < len(places) - 1]
        assert len(places) <= smaller + 1 or all(len(rows[other]) == counts[other] for other in short)


def test_only_what_is_shown_is_read(make_project: type[ReportProject], tmp_path: Path) -> None:
    project, many = make_project(tmp_path), 5_000
    folder = project.root / PREPARED
    table = pd.read_csv(folder / PreparedData.SAMPLES)
    train = pd.concat([table[table["split"] == "train"].head(1)] * many, ignore_index=True)
    train["id"] = train["sha256"] = [f"image {row}" for row in range(many)]
    pd.concat([train, table[table["split"] != "train"]]).to_csv(folder / PreparedData.SAMPLES, index=False)
    size = (many, 256, 256)  # a gigabyte, of which the disk holds nothing
    open_memmap(folder / "train" / PreparedData.IMAGES, "w+", np.uint8, (*size, 3)).flush()
    open_memmap(folder / "train" / PreparedData.MASKS, "w+", np.uint8, size).flush()
    tracemalloc.start()
    found = build_data_card(ReportContext(Project(project.root)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.sheet is not None
    (name, shown), *_ = found.sheet.splits
    assert (name, [picture.caption for picture in shown[:2]]) == ("Training", ["image 156", "image 468"])
    assert peak < 50e6


def decoded(picture: EmbeddedImage) -> np.ndarray:
    content = b64decode(picture.src.split(",", 1)[1])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), dtype=int)


def pixels(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return decoded(render_thumbnail(image, mask, CLASSES, "alt", "caption"))


def test_each_picture_stands_with_its_own_name_and_mask(make_project: type[ReportProject], tmp_path: Path) -> None:
    def paint(split: str, row: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        mask = np.full((size, size), 1, np.uint8)
        mask[:, : size // 2 if row % 2 else 0] = 0
        mask[-1] = (0, 1, 2)[row % 3]  # every class stands somewhere
        return np.full((size, size, 3), 40 * row, np.uint8), mask

    project = make_project(tmp_path, paint=paint)
    for name, shown in build_contact_sheet(ReportContext(Project(project.root))).splits:
        split = "train" if name == "Training" else name.lower()
        assert [picture.caption for picture in shown] == project.ids(split)
        for row, picture in enumerate(shown):
            middle = decoded(picture)[len(decoded(picture)) // 2]
            left, right = middle[len(middle) // 4], middle[7 * len(middle) // 8]
            assert np.abs(right - 40 * row).max() < 12
            assert (left[0] > left[2] + 20) == bool(row % 2)  # the tint of the foreground, which is orange


def quarters(size: int = 96) -> np.ndarray:
    """Foreground, ground, rim and ignored pixels, a quarter each."""
    mask = np.repeat(np.repeat(np.array([[0, 1], [2, IGNORE]]), size // 2, 0), size // 2, 1)
    return mask.astype(np.uint8)


def test_a_thumbnail_shows_the_classes_and_what_does_not_count() -> None:
    shown = pixels(np.full((96, 96, 3), 90, np.uint8), quarters())
    size = len(shown)
    near, far = size // 2 - 1, size // 4  # of the foreground's corner
    assert np.abs(shown[far, near] - (0x02, 0x3E, 0x8A)).max() < 40  # its outline
    assert shown[far, far][2] > shown[far, far][0] + 20  # its tint
    assert np.abs(shown[far, 3 * far] - 90).max() < 12  # the ground is left as it is
    assert np.abs(shown[far, near + 2] - 90).max() < 50  # its edge too: foreground has the outline
    assert np.abs(shown[3 * far, near - 1] - (0xE9, 0xDF, 0xC7)).max() < 40
    assert np.abs(shown[3 * far, 3 * far] - (90 + 0.75 * (VEIL_COLOR - 90))).max() < 12


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_thumbnails_of_any_channels_and_depth_are_no_black_squares(channels: int, dtype: type) -> None:
    image: np.ndarray = np.zeros((64, 64, channels), dtype)
    image[..., 0] = np.linspace(0, 200 if dtype is np.uint8 else 3000, 64)  # 12 bits
    if channels >= 3:
        image[..., 2] = image[..., 0]
    if dtype is np.uint16:
        image[0, 0] = 65_535  # a hot pixel
    shown = pixels(image, np.ones((64, 64), np.uint8))
    assert shown.shape == (144, 144, 3)
    middle = shown[72, 120]
    assert middle[0] > 120
    assert (np.abs(middle - middle[0]).max() < 12) if channels < 3 else (middle[1] < 40 < middle[2])


def test_noise_does_not_blow_the_page_up(make_project: type[ReportProject], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def noise(split: str, row: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.integers(0, 256, (size, size, 3), np.uint8), rng.integers(0, 3, (size, size), np.uint8)

    project = make_project(tmp_path, paint=noise, size=160)
    addresses = [
        shown.src for _, split in build_contact_sheet(ReportContext(Project(project.root))).splits for shown in split
    ]
    assert len(addresses) == 14
    assert sum(map(len, addresses)) < 14 / 24 * 120_000
