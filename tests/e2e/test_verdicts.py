"""Verdicts of real runs that overfit, learn or underfit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.compare.compare_runs import compare
from pipeline.evaluate.evaluate_run import evaluate_run
from pipeline.params.file import read_params
from pipeline.prepare.prepare_data import prepare
from pipeline.train.train_cell import train_cell
from tests.conftest import ROOT

LITE0 = {"family": "smp", "architecture": "Unet", "encoder": "tf_efficientnet_lite0", "pretrained": True}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "learning_rate", "verdict"),
    [
        (
            {"model": LITE0, "data": {"max_train_images": 20}, "train": {"epochs": 60, "augmentation": None}},
            1e-3,
            "overfitting",
        ),
        ({"train": {"epochs": 8}}, 1e-3, "learning"),
        ({}, 1e-6, "underfitting"),
    ],
    ids=["twenty images for sixty epochs", "ended early", "learning rate of 1e-6"],
)
def test_compare_of_a_real_run_gives_the_verdict(
    project: Path, changes: dict[str, Any], learning_rate: float, verdict: str
) -> None:
    shipped = read_params(ROOT / "params.yaml")
    content = shipped.model_dump()
    content["data"]["path"] = str(ROOT / "data/sample")
    content["variants"]["tried"] = changes
    content["grid"] = {"variant": ["tried"], "learning_rate": [learning_rate], "seed": [0]}
    params = type(shipped).model_validate(content)
    prepare(params)
    train_cell(params.cells()[0])
    evaluate_run(params, params.cells()[0].name)
    (row,) = compare(params).runs
    assert row.judgment is not None
    assert row.judgment.verdict == verdict, row.judgment.evidence
