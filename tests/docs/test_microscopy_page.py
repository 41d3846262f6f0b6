"""The sections `data` of docs/how-to/microscopy.md prepare the data that they are for."""

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


def write(folder: Path, count: int, pair: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]) -> None:
    for index in range(count):
        for kind, array in zip(("images", "masks"), pair(np.random.default_rng(index)), strict=True):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / kind / f"{index:03}.png")


def membranes(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A slice of 512 x 512 px, grey of 8 bits: cells with dark membranes between them."""
    places = random.integers(0, 512, (60, 2))
    y, x = np.mgrid[:512, :512]
    distances = np.stack([np.hypot(y - top, x - left) for top, left in places])
    first, second = np.partition(distances, 1, axis=0)[:2]
    cell = second - first > 5
    grey = np.where(cell, 180, 60) + random.normal(0, 15, cell.shape)
    return grey.clip(0, 255).astype(np.uint8), np.where(cell, 255, 0).astype(np.uint8)


def nuclei(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Grey of 8 bits, and a mask of 16 bits that numbers them."""
    numbers = np.zeros((200, 260), np.uint16)
    y, x = np.mgrid[:200, :260]
    for number in range(1, 13):
        top, left = random.integers(10, 190), random.integers(10, 250)
        numbers[np.hypot(y - top, x - left) < 14] = number
    grey = 30 + 150 * (numbers > 0) + random.normal(0, 10, numbers.shape)
    return grey.clip(0, 255).astype(np.uint8), numbers


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], Dataset]:
    """Prepares what a section of the page asks for, in the current folder."""
    shipped: Params = read_params(ROOT / "params.yaml")
    monkeypatch.chdir(tmp_path)
    return lambda section: prepare(shipped.model_copy(update={"data": FolderData.model_validate(section["data"])}))


def test_membranes(prepared: Callable[..., Dataset]) -> None:
    write(Path("em"), 30, membranes)
    rows = [f"{index:03},{'train' if index < 20 else 'validation' if index < 25 else 'test'}" for index in range(30)]
    Path("em/splits.csv").write_text("\n".join(["id,split", *rows]))
    data = prepared(MEMBRANES)
    assert [item.name for item in data.classes] == ["membrane", "cell"]
    images = np.load(PREPARED / "validation" / PreparedData.IMAGES)
    assert (images.shape, images.dtype) == ((5, 512, 512, 1), np.uint8)
    with Image.open("em/images/020.png") as image:
        np.testing.assert_array_equal(images[0, ..., 0], np.asarray(image))
    assert set(VARIANTS["variants"]) == {"unet", "unet_wide", "unet_no_augmentation"}


def test_nuclei(prepared: Callable[..., Dataset]) -> None:
    write(Path("nuclei"), 40, nuclei)
    data = prepared(NUCLEI)
    assert [item.name for item in data.classes] == ["background", "nucleus", "border"]
    for split in SPLITS:
        images, masks = (np.load(PREPARED / split / file) for file in (PreparedData.IMAGES, PreparedData.MASKS))
        assert images.shape[1:] == (256, 256, 1)
        assert set(np.unique(masks)) == {0, 1, 2, IGNORE}
        for mask in masks:  # the insides of nuclei that touch lie apart
            pieces, _ = ndimage.label(mask == 1, np.ones((3, 3)))
            around = ndimage.grey_dilation(pieces, size=3)
            assert not ((mask == 1) & (around != pieces)).any()
