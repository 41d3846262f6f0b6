"""Small data sets with the faults of real ones; each function writes one and returns the expected masks."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image, ImageFilter

from pipeline.imaging import IGNORE
from pipeline.imaging.instances import classify_instances

SIDE = 64
GroundTruth = dict[str, np.ndarray]  # class indices by id, background first
Write = Callable[[Path], GroundTruth]


@dataclass(frozen=True)
class Case:
    """A kind of input and its expected result.

    Attributes:
        write: writes the folder and returns the expected masks; none if the input must be refused.
        refused_by: the command that must refuse it, init or check; empty if it is prepared.
        reported: text that the output of init or the check must contain.
        section: keys that init must suggest.
        changes: keys that the user changes after reading the messages.
    """

    write: Write
    refused_by: str = ""
    reported: str = ""
    section: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)


def make_image(index: int, side: int = SIDE) -> np.ndarray:
    """Make a smooth image with noise, different for each index."""
    random = np.random.default_rng(index)
    small = random.integers(0, 256, (5, 5, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC), np.int16)
    return (smooth + random.integers(-9, 9, smooth.shape)).clip(0, 255).astype(np.uint8)


def make_disc(index: int, side: int = SIDE) -> np.ndarray:
    """Draw a disc at a random position, as a boolean mask."""
    random = np.random.default_rng(1_000 + index)
    radius = random.integers(8, 15)
    top, left = random.integers(radius, side - radius, 2)
    y, x = np.mgrid[:side, :side]
    return (y - top) ** 2 + (x - left) ** 2 < radius**2


def make_pair(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Make an image with a red disc, and its mask."""
    image, disc = make_image(index), make_disc(index)
    image[disc] = image[disc] // 3 + np.array([150, 30, 30], np.uint8)
    return image, disc


def save(folder: Path, kind: str, name: str, array: np.ndarray | Image.Image, **options: Any) -> None:
    path = folder / kind / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    image.save(path, **{"compress_level": 1, **options})  # of PNG, much faster than the default


def write_pairs(
    folder: Path,
    encode: Callable[[int, np.ndarray], np.ndarray | Image.Image],
    count: int = 20,
    mask_name: str = "{}.png",
    decode: Callable[[int, np.ndarray], np.ndarray] = lambda _, disc: disc.astype(np.uint8),
) -> GroundTruth:
    """Write pairs whose masks are discs encoded by `encode`; `decode` returns the class indices."""
    truth = {}
    for index in range(count):
        image, disc = make_pair(index)
        save(folder, "images", f"{index:02}.png", image)
        save(folder, "masks", mask_name.format(f"{index:02}"), encode(index, disc))
        truth[f"{index:02}"] = decode(index, disc)
    return truth


def write_mixed_binary(folder: Path) -> GroundTruth:
    return write_pairs(folder, lambda index, disc: disc * np.uint8(1 if index in (3, 7, 11) else 255))


def write_palette_order(folder: Path) -> GroundTruth:
    def encode(index: int, disc: np.ndarray) -> Image.Image:
        mask = Image.fromarray((~disc if index % 2 else disc).astype(np.uint8), "P")
        mask.putpalette([0, 255, 0, 0, 0, 0] if index % 2 else [0, 0, 0, 0, 255, 0])
        return mask

    return write_pairs(folder, encode)


def write_bilinear(folder: Path) -> GroundTruth:
    soft: dict[int, np.ndarray] = {}

    def encode(index: int, disc: np.ndarray) -> np.ndarray:
        large = np.roll(np.kron(disc, np.ones((2, 2))) * 255, 1, (0, 1)).astype(np.uint8)
        soft[index] = np.asarray(Image.fromarray(large).resize((SIDE, SIDE), Image.Resampling.BOX))
        return soft[index]

    return write_pairs(folder, encode, decode=lambda index, _: (soft[index] >= 128).astype(np.uint8))


