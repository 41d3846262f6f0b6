"""Annotation formats: `init`, the check and `prepare` turn a small copy of each export into the expected classes."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.imaging import IGNORE
from tests.init.layout_checks import (
    NUM_IMAGES,
    SIZE,
    Array,
    Expected,
    check_layout,
    make_image,
    make_mask,
    save,
)

NAMES = ("background", "cell", "wall")
LABELS = {1: "cell", 2: "wall"}


def find_box(mask: Array, value: int) -> tuple[int, int, int, int]:
    """Return the left, top, right and bottom edges of the pixels with a value."""
    rows, columns = (np.flatnonzero((mask == value).any(axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def find_corners(mask: Array, value: int) -> list[list[float]]:
    left, top, right, bottom = find_box(mask, value)
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def encode_png(mask: Array) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    return buffer.getvalue()


def write_labelme(folder: Path) -> Expected:
    expected = Expected("LabelMe, ", NAMES, section={"annotations": "**/*.json", "images": "**/*"})
    for index in range(NUM_IMAGES):
        mask = make_mask(index)
        save(make_image(index), folder, f"{index:03}.jpg")
        shapes: list[dict[str, Any]] = [
            {"label": label, "points": find_corners(mask, value), "shape_type": "polygon", "flags": {}}
            for value, label in LABELS.items()
        ]
        shapes[1] |= {"points": [shapes[1]["points"][2], shapes[1]["points"][0]], "shape_type": "rectangle"}
        if index == 3:  # the later shape is on top, also if it is larger
            shapes += [{**shapes[1], "label": "cell"}, shapes[1], {**shapes[0], "label": "__ignore__"}]
            mask[mask == 1] = IGNORE
        if index == 4:
            left, top, right, bottom = find_box(mask, 1)
            png = encode_png((mask == 1)[top:bottom, left:right].astype(np.uint8) * 255)
            points = [[left, top], [right - 1, bottom - 1]]
            shapes[0] |= {"shape_type": "mask", "points": points, "mask": base64.b64encode(png).decode()}
        content = {"version": "5.5.0", "shapes": shapes, "imagePath": f"{index:03}.jpg", "imageData": None}
        if index:
            content |= {"imageHeight": SIZE, "imageWidth": SIZE}
        (folder / f"{index:03}.json").write_text(json.dumps(content))
        expected.masks[f"{index:03}"] = mask
    return expected


FORMATS: dict[str, Callable[[Path], Expected]] = {"LabelMe": write_labelme}


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS.keys())
def test_format_is_recognized_and_prepared(write: Callable[[Path], Expected], project: Path) -> None:
    (project / "set").mkdir()
    check_layout(write(project / "set"), project)
