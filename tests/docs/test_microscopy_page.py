"""The `data` sections of docs/how-to/microscopy.md prepare the data that they describe."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML
from scipy import ndimage

from pipeline.artifacts.prepared_data import SPLITS, Dataset, PreparedData
from pipeline.artifacts.project import PREPARED
from pipeline.imaging import IGNORE
from pipeline.params import Params
from pipeline.params.data.image_data import FolderData
from pipeline.params.file import read_params
from pipeline.prepare.prepare_data import prepare

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/microscopy.md").read_text(encoding="utf-8")
MEMBRANES, VARIANTS, NUCLEI = map(YAML(typ="safe").load, re.findall("```yaml\n(.*?)```", PAGE, re.DOTALL))


def write_pairs(folder: Path, count: int, draw: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]) -> None:
    for index in range(count):
        for kind, array in zip(("images", "masks"), draw(np.random.default_rng(index)), strict=True):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / kind / f"{index:03}.png")


def draw_membranes(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw an 8-bit gray slice of 512 x 512 px, with dark membranes between cells, and its mask."""
    centers = random.integers(0, 128, (60, 2))
    y, x = np.mgrid[:128, :128]
    distances = np.stack([np.hypot(y - top, x - left) for top, left in centers])
    first, second = np.partition(distances, 1, axis=0)[:2]
    cell = np.kron(second - first > 1.25, np.ones((4, 4), bool))
    gray = np.where(cell, 180, 60) + random.normal(0, 15, cell.shape)
    return gray.clip(0, 255).astype(np.uint8), np.where(cell, 255, 0).astype(np.uint8)


def draw_nuclei(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw nuclei in an 8-bit gray image, and number them in a 16-bit mask."""
    numbers = np.zeros((200, 260), np.uint16)
    y, x = np.mgrid[:200, :260]
    for number in range(1, 13):
        top, left = random.integers(10, 190), random.integers(10, 250)
        numbers[np.hypot(y - top, x - left) < 14] = number
    gray = 30 + 150 * (numbers > 0) + random.normal(0, 10, numbers.shape)
    return gray.clip(0, 255).astype(np.uint8), numbers


@pytest.fixture
def prepare_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], Dataset]:
    """Return a function that prepares the data of a section in the current folder."""
    shipped: Params = read_params(ROOT / "params.yaml")
    monkeypatch.chdir(tmp_path)
    return lambda section: prepare(shipped.model_copy(update={"data": FolderData.model_validate(section["data"])}))


def test_membranes_section_prepares_slices_unchanged(prepare_section: Callable[..., Dataset]) -> None:
    write_pairs(Path("em"), 30, draw_membranes)
    rows = [f"{index:03},{'train' if index < 20 else 'validation' if index < 25 else 'test'}" for index in range(30)]
    Path("em/splits.csv").write_text("\n".join(["id,split", *rows]))
    data = prepare_section(MEMBRANES)
    assert [item.name for item in data.classes] == ["membrane", "cell"]
    images = np.load(PREPARED / "validation" / PreparedData.IMAGES)
    assert (images.shape, images.dtype) == ((5, 512, 512, 1), np.uint8)
    with Image.open("em/images/020.png") as image:
        np.testing.assert_array_equal(images[0, ..., 0], np.asarray(image))
    assert set(VARIANTS["variants"]) == {"unet", "unet_wide", "unet_no_augmentation"}


def test_nuclei_section_separates_touching_nuclei(prepare_section: Callable[..., Dataset]) -> None:
    write_pairs(Path("nuclei"), 40, draw_nuclei)
    data = prepare_section(NUCLEI)
    assert [item.name for item in data.classes] == ["background", "nucleus", "border"]
    for split in SPLITS:
        images, masks = (np.load(PREPARED / split / file) for file in (PreparedData.IMAGES, PreparedData.MASKS))
        assert images.shape[1:] == (256, 256, 1)
        assert set(np.unique(masks)) == {0, 1, 2, IGNORE}
        for mask in masks:  # the insides of touching nuclei are separated
            pieces, _ = ndimage.label(mask == 1, np.ones((3, 3)))
            around = ndimage.grey_dilation(pieces, size=3)
            assert not ((mask == 1) & (around != pieces)).any()
