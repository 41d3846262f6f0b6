"""The promise of the first page: with the shipped parameters, a dog that was never seen is cut out well."""

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
def test_the_dog_is_cut_out_well(project: Path) -> None:
    shipped = read_params(ROOT / "params.yaml")
    params = shipped.model_copy(update={"data": shipped.data.model_copy(update={"path": str(ROOT / "data/sample")})})
    prepare(params)
    train_cell(params.cell("lite0", 0.001, 0))
    found = evaluate_run(params, "lite0-0.001-0")
    assert found.showcase[0].foreground_iou >= 0.80
    assert found.validation is not None
    assert found.validation.loss < compare(params).baseline.loss / 2
