"""Stages of DVC: which are stale, and changes that a sweep may commit without training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.sweep.dvc_internals.stages import is_only_change
from tests.sweep.conftest import SmallProject

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


def test_other_stages_are_reproduced_only_if_one_of_them_is_stale(finished: SmallProject) -> None:
    times = [path.stat().st_mtime_ns for path in (finished.root / "dvc.lock", finished.root / "comparison")]
    assert finished.load_stages().reproduce_others() == 0
    assert [path.stat().st_mtime_ns for path in (finished.root / "dvc.lock", finished.root / "comparison")] == times
    (finished.root / "comparison").unlink()
    assert finished.load_stages().reproduce_others() == 0
    assert (finished.root / "comparison").read_text() == "codenoise" * 2


def test_exit_code_of_a_failing_stage_is_returned(finished: SmallProject) -> None:
    definition = (finished.root / "dvc.yaml").read_text()
    (finished.root / "dvc.yaml").write_text(definition.replace("> comparison", "> comparison; exit 3"))
    assert finished.load_stages().reproduce_others() != 0
