"""The shipped parameters segment the showcase dog, which is in no split."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.compare.compare_runs import compare
from pipeline.evaluate.evaluate_run import evaluate_run
from pipeline.params.file import read_params
from pipeline.prepare.prepare_data import prepare
from pipeline.train.train_cell import train_cell
from tests.conftest import ROOT


@pytest.mark.slow
def test_shipped_parameters_segment_the_showcase_dog(project: Path) -> None:
    shipped = read_params(ROOT / "params.yaml")
    params = shipped.model_copy(update={"data": shipped.data.model_copy(update={"path": str(ROOT / "data/sample")})})
    prepare(params)
    cell = params.cell("lite0", params.grid.learning_rate[0], 0)
    train_cell(cell)
    evaluation = evaluate_run(params, cell.name)
    assert evaluation.showcase[0].foreground_iou >= 0.88
    assert evaluation.validation is not None
    assert evaluation.validation.loss < compare(params).baseline.loss / 2
