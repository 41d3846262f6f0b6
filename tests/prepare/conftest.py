"""Fixtures with small data sources and their parameters."""

import csv
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, PreparedData
from pipeline.data_check.validation_report import ValidationReport, examine_data
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.params.data import Data
from pipeline.params.data.composites import Samples
from pipeline.params.data.image_data import FolderData, ImageMaskData
from pipeline.params.file import read_params
from pipeline.prepare.prepare_data import prepare
from tests.conftest import load_shipped_params

ROOT = Path(__file__).parents[2]
ANIMALS = ("ant", "bat", "cat", "doe", "eel", "fly", "gnu", "hen")
BACKGROUNDS = ("attic", "beach", "creek", "dunes", "earth", "field")

ParamsFactory = Callable[..., Params]


def create_disc(side: int = 48) -> Image.Image:
    """Create a cut-out: an orange disc with a soft edge over transparent green."""
    y, x = np.mgrid[:side, :side] + 0.5 - side / 2
    alpha = np.clip(side / 2 - np.hypot(x, y), 0, 1)
    pixels = np.where(alpha[..., None] > 0, (230, 120, 40), (0, 255, 0))
    return Image.fromarray(np.dstack([pixels, 255 * alpha]).astype(np.uint8), "RGBA")


def write_source(folder: Path, animals: tuple[str, ...] = ANIMALS, backgrounds: tuple[str, ...] = BACKGROUNDS) -> Path:
    """Write a source like data/sample; names that differ only in digits at the end are one group."""
    rows = []
    for kind, names in (("animal", (*animals, "dog")), ("background", (*backgrounds, "aitzgorri"))):
        (folder / f"{kind}s").mkdir(parents=True)
        for index, name in enumerate(names):
            if kind == "animal":
                create_disc().save(folder / "animals" / f"{name}.webp", lossless=True)
            else:
                color = (20 * index, 90, 200 - 20 * index)
                Image.new("RGB", (64, 48), color).save(folder / "backgrounds" / f"{name}.jpg")
            rows.append((kind, name, name.rstrip("0123456789")))
    with (folder / "sources.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("kind", "name", "group"), *rows])
    return folder


@pytest.fixture(scope="session")
def composite_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("tiny"), animals=(*ANIMALS, "gnu2"))


@pytest.fixture(scope="session")
def create_params() -> ParamsFactory:
    """Return a function that creates the shipped parameters with changes of `data`."""
    params = read_params(ROOT / "params.yaml")

    def create(
        samples: tuple[int, int, int] = (8, 4, 4), path: Path = ROOT / "data/sample", **changes: object
    ) -> Params:
        train, validation, test = samples
        counts = Samples(train=train, validation=validation, test=test)
        data = params.data.model_copy(update={"samples": counts, "path": str(path), "image_size": 32, **changes})
        return params.model_copy(update={"data": data})

    return create


@pytest.fixture
def source_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a source for one test."""
    return lambda **names: write_source(tmp_path / "source", **names)


NAMES = [f"cell{index}" for index in range(12)]
SPLIT_BY_NAME = {name: SPLITS[index % 3] for index, name in enumerate(NAMES[1:])}
MASK = np.kron([[0, 1], [1, 2]], np.ones((8, 12))).astype(np.uint8)  # 16 x 24, with every class

SECTION: dict[str, Any] = {
    "source": "image_mask_folder",
    "image_size": 16,
    "resize": "stretch",
    "classes": [
        {"name": "cell", "color": "#e69f00", "foreground": True, "mask_value": 1},
        {"name": "ground", "color": "#0072b2", "foreground": False, "mask_value": 0},
        {"name": "wall", "color": "#f0e442", "foreground": False, "is_boundary": True, "mask_value": 2},
    ],
    "ignore_value": None,
    "splits": {"validation": 0.2, "test": 0.2},
    "showcase_ids": ["cell0"],
    "seed": 0,
    "max_train_images": None,
}


def create_section(path: Path | str, **changes: object) -> FolderData:
    return FolderData.model_validate({**SECTION, "path": str(path), **changes})


def create_classes(values: Iterable[int | str]) -> list[dict[str, Any]]:
    """Create the section's classes with other mask values."""
    return [{**item, "mask_value": value} for item, value in zip(SECTION["classes"], values, strict=True)]


def create_image(index: int = 0, shape: tuple[int, int] = (16, 24)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(index).integers(0, 256, (*shape, 3), np.uint8))


def write_splits(folder: Path, rows: Iterable[str], header: str = "id,split", file: str = "splits.csv") -> None:
    (folder / file).write_text("\n".join([header, *rows, ""]), encoding="utf-8")


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """A folder of twelve images with masks and a splits.csv."""
    return write_cells(tmp_path / "cells")


def write_cells(folder: Path) -> Path:
    """Write a folder of twelve images with masks and a splits.csv."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for index, name in enumerate(NAMES):
        create_image(index).save(folder / "images" / f"{name}.png")
        Image.fromarray(MASK).save(folder / "masks" / f"{name}.png")
    write_splits(folder, ["cell0,train", *(f"{name},{split}" for name, split in SPLIT_BY_NAME.items())])
    return folder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that runs `prepare` on a folder and returns the prepared folder."""
    params = read_params(ROOT / "params.yaml")
    monkeypatch.chdir(tmp_path)

    def run_prepare(path: Path, data: ImageMaskData | None = None, **changes: object) -> Path:
        changed = params.model_copy(update={"data": data or create_section(path, **changes)})
        prepare(changed, tmp_path / "out" / "prepared")
        return tmp_path / "out" / "prepared"

    return run_prepare


@pytest.fixture
def get_prepare_error(run: Callable[..., Path], tmp_path: Path) -> Callable[..., str]:
    """Return a function that runs `prepare` on an invalid folder and returns its error; nothing may be written."""

    def get_error(path: Path, data: ImageMaskData | None = None, **changes: object) -> str:
        with pytest.raises(PipelineError) as error:
            run(path, data, **changes)
        assert not list(tmp_path.glob("out/*"))
        return str(error.value)

    return get_error


def validate_data(data: Data) -> ValidationReport:
    """Check a source. Raise its error if it has one."""
    report = examine_data(data)
    report.raise_error()
    return report


def read_samples(prepared: Path) -> dict[str, dict[str, str]]:
    with (prepared / PreparedData.SAMPLES).open(encoding="utf-8", newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def load_showcase(prepared: Path) -> tuple[np.ndarray, np.ndarray]:
    """Load image and mask of the showcase, cell0."""
    folder = prepared / SHOWCASE
    return np.load(folder / PreparedData.IMAGES)[0], np.load(folder / PreparedData.MASKS)[0]


def write_folder_params(tmp_path: Path, changes: dict[str, Any]) -> Path:
    """Write the shipped params.yaml with a folder's section; keys changed to ... are left out."""
    data = {**SECTION, "path": "cells", "image_size": 32, **changes}
    content = {**load_shipped_params(), "data": {key: value for key, value in data.items() if value is not ...}}
    with (tmp_path / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(content, file)
    return tmp_path / "params.yaml"
