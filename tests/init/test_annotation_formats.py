"""Annotation formats: `init`, the check and `prepare` turn a small copy of each export into the expected classes."""

from __future__ import annotations

import base64
import io
import json
import zlib
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
    get_split,
    make_image,
    make_mask,
    name_split,
    paint,
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


def write_yolo(folder: Path, from_roboflow: bool = False) -> Expected:
    section = {"annotations": "data.yaml", **({"images": "*/images/*"} if from_roboflow else {})}
    expected = Expected("YOLO segmentation, ", NAMES, section=section)
    for index in range(NUM_IMAGES):
        split, name, mask = get_split(index), f"{index:03}", make_mask(index)
        lines = []
        for value in LABELS:
            fractions = [number / SIZE for point in find_corners(mask, value) for number in point]
            lines.append(" ".join(map(str, [value - 1, *fractions])))
        paths = (f"{split}/images", f"{split}/labels") if from_roboflow else (f"images/{split}", f"labels/{split}")
        (folder / paths[1]).mkdir(parents=True, exist_ok=True)
        if index == 5:  # without a file, an image has no objects
            mask[:] = 0
        else:
            (folder / paths[1] / f"{name}.txt").write_text("\n".join(lines) + "\n")
        save(make_image(index), folder, paths[0], f"{name}.jpg")
        expected.masks[f"{split}__{name}"] = mask
        expected.splits[f"{split}__{name}"] = name_split(split)
    (folder / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['cell', 'wall']\n")
    return expected


def write_cvat(folder: Path) -> Expected:
    expected = Expected("CVAT for images, ", NAMES, section={"annotations": "annotations.xml", "ignore_value": []})
    labels = "".join(f"<label><name>{name}</name></label>" for name in ("cell", "wall"))
    parts = [f"<annotations><version>1.1</version><meta><job><labels>{labels}</labels></job></meta>"]
    for index in range(NUM_IMAGES):
        mask = make_mask(index)
        save(make_image(index), folder, f"images/{index:03}.png")
        points = ";".join(f"{x},{y}" for x, y in find_corners(mask, 1))
        shapes = [f'<polygon label="cell" points="{points}" occluded="0" z_order="0"></polygon>']
        left, top, right, bottom = find_box(mask, 2)
        if index % 2:
            shapes.append(f'<box label="wall" xtl="{left}" ytl="{top}" xbr="{right}" ybr="{bottom}" z_order="0"/>')
        else:
            width, height = right - left, bottom - top
            place = f'left="{left}" top="{top}" width="{width}" height="{height}"'
            shapes.append(f'<mask label="wall" rle="0, {width * height}" {place} z_order="0"/>')
        if index == 3:  # a higher z_order is on top, wherever it is in the file
            shapes.insert(0, f'<polygon label="wall" points="{points}" z_order="1"/>')
            mask[mask == 1] = 2
        shapes.append('<tag label="cell"/>')
        image = f'<image id="{index}" name="{index:03}.png" width="{SIZE}" height="{SIZE}">'
        parts += [image, *shapes, "</image>"]
        expected.masks[f"{index:03}"] = mask
    (folder / "annotations.xml").write_text("".join([*parts, "</annotations>"]))
    return expected


def encode_brush(mask: Array) -> list[int]:
    """Encode a mask as Label Studio's editor does: RGBA bytes in runs of up to 65,536 equal ones, or single ones."""
    data = np.repeat(mask.astype(np.uint8).ravel() * 255, 4)
    bits = f"{data.size:032b}{7:05b}{2:04b}{7:04b}{11:04b}{15:04b}"
    starts = np.flatnonzero(np.diff(data, prepend=256 - data[:1].astype(int)))
    for place, (start, end) in enumerate(zip(starts, [*starts[1:], data.size], strict=True)):
        if place % 3:
            bits += f"1{3:02b}{end - start - 1:016b}{data[start]:08b}"
        else:
            bits += f"0{3:02b}{end - start - 1:016b}" + f"{data[start]:08b}" * int(end - start)
    bits += "0" * (-len(bits) % 8)
    return [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]


def write_label_studio(folder: Path) -> Expected:
    expected = Expected("Label Studio, ", NAMES, section={"annotations": "project-1.json"})
    tasks = []
    for index in range(NUM_IMAGES):
        mask, name = make_mask(index), f"cells {index:03}.png"
        save(make_image(index), folder, "images", f"0f{index:06x}-{name}" if index % 2 else name)
        size = {"original_width": SIZE, "original_height": SIZE, "image_rotation": 0}
        percent = [[100 * x / SIZE, 100 * y / SIZE] for x, y in find_corners(mask, 1)]
        left, top, right, bottom = (100 * edge / SIZE for edge in find_box(mask, 2))
        box = {"x": left, "y": top, "width": right - left, "height": bottom - top, "rotation": 0}
        results: list[dict[str, Any]] = [
            {**size, "type": "polygonlabels", "value": {"points": percent, "polygonlabels": ["cell"]}},
            {**size, "type": "rectanglelabels", "value": {**box, "rectanglelabels": ["wall"]}},
            {"type": "choices", "value": {"choices": ["blurred"]}},
            {"type": "labels", "value": {"start": 0, "end": 4, "text": "text", "labels": ["word"]}},
        ]
        if index % 3 == 1:  # black on a transparent background
            png = np.zeros((SIZE, SIZE, 4), np.uint8)
            png[..., 3] = 255 * (mask == 2)
            url = f"data:image/png;base64,{base64.b64encode(encode_png(png)).decode()}"
            results[1] = {**size, "type": "bitmasklabels", "value": {"imageDataURL": url, "bitmasklabels": ["wall"]}}
        if index % 3 == 0:
            value = {"format": "rle", "rle": encode_brush(mask == 2), "brushlabels": ["wall"]}
            results[1] = {**size, "type": "brushlabels", "value": value}
        annotations: list[dict[str, Any]] = [{"id": index, "was_cancelled": False, "result": results}]
        if index == 4:
            annotations = [{"was_cancelled": True, "result": []}, {"result": results[:1]}, *annotations]
            annotations[2]["ground_truth"] = True
        url = f"/data/upload/1/0f{index:06x}-{name.replace(' ', '%20')}"
        tasks.append({"id": index, "data": {"note": "text", "image": url}, "annotations": annotations})
        expected.masks[f"0f{index:06x}-{name[:-4]}" if index % 2 else name[:-4]] = mask
    (folder / "project-1.json").write_text(json.dumps(tasks))
    return expected


def write_supervisely(folder: Path) -> Expected:
    expected = Expected("Supervisely, ", NAMES, section={"annotations": "meta.json", "images": "**/img/*"})
    (folder / "ds0/ann").mkdir(parents=True)
    classes = [{"title": name, "shape": "any", "color": "#FF0000"} for name in ("cell", "wall")]
    (folder / "meta.json").write_text(json.dumps({"classes": classes, "tags": []}))
    for index in range(NUM_IMAGES):
        mask = make_mask(index)
        save(make_image(index), folder, f"ds0/img/{index:03}.jpg")
        left, top, right, bottom = find_box(mask, 1)
        hole = [[left + 4, top + 4], [right - 4, top + 4], [right - 4, bottom - 4], [left + 4, bottom - 4]]
        mask[top + 4 : bottom - 4, left + 4 : right - 4] = 0
        objects: list[dict[str, Any]] = [
            {
                "classTitle": "cell",
                "geometryType": "polygon",
                "points": {"exterior": find_corners(mask, 1), "interior": [hole]},
            }
        ]
        left, top, right, bottom = find_box(mask, 2)
        pixels = np.zeros((bottom - top, right - left, 4), np.uint8)
        pixels[..., 3] = 255
        packed = base64.b64encode(zlib.compress(encode_png(pixels if index % 2 else pixels[..., 3]))).decode()
        bitmap = {"data": packed, "origin": [left, top]}
        objects.append({"classTitle": "wall", "geometryType": "bitmap", "bitmap": bitmap})
        content = {"description": "", "size": {"height": SIZE, "width": SIZE}, "objects": objects, "tags": []}
        (folder / f"ds0/ann/{index:03}.jpg.json").write_text(json.dumps(content))
        expected.masks[f"ds0__{index:03}"] = mask
    return expected


def write_coco_panoptic(folder: Path) -> Expected:
    expected = Expected(
        "COCO panoptic, ", ("cell", "wall"), section={"annotations": "annotations/panoptic*.json", "images": "*/*"}
    )
    categories = [{"id": 7, "name": "cell", "isthing": 1}, {"id": 9, "name": "wall", "isthing": 0}]
    contents: dict[str, dict[str, Any]] = {
        split: {"images": [], "annotations": [], "categories": categories} for split in ("train2017", "val2017")
    }
    for index in range(NUM_IMAGES):
        split, name, mask = ("train2017", "val2017")[index % 3 == 0], f"{index:012}", make_mask(index)
        numbers = {1: 7 + 300 * index, 2: 70_000 + index}
        colors = {value: n % 256 << 16 | n // 256 % 256 << 8 | n // 65536 for value, n in numbers.items()}
        save(make_image(index), folder, f"{split}/{name}.jpg")
        save(paint(mask, colors), folder, f"annotations/panoptic_{split}/{name}.png")
        segments = [{"id": numbers[value], "category_id": 5 + 2 * value, "iscrowd": 0} for value in LABELS]
        image = {"id": index, "file_name": f"{name}.jpg", "height": SIZE, "width": SIZE}
        contents[split]["images"].append(image)
        annotation = {"image_id": index, "file_name": f"{name}.png", "segments_info": segments}
        contents[split]["annotations"].append(annotation)
        expected.masks[f"{split}__{name}"] = np.where(mask, mask - 1, IGNORE)
        if split == "train2017":
            expected.splits[f"{split}__{name}"] = "train"
    for split, content in contents.items():
        (folder / f"annotations/panoptic_{split}.json").write_text(json.dumps(content))
    return expected


FORMATS: dict[str, Callable[[Path], Expected]] = {
    "LabelMe": write_labelme,
    "YOLO": write_yolo,
    "YOLO of Roboflow": lambda folder: write_yolo(folder, from_roboflow=True),
    "CVAT": write_cvat,
    "Label Studio": write_label_studio,
    "Supervisely": write_supervisely,
    "COCO panoptic": write_coco_panoptic,
}


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS.keys())
def test_format_is_recognized_and_prepared(write: Callable[[Path], Expected], project: Path) -> None:
    (project / "set").mkdir()
    check_layout(write(project / "set"), project)
