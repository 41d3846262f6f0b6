"""Trainings that were made to go wrong, and one that was not, judged by what they left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.compare.stage import compare
from pipeline.evaluate.stage import evaluate_run
from pipeline.params.file import read_params
from pipeline.prepare.stage import prepare
from pipeline.train.stage import train_cell
from tests.conftest import ROOT

LITE0 = {"family": "smp", "architecture": "Unet", "encoder": "tf_efficientnet_lite0", "pretrained": True}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "rate", "verdict"),
    [
        (
            {"model": LITE0, "data": {"max_train_images": 20}, "train": {"epochs": 60, "augmentation": None}},
            1e-3,
            "overfitting",
        ),
        ({"train": {"epochs": 8}}, 1e-3, "learning"),
        ({}, 1e-6, "underfitting"),
    ],
    ids=["twenty images for sixty epochs", "ended early", "a rate of a millionth"],
)
def test_real_runs(project: Path, changes: dict[str, Any], rate: float, verdict: str) -> None:
    shipped = read_params(ROOT / "params.yaml")
    content = shipped.model_dump()
    content["data"]["path"] = str(ROOT / "data/sample")
    content["variants"]["tried"] = changes
    content["grid"] = {"variant": ["tried"], "learning_rate": [rate], "seed": [0]}
    params = type(shipped).model_validate(content)
    prepare(params)
    train_cell(params.cells()[0])
    evaluate_run(params, params.cells()[0].name)
    (row,) = compare(params).runs
    assert row.judgment is not None
    assert row.judgment.verdict == verdict, row.judgment.evidence
