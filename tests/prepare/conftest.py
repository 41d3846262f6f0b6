"""A source of tiny pictures, quick to read, and the parameters that ask for it."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.params import Params
from pipeline.params.data import Samples
from pipeline.params.file import read_params

ROOT = Path(__file__).parents[2]
ANIMALS = ("ant", "bat", "cat", "doe", "eel", "fly", "gnu", "hen")
BACKGROUNDS = ("attic", "beach", "creek", "dunes", "earth", "field")

Asking = Callable[..., Params]


def disc(side: int = 48) -> Image.Image:
    """A cut-out: an orange disc that fills its square, with a soft edge, over transparent green."""
    y, x = np.mgrid[:side, :side] + 0.5 - side / 2
    alpha = np.clip(side / 2 - np.hypot(x, y), 0, 1)
    pixels = np.where(alpha[..., None] > 0, (230, 120, 40), (0, 255, 0))
    return Image.fromarray(np.dstack([pixels, 255 * alpha]).astype(np.uint8), "RGBA")


def write_source(folder: Path, animals: tuple[str, ...] = ANIMALS, backgrounds: tuple[str, ...] = BACKGROUNDS) -> Path:
    """A source like data/sample; names that share all but a digit at the end are one group."""
    rows = []
    for kind, names in (("animal", (*animals, "dog")), ("background", (*backgrounds, "aitzgorri"))):
        (folder / f"{kind}s").mkdir(parents=True)
        for index, name in enumerate(names):
            if kind == "animal":
                disc().save(folder / "animals" / f"{name}.webp", lossless=True)
            else:
                colour = (20 * index, 90, 200 - 20 * index)
                Image.new("RGB", (64, 48), colour).save(folder / "backgrounds" / f"{name}.jpg")
            rows.append((kind, name, name.rstrip("0123456789")))
    with (folder / "sources.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("kind", "name", "group"), *rows])
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("tiny"), animals=(*ANIMALS, "gnu2"))


@pytest.fixture(scope="session")
def asking() -> Asking:
    """The project's parameters with another `data`; the bundled pictures unless `path` says otherwise."""
    params = read_params(ROOT / "params.yaml")

    def ask(samples: tuple[int, int, int] = (8, 4, 4), path: Path = ROOT / "data/sample", **changes: object) -> Params:
        train, validation, test = samples
        asked = Samples(train=train, validation=validation, test=test)
        data = params.data.model_copy(update={"samples": asked, "path": str(path), "image_size": 32, **changes})
        return params.model_copy(update={"data": data})

    return ask


@pytest.fixture
def source_folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes a source of its own for a test that breaks it."""
    return lambda **names: write_source(tmp_path / "source", **names)
