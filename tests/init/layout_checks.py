"""Run `init`, the check and `prepare` on a small copy of a published layout, and compare the masks and splits."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner, Result
from PIL import Image
from ruamel.yaml import YAML

from pipeline.artifacts.prepared_data import PreparedData
from pipeline.cli import main
from pipeline.imaging import IGNORE

ROOT = Path(__file__).parents[2]
SIZE = 64  # px of the images, which are prepared without resizing
NUM_IMAGES = 12

Array = np.ndarray[Any, Any]


@dataclass
class Expected:
    """What `init` and `prepare` must find.

    Attributes:
        found: start of the description by `init`.
        masks: class name at each pixel (an index into `names`, or IGNORE) by image id.
        names: class names that the indices in `masks` stand for.
        splits: split by image id, if the layout determines it.
        section: keys of the section that `init` writes.
        group_size: number of images per group.
    """

    found: str
    names: tuple[str, ...]
    masks: dict[str, Array] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)
    section: dict[str, Any] = field(default_factory=dict)
    group_size: int = 1


def make_image(index: int) -> Image.Image:
    small = np.random.default_rng(index).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(small).resize((SIZE, SIZE), Image.Resampling.BICUBIC)


def make_mask(index: int, num_classes: int = 3) -> Array:
    """Make a mask of rectangles of the classes 1, 2, ... on 0, at positions that depend on the index."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for value in range(1, num_classes):
        row, column = 2 + (7 * index + 20 * value) % 40, 2 + 24 * (value - 1)
        mask[row : row + 20, column : column + 20] = value
    return mask


def save(image: Image.Image | Array, *path: str | Path) -> None:
    target = Path(*path)
    target.parent.mkdir(parents=True, exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(target)


def paint(mask: Array, colors: Mapping[int, int]) -> Array:
    painted = np.zeros((*mask.shape, 3), np.uint8)
    for value, color in colors.items():
        painted[mask == value] = (color >> 16, color >> 8 & 255, color & 255)
    return painted


def get_split(index: int) -> str:
    return ("train", "train", "val", "test")[index % 4]


def name_split(split: str) -> str:
    return {"val": "validation", "train": "train", "test": "test"}[split]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


def read_prepared(names: tuple[str, ...]) -> tuple[dict[str, Array], dict[str, str]]:
    """Return the prepared masks as indices of class names, and the splits, both by image id."""
    prepared = PreparedData(Path("data/prepared"))
    index_of = {name: index for index, name in enumerate(names)}
    found = np.full(256, IGNORE, np.uint8)
    found[: len(prepared.dataset.classes)] = [index_of.get(one.name, 254) for one in prepared.dataset.classes]
    with (prepared.path / PreparedData.SAMPLES).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    masks: dict[str, Array] = {}
    for split in {row["split"] for row in rows}:
        stored = np.load(prepared.path / split / PreparedData.MASKS)
        ids = [row["id"] for row in rows if row["split"] == split]
        masks |= {
            name: np.where(mask == IGNORE, IGNORE, np.append(found, [0] * 256)[mask])
            for name, mask in zip(ids, stored, strict=True)
        }
    return masks, {row["id"]: row["split"] for row in rows}


def check_layout(expected: Expected, project: Path) -> None:
    """Run `init`, the check and `prepare` for the folder `set`, and compare the masks and splits."""
    result = run("init", "set")
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"set: {expected.found}{len(expected.masks)} images of "), result.output
    section = YAML(typ="safe").load((project / "params.yaml").read_text(encoding="utf-8"))["data"]
    assert {key: section.get(key) for key in expected.section} == expected.section
    checked = run("data", "check", "set")
    assert (checked.exit_code, "no errors with params.yaml" in checked.output) == (0, True), checked.output
    text = (project / "params.yaml").read_text(encoding="utf-8")
    size = str(section["image_size"])
    (project / "params.yaml").write_text(text.replace(f"image_size: {size}", f"image_size: {SIZE}"), encoding="utf-8")
    prepared = run("prepare")
    assert prepared.exit_code == 0, prepared.output
    masks, splits = read_prepared(expected.names)
    num_group_mates = expected.group_size - 1  # of the showcase, which are left out
    assert masks.keys() <= expected.masks.keys()
    assert len(masks) == len(expected.masks) - num_group_mates
    for name, mask in masks.items():
        np.testing.assert_array_equal(mask, expected.masks[name], err_msg=name)
    shown = [name for name, split in splits.items() if split == "showcase"]
    assert {name: splits[name] for name in expected.splits if name not in shown} == {
        name: split for name, split in expected.splits.items() if name not in shown
    }
