"""Published layouts: `init`, the check and `prepare` turn a small copy of each into the expected classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from pipeline.imaging import IGNORE
from pipeline.init.palettes import CAMVID, PASCAL_VOC
from tests.init.layout_checks import (
    NUM_IMAGES,
    SIZE,
    Expected,
    check_layout,
    get_split,
    make_image,
    make_mask,
    name_split,
    paint,
    run,
    save,
)


def write_pascal_voc(folder: Path, base: str = "") -> Expected:
    expected = Expected("Pascal VOC, ", ("background", "aeroplane", "bicycle", "bird"))
    palette = [channel for color in (*PASCAL_VOC.classes.values(),) for channel in color.to_bytes(3, "big")]
    lists: dict[str, list[str]] = {"train": [], "val": [], "trainval": []}
    for index in range(NUM_IMAGES):
        name = f"2007_{index:06}"
        save(make_image(index), folder, f"JPEGImages/{name}.jpg")
        if index >= 9:  # most images of VOC have no mask
            continue
        mask = make_mask(index)
        mask[0], mask[-1] = 255, 3
        image = Image.fromarray(mask)
        image.putpalette([*palette, *[0] * (3 * 255 - len(palette)), 224, 224, 192])
        save(image, folder, f"SegmentationClass/{name}.png")
        save(image, folder, f"SegmentationObject/{name}.png")
        split = "val" if index % 3 == 2 else "train"
        lists[split].append(name)
        lists["trainval"].append(name)
        expected.masks[name] = mask
        if split == "train":
            expected.splits[name] = "train"
    for name, ids in lists.items():
        path = folder / "ImageSets/Segmentation" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in ids))
    expected.section = {"ignore_value": 255, "images": f"{base}JPEGImages/*", "masks": f"{base}SegmentationClass/*"}
    return expected


def write_cityscapes(folder: Path, kind: str = "labelIds") -> Expected:
    expected = Expected(f"Cityscapes ({kind}), ", ("road", "sidewalk", "car"))
    values = {0: 7, 1: 8, 2: 26} if kind == "labelIds" else {0: 0, 1: 1, 2: 13}
    for index in range(NUM_IMAGES):
        split = get_split(index)
        name = f"bonn_{index:06}_000019"
        mask = make_mask(index)
        stored = np.vectorize(values.get)(mask).astype(np.uint8)
        stored[-1] = 1 if kind == "labelIds" else 255
        mask[-1] = IGNORE
        if split == "test":
            stored[:] = 0
        else:
            expected.masks[f"{split}__bonn__{name}"] = mask
            if split == "train":
                expected.splits[f"train__bonn__{name}"] = "train"
        save(make_image(index), folder, f"leftImg8bit/{split}/bonn/{name}_leftImg8bit.png")
        save(stored, folder, f"gtFine/{split}/bonn/{name}_gtFine_{kind}.png")
        save(stored, folder, f"gtFine/{split}/bonn/{name}_gtFine_instanceIds.png")
        (folder / f"gtFine/{split}/bonn/{name}_gtFine_polygons.json").write_text("{}")
    return expected


def write_ade20k(folder: Path) -> Expected:
    expected = Expected("ADE20K scene parsing, ", ("wall", "building"), section={"ignore_value": 0})
    for index in range(NUM_IMAGES):
        split = "training" if index % 3 else "validation"
        name = f"ADE_{'train' if index % 3 else 'val'}_{index:08}"
        mask = make_mask(index)
        save(make_image(index), folder, f"images/{split}/{name}.jpg")
        save(mask, folder, f"annotations/{split}/{name}.png")
        expected.masks[f"{split}__{name}"] = np.where(mask, mask - 1, IGNORE)
        if split == "training":
            expected.splits[f"{split}__{name}"] = "train"
    names = ["wall", "building, edifice", "sky", *(f"thing {number}" for number in range(4, 151))]
    rows = ["Idx\tRatio\tTrain\tVal\tStuff\tName", *(f"{place}\t0.1\t1\t1\t0\t{n}" for place, n in enumerate(names, 1))]
    (folder / "objectInfo150.txt").write_text("\n".join(rows))
    return expected


def write_segnet_camvid(folder: Path) -> Expected:
    expected = Expected("CamVid (SegNet), ", ("Sky", "Building", "Pole"), section={"ignore_value": 11})
    for index in range(NUM_IMAGES):
        split, name = get_split(index), f"0001TP_{index:06}"
        mask = make_mask(index)
        stored = mask.copy()
        stored[0], mask[0] = 11, IGNORE
        save(make_image(index), folder, f"{split}/{name}.png")
        save(stored, folder, f"{split}annot/{name}.png")
        expected.masks[f"{split}__{name}"] = mask
        expected.splits[f"{split}__{name}"] = name_split(split)
    return expected


def write_original_camvid(folder: Path) -> Expected:
    names = ("Animal", "Archway", "Bicyclist", "Bridge", "Building", "Car")
    expected = Expected("CamVid, ", names, section={"ignore_value": "#000000"})
    colors = {index: CAMVID.classes[name] for index, name in enumerate(names)}
    for index in range(NUM_IMAGES):
        mask = np.kron(np.roll(np.arange(6), index).reshape(2, 3), np.ones((32, 22), int))[:, :SIZE]
        painted = paint(mask, colors)
        painted[0], mask[0] = 0, IGNORE
        save(make_image(index), folder, f"701_StillsRaw_full/0001TP_{index:06}.png")
        save(painted, folder, f"LabeledApproved_full/0001TP_{index:06}_L.png")
        expected.masks[f"0001TP_{index:06}"] = mask
    return expected


def write_fastai_camvid(folder: Path) -> Expected:
    expected = Expected("CamVid (fast.ai), ", ("Animal", "Archway"), section={"ignore_value": 2})
    for index in range(NUM_IMAGES):
        mask = make_mask(index)
        save(make_image(index), folder, f"images/0001TP_{index:06}.png")
        save(mask, folder, f"labels/0001TP_{index:06}_P.png")
        expected.masks[f"0001TP_{index:06}"] = np.where(mask == 2, IGNORE, mask)
    (folder / "codes.txt").write_text("Animal\nArchway\nVoid\n")
    return expected


def write_kaggle_camvid(folder: Path) -> Expected:
    names = ("Sky", "Car", "Void")
    expected = Expected("CamVid (Kaggle), ", names, section={"ignore_value": "#000000"})
    colors = {0: 0x808080, 1: 0x400080, 2: 0}
    for index in range(NUM_IMAGES):
        split, name, mask = get_split(index), f"0001TP_{index:06}", make_mask(index)
        save(make_image(index), folder, f"{split}/{name}.png")
        save(paint(mask, colors), folder, f"{split}_labels/{name}_L.png")
        expected.masks[f"{split}__{name}"] = np.where(mask == 2, IGNORE, mask)
        expected.splits[f"{split}__{name}"] = name_split(split)
    (folder / "class_dict.csv").write_text("name,r,g,b\nSky,128,128,128\nCar,64,0,128\nVoid,0,0,0\n")
    return expected


def write_carvana(folder: Path) -> Expected:
    expected = Expected("Carvana, ", ("background", "foreground"), group_size=2)
    for index in range(NUM_IMAGES):
        name, mask = f"00087a{index // 2:06x}_{1 + index % 2:02}", make_mask(index, 2)
        save(make_image(index), folder, f"train/{name}.jpg")
        save(Image.fromarray(mask * np.uint8(255)).convert("1"), folder, f"train_masks/{name}_mask.gif")
        save(make_image(100 + index), folder, f"test/{index:032x}_01.jpg")
        expected.masks[name] = mask
    expected.section = {"images": "train/*.jpg"}
    return expected


def write_isic(
    folder: Path,
    year: int = 2018,
    images: str = "ISIC2018_Task1-2_{}_Input",
    masks: str = "ISIC2018_Task1_{}_GroundTruth",
) -> Expected:
    expected = Expected(f"ISIC {year}, ", ("background", "foreground"))
    for index in range(NUM_IMAGES):
        split = ("Training", "Training", "Validation", "Test")[index % 4]
        name, mask = f"ISIC_{index:07}", make_mask(index, 2)
        save(make_image(index), folder, images.format(split), f"{name}.jpg")
        save(make_image(index), folder, images.format(split), f"{name}_superpixels.png")
        save(mask * np.uint8(255), folder, masks.format(split), f"{name}_segmentation.png")
        expected.masks[f"{split}__{name}"] = mask
        expected.splits[f"{split}__{name}"] = split.lower().removesuffix("ing")
        (folder / images.format(split) / "ATTRIBUTION.txt").touch()
    return expected


def write_data_science_bowl(folder: Path) -> Expected:
    expected = Expected("Data Science Bowl 2018, ", ("background", "object", "border"))
    for index in range(NUM_IMAGES):
        name, mask = f"{index:064x}", make_mask(index)
        save(make_image(index).convert("RGBA"), folder, f"stage1_train/{name}/images/{name}.png")
        for number in (1, 2):
            save((mask == number) * np.uint8(255), folder, f"stage1_train/{name}/masks/{number * 7919:064x}.png")
        classes = np.zeros_like(mask)
        for number in (1, 2):
            rows, columns = (np.flatnonzero((mask == number).any(axis)) for axis in (1, 0))
            classes[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = 2
            classes[rows[2] : rows[-3] + 1, columns[2] : columns[-3] + 1] = 1
        expected.masks[name] = classes
    expected.section = {"instances": {"border": 2}}
    return expected


def write_nnunet(folder: Path) -> Expected:
    expected = Expected("nnU-Net, ", ("background", "road", "roof"))
    fold: dict[str, list[str]] = {"train": [], "val": []}
    for index in range(NUM_IMAGES):
        part, name, mask = "Ts" if index % 4 == 3 else "Tr", f"img_{index:03}", make_mask(index)
        save(make_image(index), folder, f"images{part}/{name}_0000.png")
        save(mask, folder, f"labels{part}/{name}.png")
        split = "test" if part == "Ts" else "validation" if index % 4 == 2 else "train"
        if part == "Tr":
            fold["val" if split == "validation" else "train"].append(name)
        expected.masks[f"{part}__{name}"] = mask
        expected.splits[f"{part}__{name}"] = split
    labels = {"background": 0, "road": 1, "roof": 2}
    content = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": labels,
        "numTraining": 9,
        "file_ending": ".png",
    }
    (folder / "dataset.json").write_text(json.dumps(content))
    (folder / "splits_final.json").write_text(json.dumps([fold, {"train": [], "val": []}]))
    return expected


def write_split_folders(folder: Path) -> Expected:
    expected = Expected(
        "*/images/* with masks */masks/*, ",
        ("background", "class_1", "class_2"),
        section={"images": "*/images/*", "masks": "*/masks/*"},
    )
    for index in range(NUM_IMAGES):
        split, mask = get_split(index), make_mask(index)
        save(make_image(index), folder, f"{split}/images/{index:03}.png")
        save(mask, folder, f"{split}/masks/{index:03}.png")
        expected.masks[f"{split}__{index:03}"] = mask
        expected.splits[f"{split}__{index:03}"] = name_split(split)
    return expected


def write_paired(images: str, masks: str, image_pattern: str, mask_pattern: str) -> Callable[[Path], Expected]:
    """Return a function that writes images and masks to paths with {index}."""

    def write(folder: Path) -> Expected:
        section = {"images": image_pattern, "masks": mask_pattern}
        title = "" if image_pattern == "images/**/*" == mask_pattern else f"{image_pattern} with masks {mask_pattern}, "
        expected = Expected(title, ("background", "class_1", "class_2"), section=section)
        for index in range(NUM_IMAGES):
            mask = make_mask(index)
            save(make_image(index), folder, images.format(index=f"{index:03}"))
            save(mask, folder, masks.format(index=f"{index:03}"))
            expected.masks[f"{index:03}"] = mask
        return expected

    return write


def write_sites(folder: Path) -> Expected:
    """Write folders of images and masks at different depths."""
    section = {"images": "**/images/*", "masks": "**/masks/*"}
    expected = Expected("**/images/* with masks **/masks/*, ", ("background", "class_1", "class_2"), section=section)
    for index in range(NUM_IMAGES):
        site, mask = ("a", "b/day1")[index % 2], make_mask(index)
        save(make_image(index), folder, f"{site}/images/{index:03}.png")
        save(mask, folder, f"{site}/masks/{index:03}.png")
        expected.masks[f"{site.replace('/', '__')}__{index:03}"] = mask
    return expected


def write_class_files(folder: Path, path: str = "masks/{index}_{name}.png") -> Expected:
    pattern = path.format(index="**/*", name="{class}").removesuffix(".png")
    expected = Expected(f"images/**/* with masks {pattern}, ", ("background", "cell", "cell_wall"))
    expected.section = {"masks": pattern}
    for index in range(NUM_IMAGES):
        mask = make_mask(index)
        save(make_image(index), folder, f"images/{index:03}.png")
        for value in (1, 2):
            name = expected.names[value]
            save((mask == value) * np.uint8(255), folder, path.format(index=f"{index:03}", name=name))
        expected.masks[f"{index:03}"] = mask
    return expected


LAYOUTS: dict[str, Callable[[Path], Expected]] = {
    "Pascal VOC": write_pascal_voc,
    "Cityscapes labelIds": write_cityscapes,
    "Cityscapes labelTrainIds": lambda folder: write_cityscapes(folder, "labelTrainIds"),
    "ADE20K": write_ade20k,
    "CamVid of SegNet": write_segnet_camvid,
    "CamVid in colors": write_original_camvid,
    "CamVid of fast.ai": write_fastai_camvid,
    "CamVid of Kaggle": write_kaggle_camvid,
    "in another folder": lambda folder: write_pascal_voc(folder / "VOCdevkit/VOC2012", "VOCdevkit/VOC2012/"),
    "ISIC 2017": lambda folder: write_isic(folder, 2017, "ISIC-2017_{}_Data", "ISIC-2017_{}_Part1_GroundTruth"),
    "Carvana": write_carvana,
    "ISIC": write_isic,
    "Data Science Bowl": write_data_science_bowl,
    "nnU-Net": write_nnunet,
    "one folder per split": write_split_folders,
    "folders at different depths": write_sites,
    "one file per class": write_class_files,
    "one folder per class": lambda folder: write_class_files(folder, "masks/{name}/{index}.png"),
    "suffix": write_paired(
        "images/{index}.jpg", "masks/{index}_segmentation.png", "images/**/*", "masks/**/*_segmentation"
    ),
    "one folder": write_paired("{index}.jpg", "{index}_mask.png", "*", "*_mask"),
    "suffixes": write_paired("{index}_image.png", "{index}_mask.png", "*_image", "*_mask"),
    "prefixes in one folder": write_paired("img_{index}.png", "mask_{index}.png", "img_*", "mask_*"),
    "prefix of masks": write_paired("{index}.png", "mask_{index}.png", "*", "mask_*"),
    "whole names": write_paired("{index}/image.png", "{index}/mask.png", "**/image", "**/mask"),
    "endings": write_paired("{index}.jpg", "{index}.png", "*.jpg", "*.png"),
    "prefixes": write_paired("imgs/img_{index}.png", "labels/label_{index}.png", "imgs/img_*", "labels/label_*"),
    "suffixed folders": write_paired(
        "a/train_images/{index}.png", "a/train_masks/{index}.png", "a/train_images/*", "a/train_masks/*"
    ),
}


@pytest.mark.parametrize("write", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_layout_is_recognized_and_prepared(write: Callable[[Path], Expected], project: Path) -> None:
    (project / "set").mkdir()
    check_layout(write(project / "set"), project)


@pytest.mark.parametrize(
    ("folders", "others", "images", "masks"),
    [
        (("day1/images", "day1/masks"), ("day2/images", "day2/labels"), "day1/images/*", "day1/masks/*"),
        (("a/images", "a/masks", "b/images", "b/masks"), ("0/imgs", "0/labels"), "*/images/*", "*/masks/*"),
        (("images", "masks"), ("test_images", "test_masks"), None, None),
        (("images", "masks"), ("annotations",), None, None),
        (("images", "masks"), ("labels",), None, None),
        (("imgs", "masks"), (".",), "imgs/*", "masks/*"),
    ],
)
def test_init_reports_images_that_its_patterns_leave_out(
    folders: tuple[str, ...], others: tuple[str, ...], images: str | None, masks: str | None, project: Path
) -> None:
    for place in (*folders, *others):
        for index in range(NUM_IMAGES):
            is_image = "image" in place or "imgs" in place
            save(make_image(index) if is_image else make_mask(index), project / "set" / place / f"{index:03}.png")
    result = run("init", "set")
    section = YAML(typ="safe").load((project / "params.yaml").read_text(encoding="utf-8"))["data"]
    assert (section.get("images"), section.get("masks")) == (images, masks), result.output
    assert f"{NUM_IMAGES * len(others)} image files match neither data.images" in result.output
    assert f"{others[0]}/" in result.output
