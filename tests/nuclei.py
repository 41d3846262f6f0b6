"""A data set of drawn nuclei, some of which touch, with masks or COCO annotations that number them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as rle
from ruamel.yaml import YAML

from pipeline.params import Params
from pipeline.params.file import read_params
from tests.conftest import write_params

SIDE = 64  # px

SECTION: dict[str, Any] = {
    "source": "image_mask_folder",
    "path": "nuclei",
    "image_size": SIDE,
    "channels": 1,
    "resize": "letterbox",
    "classes": [
        {"name": "background", "color": "#0072b2", "foreground": False, "mask_value": 0},
        {"name": "nucleus", "color": "#e69f00", "foreground": True, "mask_value": 1},
        {"name": "border", "color": "#f0e442", "foreground": False, "is_boundary": True, "mask_value": 2},
    ],
    "ignore_value": None,
    "instances": {"border": 1},
    "splits": {"validation": 0.2, "test": 0.2, "split_file": None},
    "showcase_ids": None,
    "seed": 0,
    "max_train_images": None,
}

COCO_SECTION: dict[str, Any] = {
    **{key: value for key, value in SECTION.items() if key not in ("instances", "ignore_value")},
    "source": "coco",
    "annotations": "instances.json",
    "classes": [
        {"name": "background", "color": "#0072b2", "foreground": False, "category": None},
        {"name": "nucleus", "color": "#e69f00", "foreground": True, "category": "nucleus"},
    ],
}


def draw_nuclei(random: np.random.Generator, shape: tuple[int, int] = (SIDE, SIDE)) -> tuple[np.ndarray, np.ndarray]:
    """Draw nuclei in an 8-bit gray image, and number them in a 16-bit mask, with gaps between the numbers."""
    numbers = np.zeros(shape, np.uint16)
    y, x = np.mgrid[: shape[0], : shape[1]]
    for number in random.choice(np.arange(1, 900), 9, replace=False):
        top, left = random.integers(4, shape[0] - 4), random.integers(4, shape[1] - 4)
        numbers[np.hypot(y - top, x - left) < random.integers(5, 9)] = number
    gray = 30 + 150 * (numbers > 0) + random.normal(0, 10, shape)
    return gray.clip(0, 255).astype(np.uint8), numbers


def write_nuclei(folder: Path, count: int = 20, shape: tuple[int, int] = (SIDE, SIDE)) -> None:
    """Write `images/` and `masks/` of a folder."""
    for index in range(count):
        for kind, array in zip(("images", "masks"), draw_nuclei(np.random.default_rng(index), shape), strict=True):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / kind / f"{index:03}.png")


def annotate_nuclei(folder: Path) -> None:
    """Write the nuclei of the masks as COCO annotations, and remove the masks."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for path in sorted((folder / "masks").iterdir()):
        with Image.open(path) as file:
            numbers = np.asarray(file)
        height, width = numbers.shape
        for number in np.unique(numbers[numbers > 0]):
            encoded = rle.encode(np.asfortranarray(numbers == number, np.uint8))
            outline = {"size": [height, width], "counts": encoded["counts"].decode()}
            one = {"id": len(annotations), "image_id": len(images), "category_id": 1, "segmentation": outline}
            annotations.append({**one, "iscrowd": 0})
        images.append({"id": len(images), "file_name": path.name, "height": height, "width": width})
        path.unlink()
    (folder / "masks").rmdir()
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "nucleus"}]}
    (folder / "instances.json").write_text(json.dumps(content))


def write_nuclei_params(
    folder: Path, grid: dict[str, Any] | None = None, data: dict[str, Any] = SECTION, **evaluation: object
) -> Params:
    """Write and read the parameters of a project that is trained on the folder `nuclei`."""
    path, yaml = write_params(folder, {"train": {"epochs": 6}}), YAML(typ="safe")
    content = yaml.load(path.read_text(encoding="utf-8"))
    content["data"] = data
    content["evaluation"] |= evaluation
    content["grid"] |= grid or {}
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)
    return read_params(path)
