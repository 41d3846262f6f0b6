"""Images of runs in MLflow: their format, their content, and repeated and interrupted uploads."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageColor

from pipeline.artifacts.project import Project
from pipeline.artifacts.run_folder import RunFolder
from pipeline.cli import main
from pipeline.tracking.run_images import GROUND_TRUTH, IMAGE, IMAGES, PREDICTION, RunImages
from pipeline.tracking.store import open_client
from tests.conftest import TRAINED
from tests.servers import MlflowServer

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

MAX_BYTES = 300_000
# <key>+step+<n>+timestamp+<n>+<uuid>, and +compressed for the small copy
NAME = re.compile(r"([\w~ ]+)\+step\+(\d+)\+timestamp\+(\d+)\+([0-9a-f-]{36})(\+compressed\.webp|\.png)")


@pytest.fixture
def project(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(trained)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Project()


@pytest.fixture
def uri(store: Path, tmp_path: Path) -> str:
    """A store without runs."""
    shutil.copy(store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


def sync(uri: str) -> str:
    done = CliRunner().invoke(main, ["sync", "--tracking-uri", uri])
    assert done.exit_code == 0, done.output
    return done.output


def load_run(uri: str) -> tuple[MlflowClient, Run]:
    client = open_client(uri)
    experiment = client.get_experiment_by_name("learning-report")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], f"attributes.run_name = '{TRAINED}'")
    return client, run


def list_images(uri: str) -> dict[str, int]:
    """Return the sizes of the images of the run by name."""
    client, run = load_run(uri)
    found = client.list_artifacts(run.info.run_id, IMAGES)
    return {Path(item.path).name: item.file_size for item in found}


def render(project: Project, folder: Path) -> dict[str, bytes]:
    images = RunImages.find(project.run(TRAINED), project.prepared)
    assert images is not None
    folder.mkdir()
    images.write(folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert files.keys() == images.files
    return files


def find_step(files: dict[str, bytes], key: str, step: int) -> np.ndarray:
    """Decode the image of a key at a step as RGB."""
    start = f"{key.replace('/', '~')}+step+{step}+"
    (name,) = [name for name in files if name.startswith(start) and name.endswith(".png")]
    return np.asarray(Image.open(io.BytesIO(files[name])).convert("RGB"))


def test_images_show_the_showcase_and_its_prediction_by_epoch(project: Project, tmp_path: Path) -> None:
    files = render(project, tmp_path / "images")
    record, masks = project.run(TRAINED).record, project.run(TRAINED).read_showcase_masks()
    assert record.best_epoch is not None
    data, showcase = project.prepared.dataset, project.prepared.open_split("showcase")
    palette = np.array([ImageColor.getrgb(item.color) for item in data.classes])
    scale = 256 // 32
    expected = {(PREDICTION, 0): masks[record.best_epoch - 1], (GROUND_TRUTH, 0): np.array(showcase.masks[0])}
    expected |= {(PREDICTION, epoch): masks[epoch - 1] for epoch in range(1, record.epochs + 1)}
    for (key, step), mask in expected.items():
        enlarged = np.kron(mask, np.ones((scale, scale), dtype=np.uint8))
        np.testing.assert_array_equal(find_step(files, key, step), palette[enlarged])
    image = find_step(files, IMAGE, 0)
    assert image.shape == (256, 256, 3)
    reduced = image.reshape(32, scale, 32, scale, 3).mean(axis=(1, 3))
    assert np.abs(reduced - np.array(showcase.images[0])).mean() < 8  # the same image, enlarged
    assert len(files) == 2 * (len(expected) + 1)
    assert sum(map(len, files.values())) < MAX_BYTES


def test_images_have_the_names_of_mlflow_and_are_deterministic(project: Project, uri: str, tmp_path: Path) -> None:
    first, second = render(project, tmp_path / "first"), render(project, tmp_path / "second")
    assert first == second
    client = open_client(uri)
    run = client.create_run("0")
    client.log_image(run.info.run_id, Image.new("RGB", (8, 8)), key=PREDICTION, step=2)
    theirs = [Path(item.path).name for item in client.list_artifacts(run.info.run_id, IMAGES)]
    tags = client.get_run(run.info.run_id).data.tags
    for names in (theirs, first):
        matches = [NAME.fullmatch(name) for name in names]
        assert all(matches), names
        assert {match[5] for match in matches if match} == {".png", "+compressed.webp"}
    sync(uri)
    _, ours = load_run(uri)
    assert ours.data.tags["mlflow.loggedImages"] == tags["mlflow.loggedImages"]


def test_repeated_sync_stores_each_image_once(project: Project, uri: str, tmp_path: Path) -> None:
    sync(uri)
    images = list_images(uri)
    assert images == {name: len(content) for name, content in render(project, tmp_path / "images").items()}
    _, run = load_run(uri)
    folder = Path(run.info.artifact_uri) / IMAGES
    times = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert "1 run, nothing to upload." in sync(uri)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == times
    next(folder.glob("*.png")).unlink()  # as if the upload had been interrupted
    assert "uploaded 0 metric values and 1 folder of files" in sync(uri)
    assert list_images(uri) == images


@pytest.fixture
def without_times(project: Project) -> Iterator[None]:
    """Remove the times of the run, as in a run that DVC has restored."""
    path = project.run(TRAINED).path / RunFolder.TIMING
    text = path.read_text(encoding="utf-8")
    path.unlink()
    yield
    path.write_text(text, encoding="utf-8")


def test_restored_run_has_the_same_images(project: Project, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    files = render(project, tmp_path / "first")
    request.getfixturevalue("without_times")
    assert render(project, tmp_path / "second") == files


def test_run_without_predictions_of_the_showcase_has_no_images(project: Project, tmp_path: Path) -> None:
    shutil.copytree(project.run(TRAINED).path, tmp_path / TRAINED)
    (tmp_path / TRAINED / RunFolder.SHOWCASE_MASKS).unlink()
    assert RunImages.find(RunFolder(tmp_path / TRAINED), project.prepared) is None


@pytest.mark.usefixtures("project")
def test_server_stores_each_image_once(store: Path, tmp_path: Path) -> None:
    shutil.copy(store, tmp_path / "mlflow.db")
    with MlflowServer(f"sqlite:///{tmp_path}/mlflow.db", tmp_path).running() as address:
        sync(address)
        images = list_images(address)
        assert len(images) == 10
        assert all(NAME.fullmatch(name) for name in images)
        assert "1 run, nothing to upload." in sync(address)
        assert list_images(address) == images
        client, run = load_run(address)
        name = next(name for name in images if "ground truth" in name)
        local = client.download_artifacts(run.info.run_id, f"{IMAGES}/{name}", str(tmp_path))
        assert Path(local).stat().st_size == images[name]
