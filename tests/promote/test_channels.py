"""Packaged models for images of five channels: their input example and requirements."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, PreparedData
from pipeline.artifacts.project import PREPARED, Project
from pipeline.inference.trained_run import TrainedRun
from pipeline.params.file import read_params
from pipeline.promote.onnx_export import export_onnx, measure_agreement
from pipeline.promote.package import package_model
from pipeline.train.train_cell import train_cell
from tests.conftest import write_params
from tests.promote.test_promote import LOAD_MODEL

pytestmark = pytest.mark.timeout(300)


def test_packaged_model_of_five_channels_can_be_loaded(project: Path, tmp_path: Path) -> None:
    for split in (*SPLITS, SHOWCASE):
        folder = project / PREPARED / split
        masks = np.load(folder / PreparedData.MASKS)
        images = np.random.default_rng(0).integers(0, 65_535, (*masks.shape, 5), np.uint16)
        np.save(folder / PreparedData.IMAGES, images)
    params = read_params(write_params(project, {"train": {"epochs": 1}}))
    train_cell(params.cell("unet", 0.01, 0))
    trained = TrainedRun.load(params, "unet-0.01-0", Project(project))
    export_onnx(trained, tmp_path / "network.onnx")
    validation = PreparedData(project / PREPARED).open_split("validation")
    assert measure_agreement(trained, tmp_path / "network.onnx", validation) > 0.98
    package_model(trained, tmp_path / "network.onnx", validation, tmp_path / "model")

    requirements = (tmp_path / "model/requirements.txt").read_text(encoding="utf-8").split()
    assert {requirement.partition("==")[0] for requirement in requirements} >= {"tifffile", "imagecodecs"}
    example = json.loads((tmp_path / "model/input_example.json").read_text(encoding="utf-8"))
    done = subprocess.run(
        [sys.executable, "-c", LOAD_MODEL, str(tmp_path / "model")],
        input=json.dumps([image for (image,) in example["data"]]),
        capture_output=True,
        text=True,
        cwd="/",
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout.splitlines()[-1])) == 3