def write_blurred(folder: Path) -> GroundTruth:
    soft: dict[int, np.ndarray] = {}

    def encode(index: int, disc: np.ndarray) -> np.ndarray:
        sharp = Image.fromarray(disc * np.uint8(255))
        soft[index] = np.asarray(sharp.filter(ImageFilter.GaussianBlur(1.2)))
        return soft[index]

    return write_pairs(folder, encode, decode=lambda index, _: (soft[index] >= 128).astype(np.uint8))


def write_numbered_few(folder: Path) -> GroundTruth:
    """Write masks of five numbered objects, without the second one in every other mask."""
    truth = {}
    for index in range(20):
        numbers = np.zeros((SIDE, SIDE), np.uint8)
        for number in range(1, 6):
            if index % 2 == 0 or number != 2:
                top, left = 12 * number - 8, 3 + (index * 7 + number * 11) % 50
                numbers[top : top + 8, left : left + 8] = number
        save(folder, "images", f"{index:02}.png", make_image(index))
        save(folder, "masks", f"{index:02}.png", numbers)
        truth[f"{index:02}"] = numbers
    return truth


def write_red_and_infrared(folder: Path) -> GroundTruth:
    """Write four-band TIFFs whose last band, near infrared, is flagged as alpha, as GDAL does."""
    truth = {}
    for index in range(16):
        image, disc = make_pair(index)
        infrared = np.where(disc, 230, 40).astype(np.uint8) + make_image(index + 99)[..., 0] % 20
        path = folder / "images" / f"{index:02}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, np.dstack([image, infrared]), photometric="rgb", extrasamples=["unassalpha"])
        save(folder, "masks", f"{index:02}.png", disc.astype(np.uint8))
        truth[f"{index:02}"] = disc.astype(np.uint8)
    return truth


def write_turned_images(folder: Path) -> GroundTruth:
    """Rotate every other JPEG by 180 degrees in EXIF; the masks cover the stored pixels."""
    truth = {}
    for index in range(20):
        image, disc = make_pair(index)
        exif = Image.Exif()
        exif[0x0112] = 3 if index % 2 else 1
        save(folder, "images", f"{index:02}.jpg", image, exif=exif, quality=95)
        save(folder, "masks", f"{index:02}.png", disc.astype(np.uint8))
        truth[f"{index:02}"] = (disc[::-1, ::-1] if index % 2 else disc).astype(np.uint8)
    return truth


def make_rectangle(index: int) -> tuple[list[float], np.ndarray]:
    """Make a rectangle as a COCO polygon and as a mask."""
    top, left = 4 + index, 6 + (index * 5) % 30
    inside = np.zeros((SIDE, SIDE), bool)
    inside[top : top + 12, left : left + 16] = True
    return [left, top, left + 16, top, left + 16, top + 12, left, top + 12], inside


def encode_run_lengths(inside: np.ndarray) -> dict[str, Any]:
    flat = inside.T.ravel().astype(np.int8)
    borders = np.concatenate([[0], np.flatnonzero(np.diff(flat)) + 1, [flat.size]])
    counts = np.diff(borders).tolist()
    return {"size": [SIDE, SIDE], "counts": [0, *counts] if flat[0] else counts}


def write_coco(
    folder: Path,
    categories: list[dict[str, Any]],
    annotate: Callable[[int, list[float], np.ndarray], dict[str, Any]],
    names: Callable[[int], str] = "{:02}.png".format,
) -> GroundTruth:
    images, annotations, truth = [], [], {}
    for index in range(20):
        outline, inside = make_rectangle(index)
        save(folder, "images", f"{index:02}.png", make_image(index))
        images.append({"id": index + 1, "file_name": names(index), "height": SIDE, "width": SIDE})
        annotation = {"id": index + 1, "image_id": index + 1, "category_id": 1, "iscrowd": 0}
        annotations.append({**annotation, **annotate(index, outline, inside)})
        truth[f"{index:02}"] = inside.astype(np.uint8)
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content))
    return truth


