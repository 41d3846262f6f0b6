"""DVC and users' data: `prepare` accepts the keys of each source, and becomes stale if an image changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from tests.e2e.conftest import Project, copy_project
from tests.preloaded import PreloadedCommands

FOLDER = {
    "source": "image_mask_folder",
    "path": "cells",
    "image_size": 32,
    "resize": "stretch",
    "classes": [
        {"name": "cell", "color": "#e69f00", "foreground": True, "mask_value": 1},
        {"name": "ground", "color": "#0072b2", "foreground": False, "mask_value": 0},
    ],
    "ignore_value": None,
    "splits": {"validation": 0.3, "test": 0.3},
    "showcase_ids": None,
    "seed": 0,
    "max_train_images": None,
}
COCO = {
    **FOLDER,
    "source": "coco",
    "annotations": "export.json",
    "classes": [
        {"name": "cell", "color": "#e69f00", "foreground": True, "category": "cell"},
        {"name": "ground", "color": "#0072b2", "foreground": False, "category": None},
    ],
    "ignore_value": [],
}


def write_pair(root: Path, name: str, seed: int) -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 1
    image = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)
    for kind, pixels in (("images", image), ("masks", mask)):
        (root / "cells" / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / "cells" / kind / f"{name}.png")


def write_export(root: Path) -> None:
    """Replace the masks by equivalent COCO annotations."""
    square = {"segmentation": [[8, 8, 24, 8, 24, 24, 8, 24]], "iscrowd": 0, "category_id": 1}
    names = sorted(path.name for path in (root / "cells/images").iterdir())
    images = [{"id": image_id, "file_name": name, "height": 32, "width": 32} for image_id, name in enumerate(names)]
    annotations = [{"id": image_id, "image_id": image_id, **square} for image_id in range(len(names))]
    export = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cell"}]}
    (root / "cells/export.json").write_text(json.dumps(export))
    shutil.rmtree(root / "cells/masks")


def repro_prepare(project: Project) -> bool:
    """Run `dvc repro prepare`; return whether the stage ran."""
    return "Running stage 'prepare'" in project.run("dvc", "repro", "prepare")


@pytest.fixture
def project(tmp_path: Path, commands: PreloadedCommands) -> Project:
    """A project with twenty image-mask pairs."""
    project = copy_project(tmp_path / "project", commands)
    project.run("dvc", "config", "--local", "core.no_scm", "true")
    for index in range(20):
        write_pair(project.root, f"cell{index}", index)
    return project


def write_data_section(project: Project, section: dict[str, Any]) -> None:
    params = project.root / "params.yaml"
    content = YAML(typ="safe").load(params.read_text(encoding="utf-8"))
    with params.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump({**content, "data": section}, file)


def test_prepare_runs_again_if_the_source_or_an_image_changes(project: Project) -> None:
    assert repro_prepare(project)
    write_data_section(project, FOLDER)
    assert repro_prepare(project)
    assert project.read("data/prepared/classes.json")["source"] == "image_mask_folder"
    assert not repro_prepare(project)
    write_pair(project.root, "cell3", seed=100)
    assert repro_prepare(project)


@pytest.mark.parametrize("section", [FOLDER, COCO], ids=["folder", "coco"])
def test_prepare_accepts_data_that_dvc_tracks(project: Project, section: dict[str, Any]) -> None:
    """The data is added to DVC, removed, and checked out as links into the cache."""
    write_data_section(project, section)
    if section is COCO:
        write_export(project.root)
    assert repro_prepare(project)
    before = project.read("data/prepared/classes.json")
    project.run("dvc", "add", "cells")
    project.run("dvc", "config", "--local", "cache.type", "symlink")
    shutil.rmtree(project.root / "cells")
    project.run("dvc", "checkout", "cells.dvc")
    assert (project.root / "cells/images/cell3.png").is_symlink()
    assert not repro_prepare(project)
    project.run("pipeline", "prepare")
    assert project.read("data/prepared/classes.json") == before
    (project.root / "cells/images/cell3.png").unlink()
    write_pair(project.root, "cell3", seed=100)
    if section is COCO:
        shutil.rmtree(project.root / "cells/masks")
    project.run("dvc", "add", "cells")
    assert repro_prepare(project)
    assert project.read("data/prepared/classes.json") != before


def test_temporary_experiment_has_ignored_images_only_if_dvc_tracks_them(project: Project) -> None:
    """See docs/how-to/scale.md: queued experiments run in the same kind of copy as those with --temp."""
    write_data_section(project, FOLDER)
    project.run("dvc", "config", "--local", "--unset", "core.no_scm")
    with (project.root / ".gitignore").open("a", encoding="utf-8") as file:
        file.write("/cells/\n")
    commit = ("git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "--message", "all")
    for command in (("git", "init", "--quiet"), ("git", "add", "--all"), commit):
        project.run(*command)
    run = ("dvc", "exp", "run", "--temp", "prepare")
    assert "No such file or directory" in project.run(*run, code=255)
    assert "Running stage 'prepare'" in project.run(*run, "--set-param", f"data.path={project.root / 'cells'}")
    for command in (("dvc", "add", "cells"), ("git", "add", "cells.dvc"), commit):
        project.run(*command)
    assert "Running stage 'prepare'" in project.run(*run, "--set-param", "data.seed=1")
