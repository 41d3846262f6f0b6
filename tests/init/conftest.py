"""Run `init`, the check and `prepare` on folders of masks and images."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from ruamel.yaml import YAML

from pipeline.artifacts.prepared_data import PreparedData
from pipeline.cli import main

ROOT = Path(__file__).parents[2]
SIZE = 32  # px, of images and of prepared arrays

Array = np.ndarray[Any, Any]


def make_image(index: int) -> Array:
    """Make a smooth background that is different for each index."""
    small = np.random.default_rng(index).integers(0, 256, (4, 4, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def draw_disc(index: int) -> Array:
    """Draw an object at a random position, without contact to the frame."""
    rng = np.random.default_rng(index)
    radius = rng.integers(5, 8)
    row, column = rng.integers(radius + 1, SIZE - radius - 1, 2)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    inside: Array = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
    return inside


@dataclass(frozen=True)
class InitResult:
    """Output and files of `init`, the check and `prepare` for one folder.

    Attributes:
        output: output of `init`.
        data: section `data` that `init` wrote.
        masks: prepared masks by image id.
    """

    output: str
    data: dict[str, Any]
    masks: dict[str, Array]

    @property
    def notices(self) -> list[str]:
        """The notices that `init` printed."""
        return [line.removeprefix("Notice: ") for line in self.output.splitlines() if line.startswith("Notice: ")]

    @property
    def values(self) -> list[Any]:
        """The values of the classes."""
        return [item["mask_value"] for item in self.data["classes"]]

    def indices(self, truths: dict[str, Array]) -> dict[Any, set[int]]:
        """Return the class indices in the prepared masks for each true label."""
        indices: dict[Any, set[int]] = {}
        for name, truth in truths.items():
            for label in np.unique(truth).tolist():
                indices.setdefault(label, set()).update(np.unique(self.masks[name][truth == label]).tolist())
        return indices


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skip_grid_timing: None) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "10000")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    for kind in ("images", "masks"):
        (tmp_path / "cells" / kind).mkdir(parents=True)
    return tmp_path


@pytest.fixture
def run_init(project: Path) -> Callable[..., InitResult]:
    """Return a function that writes masks and images, then runs `init`, the check and `prepare`.

    Masks and images are arrays, Pillow images, or functions that save to a path.
    """

    def write_and_run(masks: dict[str, Any], images: dict[str, Any] | None = None, ending: str = "png") -> InitResult:
        for index, (name, mask) in enumerate(masks.items()):
            image = images[name] if images else Image.fromarray(make_image(index))
            _save(image, project / "cells" / "images", name, "png")
            _save(mask, project / "cells" / "masks", name, ending)
        output = _run("init", "cells")
        section = YAML(typ="safe").load((project / "params.yaml").read_text())["data"]
        _run("data", "check", "cells")
        _run("prepare")
        return InitResult(output, section, _read_prepared_masks(project / "data" / "prepared"))

    return write_and_run


def _save(image: Any, folder: Path, name: str, ending: str) -> None:
    if callable(image):
        image(folder / name)
    else:
        to_save = image if isinstance(image, Image.Image) else Image.fromarray(image)
        to_save.save(folder / f"{name}.{ending}")


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(main, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code:
        raise RefusedError(result.output)
    return result.output


class RefusedError(Exception):
    """The output of a command that ended with an error."""


def _read_prepared_masks(folder: Path) -> dict[str, Array]:
    with (folder / PreparedData.SAMPLES).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    masks_by_id = {}
    for split in {row["split"] for row in rows}:
        masks = np.load(folder / split / PreparedData.MASKS)
        names = [row["id"] for row in rows if row["split"] == split]
        masks_by_id |= dict(zip(names, masks, strict=True))
    return masks_by_id
