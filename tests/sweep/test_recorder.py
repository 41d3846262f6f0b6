"""What is recorded and what is told to have changed, whenever DVC happens to be written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.params.file import read_params
from pipeline.sweep.journal import Journal
from pipeline.sweep.ledger import Refusal
from pipeline.sweep.recorder import BATCH, Recorder
from pipeline.sweep.worker import Job, Outcome
from tests.conftest import write_params


class Book:
    """A ledger that takes everything."""

    def __init__(self) -> None:
        self.recorded: list[str] = []

    def record(self, finished: Mapping[str, str]) -> dict[str, Refusal]:
        self.recorded += finished
        return {}


@pytest.fixture
def outcomes(tmp_path: Path) -> list[Outcome]:
    params = read_params(write_params(tmp_path, {}))
    cells = [params.cell("unet", 0.01, seed) for seed in range(BATCH)]
    return [Outcome(Job(cell, "made", "made"), True, True, "") for cell in cells]


def finish(journal: Journal, root: Path, outcome: Outcome, *stages: str) -> None:
    for stage in stages:
        folder = root / {"train": "runs", "evaluate": "evaluation"}[stage] / outcome.job.cell.name
        folder.mkdir(parents=True)
        (folder / "file").write_text(stage)
        journal.add(stage, outcome.job.cell.name, "made")


def test_a_training_that_was_recorded_before_its_evaluation_ended_is_no_change(
    tmp_path: Path, outcomes: list[Outcome]
) -> None:
    journal, book = Journal(tmp_path), Book()
    ledger: Any = book
    recorder, last = Recorder(ledger, journal), outcomes[-1]
    finish(journal, tmp_path, last, "train")  # while the others fill a batch
    for outcome in outcomes[:-1]:
        finish(journal, tmp_path, outcome, "train", "evaluate")
        recorder.add(outcome)
    assert f"train@{last.job.cell.name}" in book.recorded
    finish(journal, tmp_path, last, "evaluate")
    recorder.add(last)
    recorder.close()
    assert recorder.refused == {}
    assert sorted(book.recorded) == sorted(stage for outcome in outcomes for stage in outcome.finished())


def test_what_was_changed_by_hand_is_told_and_not_recorded(tmp_path: Path, outcomes: list[Outcome]) -> None:
    journal, book = Journal(tmp_path), Book()
    ledger: Any = book
    recorder, name = Recorder(ledger, journal), outcomes[0].job.cell.name
    finish(journal, tmp_path, outcomes[0], "train", "evaluate")
    (tmp_path / "evaluation" / name / "file").write_text("by hand")
    recorder.add(outcomes[0])
    recorder.close()
    assert book.recorded == [f"train@{name}"]
    assert recorder.refused == {f"evaluate@{name}": Refusal.OUTPUTS}
