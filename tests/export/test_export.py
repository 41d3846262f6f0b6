"""`pipeline export`: ONNX files that describe themselves, and the printed code that runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

from pipeline.artifacts.prepared_data import PreparedData
from pipeline.artifacts.project import PREPARED, Project
from pipeline.cli import main
from pipeline.export.usage_example import create_example
from pipeline.inference.trained_run import TrainedRun
from pipeline.params.file import read_params
from pipeline.prepare.prepare_data import prepare
from pipeline.train.train_cell import train_cell
from tests.channels import replace_images
from tests.conftest import ROOT, TRAINED, write_params
from tests.discs import train_on_discs
from tests.nuclei import SECTION, draw_nuclei, write_nuclei, write_nuclei_params

# Runs code in an interpreter that can import neither this package nor torch nor mlflow.
RUN_ALONE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pipeline", "torch", "mlflow"):
            raise ImportError(f"{name} is not available")

sys.meta_path.insert(0, Refuse())
exec(sys.stdin.read())
"""


def call(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == code, done.output
    return done.output


def run_printed_code(output: str) -> tuple[str, np.ndarray]:
    """Run the code that `pipeline export` printed, and return its output and the mask."""
    _, code = output.split("To segment an image:\n\n")
    done = subprocess.run([sys.executable, "-c", RUN_ALONE], input=code, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, np.asarray(Image.open("mask.png"))


def read_metadata(path: Path) -> dict[str, Any]:
    return onnxruntime.InferenceSession(str(path)).get_modelmeta().custom_metadata_map


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "new folder" / 'a "model".onnx'
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(trained)
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nothing answers there
        call("export", "--out", path)
    return path


@pytest.fixture(scope="module")
def native_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a run that was trained on patches of native images."""
    folder = tmp_path_factory.mktemp("native")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("DVC_ROOT", raising=False)
        train_on_native_discs(1.0)
    return folder


def train_on_native_discs(downscale: float) -> None:
    train_on_discs({"downscale": downscale, "pixel_size": [0.5, 0.25], "pixel_unit": "µm"}, epochs=6)


def test_metadata_describes_the_model(exported: Path, trained: Path) -> None:
    about = read_metadata(exported)
    classes = json.loads((trained / PREPARED / PreparedData.CLASSES).read_text(encoding="utf-8"))["classes"]
    assert json.loads(about["class_names"]) == [item["name"] for item in classes]
    assert [(item["index"], item["color"]) for item in json.loads(about["classes"])] == [
        (index, item["color"]) for index, item in enumerate(classes)
    ]
    assert (about["run"], about["channels"], about["bits"], about["max_value"]) == (TRAINED, "3", "8", "255")
    assert (json.loads(about["input_size"]), about["resize"], about["padding"]) == ([32, 32], "letterbox", "reflect")
    assert about["pixel_size"] == "null"
    onnx.checker.check_model(onnx.load(exported), full_check=True)


def test_file_has_no_paths_of_this_machine(exported: Path) -> None:
    content = exported.read_bytes()
    assert str(Path.cwd()).encode() not in content
    assert b"site-packages" not in content


def test_json_has_the_file_and_the_example(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    found = json.loads(call("export", "--out", tmp_path / "b.onnx", "--json"))
    assert found["file"] == str(tmp_path / "b.onnx")
    assert found["agreement"] > 0.98
    assert 'InferenceSession("b.onnx")' in read_metadata(tmp_path / "b.onnx")["example"]
    assert f'InferenceSession("{tmp_path / "b.onnx"}")' in found["example"]


def compare_printed_code_with_predict(image: Image.Image, highest: int = 1) -> tuple[str, float]:
    """Return what the printed code prints, and the share of pixels to which it gives the class of `predict`.

    Args:
        image: The image.
        highest: Mask value of the class with the index 1, if the others are 0; 1 if values are indices.
    """
    image.save("image.png")
    output = call("export", "--run", TRAINED)
    assert Path(f"exports/{TRAINED}.onnx").is_file()
    call("predict", "image.png", "--run", TRAINED)
    printed, mask = run_printed_code(output)
    return printed, float((mask == np.asarray(Image.open("predictions/masks/image.png")) // highest).mean())


def test_printed_code_segments_padded_images_like_predict(project: Path) -> None:
    grid = {"variant": ["unet"], "learning_rate": [0.01], "seed": [0]}
    train_cell(read_params(write_params(project, {"grid": grid})).cell("unet", 0.01, 0))
    columns = np.linspace(0, 255, 150).astype(np.uint8)
    image = Image.fromarray(np.broadcast_to(columns[None, :, None], (90, 150, 3)).copy())
    image.paste((200, 60, 20), (40, 20, 90, 70))
    transparency = Image.new("L", image.size, 255)
    transparency.paste(0, (0, 60, 150, 90))
    image.putalpha(transparency)
    printed, agreement = compare_printed_code_with_predict(image)
    assert agreement > 0.99
    assert [line.split(":")[0] for line in printed.splitlines()] == ["animal", "background", "border"]


def test_printed_code_segments_stretched_gray_images_like_predict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    write_nuclei(Path("nuclei"))
    params = write_nuclei_params(tmp_path, data={**SECTION, "image_size": 32, "resize": "stretch"})
    prepare(params)
    train_cell(params.cell("unet", 0.01, 0))
    _, agreement = compare_printed_code_with_predict(
        Image.fromarray(draw_nuclei(np.random.default_rng(99), (90, 140))[0])
    )
    assert agreement > 0.99


def test_code_in_the_guide_is_the_printed_code(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    code = create_example(TrainedRun.load(read_params(), TRAINED, Project()), Path("exports/unet-0.004-0.onnx"), None)
    assert f"```python\n{code}```" in (ROOT / "docs/how-to/export.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint8), (1, np.uint16), (5, np.uint16)])
def test_printed_code_reads_other_channels(channels: int, dtype: type, project: Path) -> None:
    images = replace_images(project, channels, dtype)
    params = read_params(write_params(project, {"grid": {"variant": ["unet"], "learning_rate": [0.01], "seed": [0]}}))
    train_cell(params.cell("unet", 0.01, 0))
    ending = "png" if (channels, dtype) == (1, np.uint8) else "tif"
    if ending == "png":
        Image.fromarray(images[0, ..., 0]).save("image.png")
    else:
        tifffile.imwrite("image.tif", images[0].transpose(2, 0, 1).squeeze(), photometric="minisblack")
    output = call("export", "--run", TRAINED)
    call("predict", f"image.{ending}", "--run", TRAINED)
    _, mask = run_printed_code(output)
    assert (mask == np.asarray(Image.open(f"predictions/masks/image.{ending}"))).mean() > 0.98


@pytest.mark.parametrize(("channels", "dtype", "endings"), [(3, np.uint16, ("tif",)), (4, np.uint8, ("tif", "png"))])
def test_printed_code_reads_interleaved_channels(
    channels: int, dtype: type, endings: tuple[str, ...], project: Path
) -> None:
    images = replace_images(project, channels, dtype)
    params = read_params(write_params(project, {"grid": {"variant": ["unet"], "learning_rate": [0.01], "seed": [0]}}))
    train_cell(params.cell("unet", 0.01, 0))
    output = call("export", "--run", TRAINED)
    for ending in endings:
        if ending == "png":
            Image.fromarray(images[0]).save("image.png")
        else:
            tifffile.imwrite("image.tif", images[0], photometric="rgb")
        call("predict", f"image.{ending}", "--run", TRAINED)
        _, mask = run_printed_code(output.replace('"image.tif"', f'"image.{ending}"'))
        assert (mask == np.asarray(Image.open(f"predictions/masks/image.{ending}"))).mean() > 0.98


@pytest.mark.parametrize("level", [0, 60])
def test_printed_code_leaves_out_a_band_that_is_not_transparency(
    level: int, native_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(native_project)
    colors = np.asarray(Image.open("discs/images/03.png"))
    infrared = np.random.default_rng(0).integers(0, level + 1, colors.shape[:2]).astype(np.uint8)
    printed, agreement = compare_printed_code_with_predict(Image.fromarray(np.dstack([colors, infrared])), highest=255)
    assert agreement > 0.97
    assert "disc: 0.0%" not in printed


def test_printed_code_segments_native_images_in_tiles(native_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(native_project)
    check_native_export(1.0)


def test_printed_code_segments_downscaled_images_in_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    train_on_native_discs(1.5)
    check_native_export(1.5)


def check_native_export(downscale: float) -> None:
    """Check that the printed code of the run in this folder predicts what `predict` does."""
    Image.open("discs/images/03.png").save("image.png")
    output = call("export", "--run", TRAINED, "--out", "native.onnx")
    about = read_metadata(Path("native.onnx"))
    assert json.loads(about["pixel_size"]) == {"height": 0.5, "width": 0.25, "unit": "µm"}
    assert [item["mask_value"] for item in json.loads(about["classes"])] == [0, 255]
    assert (about["resize"], float(about["downscale"])) == ("native", downscale)
    call("predict", "image.png", "--run", TRAINED)
    _, mask = run_printed_code(output)
    expected = np.asarray(Image.open("predictions/masks/image.png")) // 255
    assert mask.shape == expected.shape
    assert (mask == expected).mean() > 0.97


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--run", "missing"], 1, "run.json is missing"),
        (["--run", "ensemble"], 1, "Name a run"),
        (["--out", "file/model.onnx"], 1, "--out: file is not writable"),
        (["--out", "."], 2, "is a directory"),
        (["--license", "MIT"], 2, "--license is only for packages"),
    ],
)
def test_export_that_cannot_succeed_is_refused(
    arguments: list[str], code: int, message: str, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained)
    Path("file").touch()
    assert message in call("export", *arguments, code=code)
