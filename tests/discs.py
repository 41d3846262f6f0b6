"""A data set of drawn discs in images of different native sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from ruamel.yaml import YAML

from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.prepare.prepare_data import prepare
from pipeline.train.train_cell import train_cell
from tests.conftest import write_params

SHAPES = ((40, 60), (96, 50), (20, 20), (130, 90))  # H x W
CLASSES = [
    {"name": "ground", "mask_value": 0, "color": "#0072b2", "foreground": False},
    {"name": "disc", "mask_value": 255, "color": "#e69f00", "foreground": True},
]
DATA = {
    "source": "image_mask_folder",
    "path": "discs",
    "image_size": "native",
    "downscale": 1.0,
    "resize": "letterbox",
    "channels": None,
    "classes": CLASSES,
    "ignore_value": None,
    "splits": {"validation": 0.2, "test": 0.2},
    "showcase_ids": None,
    "seed": 0,
    "max_train_images": None,
}


def draw_pair(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a bright disc of 12 px on dark noise, and its mask."""
    random = np.random.default_rng(index)
    height, width = SHAPES[index % len(SHAPES)]
    row, column = random.integers(6, height - 5), random.integers(6, width - 5)
    y, x = np.mgrid[:height, :width]
    disc = (y - row) ** 2 + (x - column) ** 2 < 36
    image = random.integers(0, 90, (height, width, 3)) + 140 * disc[..., None]
    return image.astype(np.uint8), (255 * disc).astype(np.uint8)


def write_discs(folder: Path, count: int) -> None:
    """Write images and masks with the names 00, 01, ..."""
    for index in range(count):
        for kind, pixels in zip(("images", "masks"), draw_pair(index), strict=True):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / kind / f"{index:02}.png")


def write_native_params(
    root: Path,
    changes: dict[str, object],
    train: dict[str, object],
    model: dict[str, object] | None = None,
    seeds: tuple[int, ...] = (0,),
) -> Params:
    """Write the parameters of a U-Net that learns patches, with changes of the sections `data` and `train`."""
    grid = {"variant": ["unet"], "learning_rate": [0.01], "seed": list(seeds)}
    path = write_params(root, {"grid": grid, "train": {"patch_size": 32, "epochs": 6, **train}})
    yaml = YAML(typ="safe")
    content = yaml.load(path.read_text(encoding="utf-8"))
    content["data"] = {**DATA, **changes}
    content["variants"]["unet"] = {"model": model} if model else {}
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)
    return read_params(path)


def train_on_discs(changes: dict[str, object], epochs: int) -> Params:
    """Write, prepare and learn discs at their own size in the current folder, with changes of the section `data`."""
    write_discs(Path("discs"), 20)
    params = write_native_params(Path(), changes, {"epochs": epochs})
    prepare(params)
    train_cell(params.cell("unet", 0.01, 0))
    return params
