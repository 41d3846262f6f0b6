"""A run is only used with the parameters of images and masks with which its data was prepared."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from ruamel.yaml import YAML

from pipeline.cli import main
from tests.aerial import DATA as SCENES
from tests.aerial import write_scenes
from tests.conftest import TRAINED, merge
from tests.discs import CLASSES, write_discs
from tests.discs import DATA as DISCS
from tests.optional import import_or_skip
from tests.predict.trained_project import train_project
from tests.stacks import DATA as VOLUMES
from tests.stacks import draw_volume, write_tiffs

PREDICT = ("predict", "image", "--run", TRAINED, "--out", "out")
EXPORT = ("export", "--run", TRAINED, "--out", "model.onnx")
EVALUATE = ("evaluate", TRAINED)


def train_on_resized_discs(root: Path, store: Path) -> None:
    write_discs(root / "discs", 12)
    train_project(root, store, {**DISCS, "image_size": 32}, epochs=1)


def train_on_native_discs(root: Path, store: Path) -> None:
    write_discs(root / "discs", 12)
    train_project(root, store, DISCS, epochs=1, patch_size=32)


def train_on_slices(root: Path, store: Path) -> None:
    write_tiffs(root / "volumes")
    for number in range(6):
        values = draw_volume(number)[0].astype(np.float32)
        tifffile.imwrite(root / f"volumes/images/case{number}.tif", values, photometric="minisblack")
    train_project(root, store, {**VOLUMES, "slices": {"axis": "z", "window": [-200, 200]}}, epochs=1)


def train_on_scenes(root: Path, store: Path) -> None:
    import_or_skip("rasterio")
    write_scenes(root / "scenes", 2)
    section = {**SCENES, "scenes": {"tile": 32, "block": 1, "bands": ["B08", "B04"]}}
    train_project(root, store, section, epochs=1, patch_size=32, patches_per_epoch=8)


PROJECTS = {
    "discs": train_on_resized_discs,
    "native": train_on_native_discs,
    "slices": train_on_slices,
    "scenes": train_on_scenes,
}


@pytest.fixture(scope="module")
def open_project(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that trains a project once, by its name in `PROJECTS`."""
    trained: dict[str, Path] = {}

    def create(name: str) -> Path:
        if name not in trained:
            trained[name] = tmp_path_factory.mktemp(name)
            PROJECTS[name](trained[name], store)
        return trained[name]

    return create


@pytest.fixture
def call(open_project: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that changes `data` and keys of `train` in a project, and returns what a command prints."""

    def change_and_call(name: str, changes: Mapping[str, Any], arguments: tuple[str, ...], **train: Any) -> str:
        root = tmp_path / "project"
        shutil.copytree(open_project(name), root, symlinks=True)
        monkeypatch.chdir(root)
        monkeypatch.delenv("DVC_ROOT", raising=False)
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yaml = YAML(typ="safe")
        content = yaml.load(Path("params.yaml").read_text(encoding="utf-8"))
        content["data"] = merge(content["data"], dict(changes))
        content["train"].update(train)
        with Path("params.yaml").open("w", encoding="utf-8") as file:
            yaml.dump(content, file)
        shutil.copytree(root / content["data"]["path"] / "images", "image")
        done = CliRunner().invoke(main, arguments)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return f"exit code {done.exit_code}\n{done.output}"

    return change_and_call


RENAMED = [CLASSES[0], {**CLASSES[1], "name": "circle"}]
SWAPPED = [{**CLASSES[0], "mask_value": 255}, {**CLASSES[1], "mask_value": 0}]


@pytest.mark.parametrize(
    ("project", "changes", "change"),
    [
        ("discs", {"resize": "stretch"}, 'data.resize: changed from "letterbox" to "stretch"'),
        ("discs", {"classes": RENAMED}, "data.classes.disc: changed from 255 to not set"),
        ("discs", {"classes": SWAPPED}, "data.classes.ground: changed from 0 to 255"),
        ("discs", {"mask_threshold": 128}, "data.mask_threshold: changed from not set to 128"),
        ("native", {"downscale": 2.0}, "data.downscale: changed from 1.0 to 2.0"),
        (
            "slices",
            {"slices": {"window": [-1000, 3000]}},
            "data.slices.window: changed from [-200.0, 200.0] to [-1000.0, 3000.0]",
        ),
        ("scenes", {"scenes": {"bands": ["B04", "B08"]}}, "data.scenes.bands: changed from "),
    ],
)
def test_predict_stops_after_a_parameter_of_images_or_masks_changed(
    project: str, changes: dict[str, Any], change: str, call: Callable[..., str]
) -> None:
    output = call(project, changes, PREDICT)
    assert output.startswith("exit code 1\n")
    assert change in output
    assert "Restore the value, or prepare the data and train again: make report" in output


@pytest.mark.parametrize("arguments", [EXPORT, EVALUATE], ids=["export", "evaluate"])
def test_other_commands_stop_after_a_parameter_of_images_changed(
    arguments: tuple[str, ...], call: Callable[..., str]
) -> None:
    assert "data.resize: changed from" in call("discs", {"resize": "stretch"}, arguments)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"path": "./discs", "seed": 1, "splits": {"validation": 0.3}, "image_size": 64, "max_train_images": 4},
        {"classes": [{**item, "color": color} for item, color in zip(CLASSES, ("#111111", "#222222"), strict=True)]},
        {"pixel_size": 0.5, "pixel_unit": "mm"},
    ],
)
def test_predict_continues_after_other_parameters_changed(changes: dict[str, Any], call: Callable[..., str]) -> None:
    assert call("discs", changes, PREDICT).startswith("exit code 0\n")


@pytest.mark.parametrize("arguments", [PREDICT, EXPORT, EVALUATE], ids=["predict", "export", "evaluate"])
def test_commands_continue_after_resize_of_native_images_changed(
    arguments: tuple[str, ...], call: Callable[..., str]
) -> None:
    assert call("native", {"resize": "stretch"}, arguments).startswith("exit code 0\n")


def test_prepared_data_does_not_depend_on_resize_of_native_images(
    open_project: Callable[[str], Path], call: Callable[..., str]
) -> None:
    file = Path("data/prepared/classes.json")
    before = (open_project("native") / file).read_bytes()
    assert call("native", {"resize": "stretch"}, ("prepare",)).startswith("exit code 0\n")
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("project", "size", "patch_size"), [("discs", "native", 32), ("native", 32, None)], ids=["to native", "to fixed"]
)
def test_predict_continues_after_image_size_changed(
    project: str, size: object, patch_size: int | None, call: Callable[..., str]
) -> None:
    assert call(project, {"image_size": size}, PREDICT, patch_size=patch_size).startswith("exit code 0\n")


def test_predict_with_data_of_an_earlier_version_asks_to_prepare_it_again(call: Callable[..., str]) -> None:
    assert call("discs", {}, PREDICT).startswith("exit code 0\n")
    file = Path("data/prepared/classes.json")
    content = json.loads(file.read_text(encoding="utf-8"))
    del content["input_keys"]
    file.write_text(json.dumps(content), encoding="utf-8")
    output = CliRunner().invoke(main, PREDICT).output
    assert f"Error: {file}: has no input_keys, because the data was prepared by an earlier version." in output
    assert "Prepare it again: dvc repro --force prepare" in output
    assert CliRunner().invoke(main, ["prepare"]).exit_code == 0
    assert CliRunner().invoke(main, PREDICT).exit_code == 0
