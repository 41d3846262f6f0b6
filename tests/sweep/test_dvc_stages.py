"""Changes of a stage's dependencies that a sweep may commit without training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.sweep.dvc_internals.stages import is_only_change

CUSTOM = {"changed deps": {"../../custom": "modified"}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([CUSTOM], True),
        ([{"changed deps": {"../../custom": "modified", "params.yaml": {"train": "modified"}}}], False),
        ([{"changed deps": {"../../custom": "modified", "../../weights": "modified"}}], True),
        ([{"changed deps": {"../../pipeline/custom": "modified"}}], False),
        ([CUSTOM, {"changed outs": {"runs/unet-0.01-0": "modified"}}], False),
        ([CUSTOM, "changed command"], False),
        (["changed command"], False),
        ([], False),
    ],
)
def test_is_only_change(changes: list[Any], expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = tmp_path / "studies/skip"
    study.mkdir(parents=True)
    monkeypatch.chdir(study)
    status = {"train@unet-0.01-0": changes} if changes else {}
    assert is_only_change((tmp_path / "custom", tmp_path / "weights"), status) is expected
