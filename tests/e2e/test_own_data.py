"""DVC and a folder of the user's own: the stage takes either source's keys, and sees what changes in the folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from ruamel.yaml import YAML

from tests.e2e.conftest import Project, copy_project

SECTION = """
source: folder
path: cells
image_size: 32
resize: squash
classes:
  - {name: cell, colour: "#e69f00", foreground: true, value: 1}
  - {name: ground, colour: "#0072b2", foreground: false, value: 0}
ignore: null
splits: {validation: 0.3, test: 0.3}
showcase: null
seed: 0
train_images: null
"""


def write_pair(root: Path, name: str, level: int = 90) -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 1
    for kind, pixels in (("images", mask * level), ("masks", mask)):
        (root / "cells" / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / "cells" / kind / f"{name}.png")


def prepared(project: Project) -> bool:
    """Whether `dvc repro prepare` ran the stage."""
    return "Running stage 'prepare'" in project.run("dvc", "repro", "prepare")


def test_dvc_prepares_either_source_and_again_when_an_image_changes(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    project.run("dvc", "config", "--local", "core.no_scm", "true")
    assert prepared(project)
    for index in range(20):
        write_pair(project.root, f"cell{index}")
    yaml = YAML(typ="safe")
    params = project.root / "params.yaml"
    content = yaml.load(params.read_text(encoding="utf-8"))
    with params.open("w", encoding="utf-8") as file:
        yaml.dump({**content, "data": yaml.load(SECTION)}, file)
    assert prepared(project)
    assert project.read("data/prepared/classes.json")["source"] == "folder"
    assert not prepared(project)
    write_pair(project.root, "cell3", level=200)
    assert prepared(project)
