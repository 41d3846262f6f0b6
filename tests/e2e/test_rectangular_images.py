"""Images of unequal sides, from preparation to the report, and predictions for other images."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from PIL import Image

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS
from pipeline.artifacts.project import Project
from pipeline.cli import main
from pipeline.compare.compare_runs import compare
from pipeline.evaluate.evaluate_run import evaluate_run
from pipeline.inference.trained_run import TrainedRun
from pipeline.params.file import read_params
from pipeline.prepare.prepare_data import prepare
from pipeline.promote.onnx_export import export_onnx, measure_agreement
from pipeline.report.write_report import write_report
from pipeline.tracking.sync import sync_runs
from pipeline.train.train_cell import train_cell
from tests.conftest import ROOT, TRAINED, write_params


def test_rectangular_images_are_learned_reported_predicted_and_exported(project: Path, tmp_path: Path) -> None:
    """Their sides are not multiples of what the network halves, so that they are padded."""
    shutil.rmtree(project / "data")
    shutil.copytree(ROOT / "reports", project / "reports", dirs_exist_ok=True)
    params = read_params(
        write_params(
            project,
            {
                "data": {"image_size": [33, 55], "path": str(ROOT / "data/sample")},
                "grid": {"variant": ["unet"], "learning_rate": [0.01], "seed": [0]},
            },
        )
    )
    prepare(params)
    prepared = Project(project).prepared
    assert {prepared.open_split(name).size for name in (*SPLITS, SHOWCASE)} == {(33, 55)}

    train_cell(params.cells()[0])
    evaluate_run(params, TRAINED)
    compare(params)
    list(sync_runs(params, [TRAINED], Project(project)))
    rendered = write_report(params, project=Project(project))
    assert rendered.faults == ()
    assert "55 × 33 pixels" in rendered.path.read_text(encoding="utf-8")

    Image.fromarray(np.zeros((90, 150, 3), np.uint8)).save(project / "wide.png")
    done = CliRunner().invoke(main, ["predict", "--run", TRAINED, "wide.png"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "55 × 33 px" in done.output
    (mask,) = project.glob("**/masks/wide.png")
    assert Image.open(io.BytesIO(mask.read_bytes())).size == (150, 90)

    trained = TrainedRun.load(params, TRAINED, Project(project))
    export_onnx(trained, tmp_path / "network.onnx")
    assert measure_agreement(trained, tmp_path / "network.onnx", prepared.open_split("validation")) > 0.98
