"""`pipeline export --format bioimageio`: packages that pass the validator of bioimage.io."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.cli import main
from pipeline.params.file import read_params
from pipeline.train.train_cell import train_cell
from tests.aerial import DATA, write_scenes
from tests.conftest import TRAINED, write_params
from tests.discs import train_on_discs
from tests.optional import import_or_skip
from tests.predict.trained_project import train_project

# Its dependencies are only imported here, and warn when they are imported.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def spec() -> Any:
    return import_or_skip("bioimageio.spec")


def call(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["export", "--format", "bioimageio", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.output


def check_package(spec: Any, path: Path) -> Any:
    """Validate a package, and check that its network reproduces the test output; return its description."""
    model = spec.load_description(path)
    assert model.validation_summary.status == "valid-format", model.validation_summary.format()
    with zipfile.ZipFile(path) as package:
        tensor, expected = (np.load(package.open(name)) for name in ("test_input.npy", "test_output.npy"))
        session = onnxruntime.InferenceSession(package.read("network.onnx"))
    (scale,) = (step.kwargs.gain for step in model.inputs[0].preprocessing if step.id == "scale_linear")
    (found,) = session.run(None, {"images": (tensor * scale).astype(np.float32)})
    np.testing.assert_allclose(found, expected, atol=1e-5)
    return model


def test_package_of_padded_images_passes_the_validator(
    spec: Any, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nothing answers there
    path = tmp_path / "new" / "model.zip"
    output = call("--out", path, "--license", "CC-BY-4.0")
    assert "The package names no author: set report.author." in output
    assert "license" not in output
    assert 'InferenceSession("network.onnx")' in output
    model = check_package(spec, path)
    assert model.license == "CC-BY-4.0"
    (tensor,), (result,) = model.inputs, model.outputs
    assert [step.id for step in tensor.preprocessing] == ["ensure_dtype", "scale_linear", "ensure_dtype"]
    assert result.axes[1].channel_names == ["animal", "background", "border"]
    with zipfile.ZipFile(path) as package:
        assert {"README.md", "network.onnx", "test_input.npy", "test_output.npy"} < set(package.namelist())
        with package.open("cover.png") as file, Image.open(file) as cover:
            assert cover.size == (640, 320)
        readme = package.read("README.md").decode()
    assert "| val_loss |" in readme
    assert "## Validation" in readme


def test_package_of_native_images_passes_the_validator(
    spec: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    train_on_discs({}, epochs=1)
    output = call("--run", TRAINED)
    assert "The package states no license" in output
    model = check_package(spec, Path(f"exports/{TRAINED}.zip"))
    assert [axis.size for axis in model.inputs[0].axes[2:]] == [32, 32]
    with zipfile.ZipFile(f"exports/{TRAINED}.zip") as package, package.open("test_input.npy") as file:
        assert np.load(file).dtype == np.uint8


def test_package_of_scenes_names_their_bands(
    spec: Any, tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_or_skip("rasterio")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    write_scenes(Path("scenes"), 2)
    scenes = {"tile": 32, "block": 1, "bands": ["B08", 3, "B02"], "window": [0, 30_000]}
    train_project(
        tmp_path, store, {**DATA, "channels": 3, "scenes": scenes}, epochs=1, patch_size=32, patches_per_epoch=8
    )
    output = call("--run", TRAINED)
    assert "# Channels: bands B08, 3, B02" in output
    model = check_package(spec, Path(f"exports/{TRAINED}.zip"))
    assert model.inputs[0].axes[1].channel_names == ["B08", "band3", "B02"]
    assert model.inputs[0].description.startswith("bands B08, 3, B02,")
    with zipfile.ZipFile(f"exports/{TRAINED}.zip") as package:
        readme = package.read("README.md").decode()
    assert "The channels are bands B08, 3, B02: 3 x height x width" in readme
    assert "Intensities are scaled linearly" in readme


def test_authors_are_those_of_the_report(spec: Any, project: Path) -> None:
    grid = {"variant": ["unet"], "learning_rate": [0.01], "seed": [0]}
    changes = {"grid": grid, "report": {"author": "Ada Lovelace and Émilie du Châtelet, Chien-Shiung Wu"}}
    train_cell(read_params(write_params(project, changes)).cell("unet", 0.01, 0))
    assert "names no author" not in call("--run", TRAINED, "--out", "a.zip")
    names = [author.name for author in spec.load_description("a.zip").authors]
    assert names == ["Ada Lovelace", "Émilie du Châtelet", "Chien-Shiung Wu"]
    assert "--license: 'best' is not" in call("--run", TRAINED, "--license", "best", code=1)


def test_missing_package_is_reported_before_the_export(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    monkeypatch.setitem(sys.modules, "bioimageio.spec", None)
    assert "pip install 'unet-learning-report[bioimageio]'" in call(code=1)
    assert not Path("exports").exists()
