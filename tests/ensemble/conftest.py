"""A tiny project with three seeds of one setting, and one with a single seed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.artifacts.ensemble_folder import Temperature, compute_ensemble_key
from pipeline.artifacts.project import TEMPLATES, Project
from pipeline.compare.compare_runs import compare
from pipeline.ensemble.evaluate_ensemble import evaluate_ensemble
from pipeline.evaluate.evaluate_run import evaluate_run
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.prepare.prepare_data import prepare
from pipeline.train.train_cell import train_cell
from tests.conftest import ROOT, write_params
from tests.discs import write_discs, write_native_params

MEMBERS = ("unet-0.01-0", "unet-0.01-1", "unet-0.01-2")


def write_grid(folder: Path, seeds: list[int]) -> Params:
    """Write the parameters of a grid with one setting."""
    grid = {"variant": ["unet"], "learning_rate": [0.01], "seed": seeds}
    changes = {"grid": grid, "evaluation": {"examples": 3}, "train": {"precision": "float32"}}
    return read_params(write_params(folder, changes))


def train_and_compare(params: Params) -> None:
    """Train and compare the grid in the current folder."""
    for cell in params.cells():
        train_cell(cell)
        evaluate_run(params, cell.name)
    compare(params)


@pytest.fixture(scope="session")
def seeds(prepared: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with the runs `MEMBERS`, compared, and their ensemble; tests must not change it."""
    root = tmp_path_factory.mktemp("seeds") / "project"
    shutil.copytree(prepared, root)
    shutil.copy(store, root / "mlflow.db")
    (root / "reports").mkdir()
    (root / "reports/templates").symlink_to(ROOT / "reports/templates")
    (root / "reports/notes.md").write_text("A note.", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("DVC_ROOT", raising=False)
        params = write_grid(root, [0, 1, 2])
        train_and_compare(params)
        evaluate_ensemble(params)
    return root


def create_disc_project(
    root: Path, num_images: int, splits: dict[str, float], epochs: int, mask_noise: float = 0.0
) -> None:
    """Create a project with the ensemble of two runs on images of native size, which are predicted in tiles.

    Args:
        root: The project's folder.
        num_images: Number of images.
        splits: The section `data.splits`.
        epochs: Number of epochs.
        mask_noise: Share of the pixels of a mask that have the other class.
    """
    write_discs(root / "discs", num_images)
    random = np.random.default_rng(0)
    for path in sorted((root / "discs/masks").iterdir()):
        mask = np.asarray(Image.open(path))
        Image.fromarray(np.where(random.random(mask.shape) < mask_noise, 255 - mask, mask)).save(path)
    (root / TEMPLATES).parent.mkdir()
    (root / TEMPLATES).symlink_to(ROOT / TEMPLATES)
    (root / "reports/notes.md").write_text("A note.", encoding="utf-8")
    params = write_native_params(root, {"splits": splits}, {"epochs": epochs}, seeds=(0, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        prepare(params)
        train_and_compare(params)
        evaluate_ensemble(params)


def set_temperature(root: Path, value: float) -> None:
    """Change the temperature of a project's ensemble, as if the stage had fitted it."""
    folder = Project(root).ensemble
    key = compute_ensemble_key((member.key for member in folder.record.members), value)
    folder.write_json(folder.RECORD, replace(folder.record, temperature=Temperature(value, ""), key=key))


@pytest.fixture
def seeds_copy(seeds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project `seeds` as the current folder, with its own MLflow store."""
    root = tmp_path / "project"
    shutil.copytree(seeds, root, symlinks=True)
    monkeypatch.chdir(root)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
    return root