CELL = [{"id": 1, "name": "cell"}]


def write_coco_crowds(folder: Path) -> GroundTruth:
    def annotate(index: int, outline: list[float], inside: np.ndarray) -> dict[str, Any]:
        if index % 2:
            return {"segmentation": encode_run_lengths(inside), "iscrowd": 1}
        return {"segmentation": [outline]}

    return write_coco(folder, CELL, annotate)


def write_coco_root_category(folder: Path) -> GroundTruth:
    root = {"id": 0, "name": "cells-x1yz"}
    return write_coco(folder, [root, *CELL], lambda _, outline, __: {"segmentation": [outline]})


def write_coco_empty_segmentation(folder: Path) -> GroundTruth:
    truth = write_coco(folder, CELL, lambda index, outline, _: {"segmentation": [] if index == 5 else [outline]})
    del truth["05"]
    return truth


def write_negatives(folder: Path) -> GroundTruth:
    return write_pairs(
        folder,
        lambda index, disc: disc.astype(np.uint8) * (index % 3 > 0),
        count=30,
        decode=lambda index, disc: disc.astype(np.uint8) * (index % 3 > 0),
    )


def write_void_images(folder: Path) -> GroundTruth:
    def encode(index: int, disc: np.ndarray) -> np.ndarray:
        return np.full_like(disc, IGNORE, np.uint8) if index % 6 == 0 else disc.astype(np.uint8)

    return write_pairs(folder, encode, count=24, decode=encode)


def write_tiny_objects(folder: Path) -> GroundTruth:
    truth = {}
    for index in range(12):
        random = np.random.default_rng(index)
        mask = np.zeros((1024, 1024), np.uint8)
        for top, left in random.integers(0, 1020, (12, 2)):
            mask[top : top + 3, left : left + 3] = 1
        image = np.asarray(Image.fromarray(make_image(index)).resize((1024, 1024)))
        save(folder, "images", f"{index:02}.png", np.where(mask[..., None], 255, image).astype(np.uint8))
        save(folder, "masks", f"{index:02}.png", mask)
        truth[f"{index:02}"] = mask
    return truth


def write_split_folders(folder: Path) -> GroundTruth:
    truth = {}
    for split, count in (("train", 14), ("val", 4), ("test", 4)):
        for index in range(count):
            image, disc = make_pair(100 * len(split) + index + (50 if split == "test" else 0))
            save(folder, "images", f"{split}/{index:02}.png", image)
            save(folder, "masks", f"{split}/{index:02}.png", disc.astype(np.uint8))
            truth[f"{split}__{index:02}"] = disc.astype(np.uint8)
    return truth


