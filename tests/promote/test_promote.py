"""`pipeline promote`: registered models, loaded and served without this package."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.prepared_data import PreparedData, SegmentationClass
from pipeline.artifacts.project import EVALUATION, PREPARED, Project
from pipeline.cli import main
from pipeline.inference.trained_run import TrainedRun
from pipeline.params.data.image_data import FolderData, find_scenes
from pipeline.params.file import read_params
from pipeline.promote.model_card import END, MAX_LENGTH, ModelCard
from pipeline.promote.serve_command import format_serve_command
from pipeline.tracking.store import open_client
from tests.aerial import DATA as AERIAL_DATA
from tests.conftest import TRAINED

NAME = "learning-report"
pytestmark = pytest.mark.timeout(300)

# Loads the model in an interpreter that can import neither this package nor torch.
LOAD_MODEL = """
import json, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pipeline", "torch"):
            raise ImportError(f"{name} is not available")

sys.meta_path.insert(0, Refuse())
import mlflow.pyfunc
model = mlflow.pyfunc.load_model(sys.argv[1])
import pandas
found = model.predict(pandas.DataFrame({"image": json.loads(sys.stdin.read())}))
print(json.dumps(found.to_dict("records")))
"""


@dataclass(frozen=True)
class Registered:
    root: Path
    uri: str
    output: str
    model_folder: Path


@pytest.fixture(scope="module")
def registered(trained: Path) -> Iterator[Registered]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(trained)
        patch.delenv("DVC_ROOT", raising=False)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        done = CliRunner().invoke(main, ["promote"])
        assert done.exit_code == 0, done.output
        uri = f"sqlite:///{trained}/mlflow.db"
        client = open_client(uri)
        version = client.get_model_version_by_alias(NAME, "champion")
        run = client.get_run(str(version.run_id))
        yield Registered(trained, uri, done.output, Path(str(run.info.artifact_uri)) / "model")


def encode_base64(image: Image.Image, file_format: str = "PNG") -> str:
    buffer = io.BytesIO()
    image.save(buffer, file_format)
    return base64.b64encode(buffer.getvalue()).decode()


def load_images(root: Path) -> list[Image.Image]:
    images = np.load(root / PREPARED / "validation" / PreparedData.IMAGES)
    return [Image.fromarray(image) for image in images[:3]]


def test_promoted_version_has_scores_of_the_run(registered: Registered) -> None:
    client = open_client(registered.uri)
    version = client.get_model_version_by_alias(NAME, "champion")
    assert version.tags["run"] == TRAINED
    assert float(version.tags["agreement"]) > 0.98
    assert version.tags["beats_baseline"] in ("true", "false")
    metrics = json.loads((registered.root / EVALUATION / TRAINED / EvaluationFolder.METRICS).read_text())
    assert version.tags["val_loss"] == f"{metrics['validation']['loss']:.4f}"
    assert version.tags["test_loss"] == f"{metrics['test']['loss']:.4f}"
    assert f"| val_loss | {version.tags['val_loss']} |" in version.description
    assert "mlflow models serve" in registered.output


def test_model_cards_describe_data_verdict_limits_and_use(registered: Registered) -> None:
    client = open_client(registered.uri)
    version = client.get_model_version_by_alias(NAME, "champion")
    model = client.get_registered_model(NAME)
    project = Project(registered.root)
    summary, data = project.comparison.summary, project.prepared.dataset
    judgment = summary.get_run(TRAINED).judgment
    assert judgment is not None
    assert version.description.startswith("Segments images into 3 classes: `animal` (foreground), `background` and")
    assert f"### Verdict: {judgment.verdict}" in version.description
    assert all(f"- {phrase}" in version.description for phrase in judgment.evidence)
    assert "It was trained on composites only." in version.description
    assert "only one finished seed" in version.description
    assert "resized and padded to 32 × 32 px" in version.description
    assert "| 0 | `animal` (foreground) | #e69f00 |" in version.description
    assert f"12 train, 6 validation and 6 test images, fingerprint `{data.fingerprint}`" in version.description
    assert f'load_model("models:/{NAME}/1")' in version.description
    assert f'load_model("models:/{NAME}@champion")' in model.description
    assert f"The alias `champion` marks version 1, `{TRAINED}`, verdict **{judgment.verdict}**" in model.description
    for text in (version.description, model.description):
        assert f"MLFLOW_TRACKING_URI={registered.uri} mlflow models serve -m models:/{NAME}" in text
        assert text.endswith(END)


def test_python_code_of_the_model_card_segments_an_image(registered: Registered, tmp_path: Path) -> None:
    code = open_client(registered.uri).get_registered_model(NAME).description.split("```")[1].removeprefix("python")
    load_images(registered.root)[0].save(tmp_path / "image.png")
    done = subprocess.run(
        [sys.executable, "-c", f"{code}print(masks[0])"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert Image.open(io.BytesIO(base64.b64decode(done.stdout.splitlines()[-1]))).size == (32, 32)


def test_promote_updates_its_model_cards_but_no_text_of_a_user(
    registered: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(registered.root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client = open_client(registered.uri)
    card = client.get_model_version(NAME, "1").description
    client.update_model_version(NAME, "1", f"An old card.\n\n{END}")
    client.set_model_version_tag(NAME, "1", "gap", "an old gap")
    text = client.get_registered_model(NAME).description
    client.update_registered_model(NAME, "Our own text.")
    assert CliRunner().invoke(main, ["promote"]).exit_code == 0
    version = client.get_model_version(NAME, "1")
    assert version.description == card
    assert f"| gap | {version.tags['gap']} |" in card
    assert client.get_registered_model(NAME).description == "Our own text."
    client.update_registered_model(NAME, text)


def test_model_card_states_the_bands_and_the_window_of_scenes(
    registered: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(registered.root)
    params, project = read_params(), Project()
    run = TrainedRun.load(params, TRAINED, project)
    data = FolderData.model_validate({**AERIAL_DATA, "scenes": {**AERIAL_DATA["scenes"], "window": [100, 3000]}})
    scenes = params.model_copy(update={"data": data})
    for shown, is_stated in ((params, False), (scenes, True)):
        described = replace(run, scenes=find_scenes(shown.data))
        text = ModelCard(described, shown, project, {}, NAME, "1", "http://127.0.0.1:1").describe_version()
        assert ("converted to RGB" in text) != is_stated
        assert ("the bands `B08`, `B04`" in text and "100 " in text and "3000 " in text) == is_stated


def test_long_model_card_fits_into_mlflow(registered: Registered, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(registered.root)
    params, project = read_params(), Project()
    run = TrainedRun.load(params, TRAINED, project)
    classes = tuple(SegmentationClass(f"class|{index}", "#123456", foreground=False) for index in range(150))
    many = replace(run, data=replace(run.data, classes=classes, credit="long " * 1000))
    card = ModelCard(many, params, project, {"val_loss": "0.5"}, NAME, "1", "http://127.0.0.1:1")
    text = card.describe_version()
    assert len(text) <= MAX_LENGTH
    assert text.startswith("Segments images into 150 classes: `class\\|0`, ")
    assert "and 138 more." in text
    assert text.endswith(END)


def test_promote_writes_no_pickle_and_pins_requirements(registered: Registered) -> None:
    files = {
        path.relative_to(registered.model_folder).as_posix()
        for path in registered.model_folder.rglob("*")
        if path.is_file()
    }
    assert {"MLmodel", "artifacts/network.onnx", "code/learning_report_model/promote/served_model.py"} <= files
    assert not {file for file in files if Path(file).suffix in (".pkl", ".pt", ".pth", ".bin", ".pickle")}
    requirements = (registered.model_folder / "requirements.txt").read_text().split()
    assert all("==" in line for line in requirements)
    assert not {line for line in requirements if line.startswith(("torch", "tifffile", "imagecodecs"))}
    example = json.loads((registered.model_folder / "input_example.json").read_text())
    assert len(example["data"]) == 3


def test_promoted_model_loads_without_this_package_and_torch(registered: Registered) -> None:
    encoded = [encode_base64(image) for image in load_images(registered.root)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD_MODEL, str(registered.model_folder)],
        input=json.dumps(encoded),
        capture_output=True,
        text=True,
        cwd="/",
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout.splitlines()[-1])) == 3


def test_repeated_promote_only_moves_the_alias(registered: Registered, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(registered.root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client = open_client(registered.uri)
    client.delete_registered_model_alias(NAME, "champion")
    done = CliRunner().invoke(main, ["promote", "--run", TRAINED])
    assert "already registered" in done.output
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 1
    assert str(client.get_model_version_by_alias(NAME, "champion").version) == "1"


@pytest.fixture(scope="module")
def served(registered: Registered) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["-m", "mlflow", "models", "serve", "-m", f"models:/{NAME}@champion", "--env-manager", "local"]
    process = subprocess.Popen(
        [sys.executable, *command, "-h", "127.0.0.1", "-p", str(port)],
        env={**os.environ, "MLFLOW_TRACKING_URI": registered.uri, "MLFLOW_DISABLE_TELEMETRY": "true"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _ in range(300):
            with contextlib.suppress(urllib.error.URLError, OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5)
                break
            assert process.poll() is None
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def request_predictions(address: str, images: list[Any]) -> Any:
    body = json.dumps({"dataframe_records": [{"image": image} for image in images]}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())["predictions"]


@pytest.mark.parametrize("count", [1, 3])
def test_served_model_returns_masks(count: int, served: str, registered: Registered) -> None:
    images = load_images(registered.root)[:count]
    answers = request_predictions(served, [encode_base64(image.resize((70, 50))) for image in images])
    assert len(answers) == count
    for answer in answers:
        mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["mask"]))))
        assert mask.shape == (50, 70)
        shares = [share for name, share in answer.items() if name.startswith("share_")]
        assert sum(shares) == pytest.approx(1)
        assert shares == pytest.approx(np.bincount(mask.ravel(), minlength=len(shares)) / mask.size)


@pytest.mark.parametrize(
    ("image", "message"), [("!", "is not a base64-encoded file"), ("aGVsbG8=", "is not in one of the formats PNG")]
)
def test_served_model_answers_invalid_images_with_400(image: str, message: str, served: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        request_predictions(served, [image])
    assert refused.value.code == 400
    assert message in refused.value.read().decode()


def test_served_model_returns_the_mask_of_predict(
    served: str, registered: Registered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(registered.root)
    image = load_images(registered.root)[0].resize((111, 77))
    image.save(tmp_path / "a.png")
    done = CliRunner().invoke(main, ["predict", str(tmp_path / "a.png"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    predicted = np.asarray(Image.open(tmp_path / "out" / "masks" / "a.png"))
    (answer,) = request_predictions(served, [encode_base64(image)])
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["mask"]))))
    assert (predicted == mask).mean() > 0.98


def test_printed_serve_command_is_shell_quoted() -> None:
    uri = "sqlite:////home/müller/my project (1) o'b/mlflow.db"
    setting, *words = shlex.split(format_serve_command("cell nuclei", uri))
    assert setting == f"MLFLOW_TRACKING_URI={uri}"
    assert words[:5] == ["mlflow", "models", "serve", "-m", "models:/cell nuclei@champion"]
