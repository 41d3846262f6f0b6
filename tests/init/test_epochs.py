"""Epochs that `init` suggests: enough steps for the number of training images, or a notice."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from ruamel.yaml import YAML

from pipeline.artifacts.project import PREPARED
from pipeline.cli import main
from pipeline.init.write_params import MIN_STEPS
from tests.prepare.conftest import create_image, read_samples

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def params(tmp_path, monkeypatch, skip_grid_timing):
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copy(ROOT / "params.yaml", tmp_path))


def write(folders, values=(0, 1)):
    """Write a number of pairs into each subfolder; each mask has 0 and one of the other values."""
    number = 0
    for folder, count in folders.items():
        for index in range(count):
            mask = np.zeros((32, 32), np.uint8)
            mask[8:24, 8:24] = values[1:][index % (len(values) - 1)]
            for kind, image in (("images", create_image(number, mask.shape)), ("masks", Image.fromarray(mask))):
                path = Path("cells", kind, folder, f"{index:04}.png")
                path.parent.mkdir(parents=True, exist_ok=True)
                image.save(path)
            number += 1


def init():
    result = CliRunner().invoke(main, ["init", "cells"])
    assert result.exit_code == 0, result.output
    return result.output


def load_train():
    return YAML(typ="safe").load(Path("params.yaml").read_text("utf-8"))["train"]


def count_steps():
    """Count the steps of a run on the prepared data, as the training loop does."""
    result = CliRunner().invoke(main, ["prepare"])
    assert result.exit_code == 0, result.output
    images = [row["split"] for row in read_samples(PREPARED).values()].count("train")
    train = load_train()
    return train["epochs"] * (images // min(train["batch_size"], images))


FOLDERS = {
    "four": {"": 4},
    "24": {"": 24},
    "30, stratified by four classes": {"": 30},
    "140": {"": 140},
    "more tested on than trained on": {"train": 9, "val": 20, "test": 60},
    "training and validation": {"train": 14, "val": 10},
    "training and test": {"train": 14, "test": 10},
}


@pytest.mark.parametrize(("name", "folders"), FOLDERS.items(), ids=FOLDERS.keys())
def test_init_suggests_enough_epochs(name, folders):
    write(folders, (0, 1, 2, 3, 4) if "classes" in name else (0, 1))
    output = init()
    steps = count_steps()
    assert steps >= MIN_STEPS
    train = load_train()
    assert train["epochs"] == 8 or steps * (train["epochs"] - 1) / train["epochs"] < MIN_STEPS
    assert "too few" not in output


def test_init_keeps_more_epochs_than_needed(params):
    params.write_text(params.read_text("utf-8").replace("\n  epochs: 8 ", "\n  epochs: 300 "), "utf-8")
    write({"": 24})
    init()
    assert load_train()["epochs"] == 300


def test_init_of_images_that_cannot_be_split_suggests_epochs():
    write({"train": 20, "": 10})
    assert "10 of 30 images are not in exactly one split folder" in init()
    assert 8 < load_train()["epochs"] < MIN_STEPS


def test_init_of_images_without_valid_pairs_suggests_epochs():
    write({"": 24})
    for index, path in enumerate(sorted(Path("cells/masks").iterdir())):
        for kind in ("images", "masks"):  # names that cannot be used
            path.parent.with_name(kind).joinpath(path.name).rename(f"cells/{kind}/={index}.png")
    init()
    assert load_train()["epochs"] == 150


def test_init_of_epochs_in_another_yaml_style_sets_or_reports_them(params):
    text = params.read_text("utf-8")
    params.write_text(re.sub(r"\n  epochs: 8 .*", "\n  'epochs':   8", text), "utf-8")
    write({"": 24})
    output = init()
    assert count_steps() < MIN_STEPS
    notice = re.search(r"unet, lite0: 8 epochs are only (\d+) steps, .* train\.epochs: (\d+)", output)
    assert int(notice[1]) == count_steps()
    assert int(notice[2]) * count_steps() / 8 >= MIN_STEPS


def test_init_reports_epochs_of_a_variant(params):
    text = params.read_text("utf-8")
    params.write_text(
        text.replace("    train: {encoder_lr_factor: 0.0}", "    train: {encoder_lr_factor: 0.0, epochs: 20}"),
        "utf-8",
    )
    write({"": 24})
    output = init()
    assert re.search(r"Notice: lite0: 20 epochs are only 60 steps", output)
    assert "unet:" not in output
    assert count_steps() >= MIN_STEPS