def write_fundus(folder: Path) -> GroundTruth:
    """Write similar circular images that differ in thin lines only."""
    truth = {}
    y, x = np.mgrid[:SIDE, :SIDE]
    inside = np.hypot(y - 32, x - 32) < 30
    for index in range(20):
        lines = np.zeros((SIDE, SIDE), bool)
        lines[:, 8 + (index * 7) % 48] = lines[8 + (index * 11) % 48] = True
        lines &= inside
        image = np.where(inside, 170, 0) - 60 * lines
        save(folder, "images", f"eye{index:02}.png", np.dstack([image, image // 2, image // 4]).astype(np.uint8))
        save(folder, "masks", f"eye{index:02}.png", lines.astype(np.uint8))
        truth[f"eye{index:02}"] = lines.astype(np.uint8)
    return truth


def write_fixed_camera(folder: Path) -> GroundTruth:
    """Write images of one tray, lit from a corner, with different small parts in each image."""
    truth = {}
    y, x = np.mgrid[:SIDE, :SIDE]
    for index in range(20):
        random = np.random.default_rng(index)
        parts = np.zeros((SIDE, SIDE), bool)
        for top, left in random.integers(0, SIDE - 8, (random.integers(1, 4), 2)):
            parts[top : top + 8, left : left + 8] = True
        image = 220 - 1.6 * x - 0.8 * y - 60 * parts + random.normal(0, 4, parts.shape)
        save(folder, "images", f"{index:02}.png", np.repeat(image.clip(0, 255).astype(np.uint8)[..., None], 3, 2))
        save(folder, "masks", f"{index:02}.png", parts.astype(np.uint8))
        truth[f"{index:02}"] = parts.astype(np.uint8)
    return truth


def write_rare_class(folder: Path) -> GroundTruth:
    def encode(index: int, disc: np.ndarray) -> np.ndarray:
        mask = disc.astype(np.uint8)
        if index in (4, 17):
            mask[50:60, 50:60] = 2
        return mask

    return write_pairs(folder, encode, count=24, decode=encode)


def write_many_classes(folder: Path) -> GroundTruth:
    """Write masks of 150 classes, eight per image; 0 is none of them."""
    values = np.random.default_rng(0).permuted(np.tile(np.arange(1, 151), (60, 1)), axis=1)[:, :8]
    known = np.unique(values)
    truth = {}
    for index in range(60):
        mask = np.kron(values[index].reshape(2, 4), np.ones((32, 16))).astype(np.uint8)
        mask[:2] = 0
        save(folder, "images", f"{index:02}.jpg", make_image(index))
        save(folder, "masks", f"{index:02}.png", mask)
        truth[f"{index:02}"] = np.where(mask == 0, IGNORE, np.searchsorted(known, mask)).astype(np.uint8)
    return truth


def write_normalized_names(folder: Path) -> GroundTruth:
    truth = {}
    for index in range(12):
        image, disc = make_pair(index)
        composed = unicodedata.normalize("NFC", f"Präparat-{index:02}")
        save(folder, "images", f"{composed}.png", image)
        save(folder, "masks", f"{unicodedata.normalize('NFD', composed)}.png", disc.astype(np.uint8))
        truth[composed] = disc.astype(np.uint8)
    return truth


def write_four_images(folder: Path) -> GroundTruth:
    return write_pairs(folder, lambda _, disc: disc.astype(np.uint8), count=4)


def write_plain(folder: Path) -> GroundTruth:
    return write_pairs(folder, lambda _, disc: disc.astype(np.uint8), count=24)


def write_mask_suffix(folder: Path) -> GroundTruth:
    return write_pairs(folder, lambda _, disc: disc * np.uint8(255), count=12, mask_name="{}_segmentation.png")


def write_gif_suffix(folder: Path) -> GroundTruth:
    return write_pairs(folder, lambda _, disc: Image.fromarray(disc), count=12, mask_name="{}_mask.gif")


def write_pascal_voc(folder: Path) -> GroundTruth:
    truth = {}
    for index in range(12):
        name, (image, disc) = f"2007_{index:06}", make_pair(index)
        save(folder, "JPEGImages", f"{name}.jpg", image)
        save(folder, "SegmentationClass", f"{name}.png", disc.astype(np.uint8))
        truth[name] = disc.astype(np.uint8)
    return truth


def write_mask_per_object(folder: Path) -> GroundTruth:
    truth = {}
    for index in range(12):
        name, numbers = f"{index:04x}", np.zeros((SIDE, SIDE), np.uint16)
        save(folder, f"stage1_train/{name}/images", f"{name}.png", make_image(index))
        for number in range(1, 4):
            disc = make_disc(10 * index + number)
            save(folder, f"stage1_train/{name}/masks", f"{number}.png", disc * np.uint8(255))
            numbers[disc] = number
        truth[name] = classify_instances(numbers, border=2)
    return truth


def write_folder_per_split(folder: Path) -> GroundTruth:
    truth = {}
    for index in range(12):
        split, disc = ("train", "val", "test")[index % 3], make_disc(index).astype(np.uint8)
        save(folder, f"{split}/images", f"{index:02}.png", make_image(index))
        save(folder, f"{split}/masks", f"{index:02}.png", disc)
        truth[f"{split}__{index:02}"] = disc
    return truth


def write_labelme(folder: Path) -> GroundTruth:
    truth = {}
    for index in range(12):
        save(folder, "", f"{index:02}.jpg", make_image(index))
        points = [[1, 1], [20, 1], [20, 20 + index], [1, 20 + index]]
        shapes = [{"label": "cell", "points": points, "shape_type": "polygon"}]
        truth[f"{index:02}"] = np.zeros((SIDE, SIDE), np.uint8)
        truth[f"{index:02}"][1 : 20 + index, 1:20] = 1
        content = {"shapes": shapes, "imagePath": f"{index:02}.jpg", "imageHeight": SIDE, "imageWidth": SIDE}
        (folder / f"{index:02}.json").write_text(json.dumps(content))
    return truth


NUMBERED = {
    "classes": [
        {
            "name": name,
            "color": color,
            "foreground": name == "object",
            "is_boundary": name == "border",
            "mask_value": value,
        }
        for value, (name, color) in enumerate((("background", "#000000"), ("object", "#ff0000"), ("border", "#00ff00")))
    ],
    "instances": {"border": 2},
}

CASES = {
    "mixed_binary": Case(write_mixed_binary, reported="1 in 3 masks, 255 in 17 masks"),
    "palette_order": Case(write_palette_order, reported="0 is #00ff00, 1 is #000000, but masks/00.png 0 is #000000"),
    "coco_crowds": Case(write_coco_crowds, reported="10 of 20 annotations", section={"crowd": "object"}),
    "coco_root_category": Case(write_coco_root_category, reported="'cells-x1yz'"),
    "coco_empty_segmentation": Case(
        write_coco_empty_segmentation, "check", "05.png (annotation 6: no segmentation)", changes={"on_invalid": "skip"}
    ),
    "turned_images": Case(write_turned_images, reported="10 images are turned", section={"mask_orientation": "stored"}),
    "red_and_infrared": Case(write_red_and_infrared, reported="4 bands", section={"channels": 4}),
    "negatives": Case(write_negatives, reported="10 whose mask contains no foreground"),
    "void_images": Case(
        write_void_images, reported="All pixels are ignored in 4 of 24 masks", section={"ignore_value": IGNORE}
    ),
    "plain": Case(write_plain),
    "tiny_objects": Case(write_tiny_objects, reported="foreground keeps", section={"image_size": "native"}),
    "split_folders": Case(write_split_folders, reported="are named like splits"),
    "fundus": Case(
        write_fundus,
        "check",
        "near_duplicates.png",
        changes={"near_duplicates": {"max_distance": 0, "min_correlation": 1.0}},
    ),
    "fixed_camera": Case(write_fixed_camera, reported="no image looks the same as one in another split"),
    "rare_class": Case(write_rare_class, reported="class 'class_2' occurs in none of the"),
    "many_classes": Case(write_many_classes, reported="0 is interpreted as unlabeled", section={"ignore_value": 0}),
    "bilinear": Case(write_bilinear, reported="soft edges", section={"mask_threshold": 128, "ignore_value": None}),
    "blurred": Case(write_blurred, reported="soft edges", section={"mask_threshold": 128, "ignore_value": None}),
    "numbered_few": Case(write_numbered_few, reported="write instances: {border: 2}"),
    "four_images": Case(write_four_images),
    "normalized_names": Case(write_normalized_names),
    "mask_suffix": Case(write_mask_suffix, section={"masks": "masks/**/*_segmentation"}),
    "gif_suffix": Case(write_gif_suffix, section={"masks": "masks/**/*_mask"}),
    "pascal_voc": Case(write_pascal_voc, reported="Pascal VOC"),
    "mask_per_object": Case(write_mask_per_object, reported="Data Science Bowl 2018"),
    "folder_per_split": Case(write_folder_per_split, reported="are named like splits"),
    "labelme": Case(write_labelme, reported="LabelMe", section={"source": "labelme"}),
}
