"""Gaps caused by different class frequencies of training and validation, and gaps that are not."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from pipeline.analysis.gap_breakdown import GapPart
from pipeline.artifacts.comparison import Judgment, RunSummary
from pipeline.compare.verdicts import check_class_mix

MEMORIZING = 1.5


def make_row(train_loss: float, val_loss: float, verdict: str) -> RunSummary:
    judgment = Judgment(verdict, ("evidence",), (), ratio=val_loss / train_loss)
    values = {"run": "unet-0.1-0", "status": "finished", "missed_classes": (), "judgment": judgment}
    row = RunSummary(**{**dict.fromkeys(field.name for field in fields(RunSummary)), **values})
    return replace(row, train_loss=train_loss, val_loss=val_loss)


def make_parts(**losses: tuple[float, float]) -> list[GapPart]:
    return [GapPart("class", name, 3, train, validation) for name, (train, validation) in losses.items()]


def test_check_class_mix_with_a_class_missing_from_training_is_undecided() -> None:
    """The hard class has a tenth of the validation pixels, and none in training: a gap with equal losses by class."""
    row = make_row(0.2, 0.9 * 0.2 + 0.1 * 3.0, "memorizing")
    parts = make_parts(road=(0.2, 0.2))
    judgment = check_class_mix(row, parts, {"road": 0.9, "pole": 0.1}, MEMORIZING).judgment
    assert judgment is not None
    assert judgment.verdict == "undecided"
    assert "over the only class that both sides have" in judgment.evidence[-1]
    assert "training is at 0.200 and validation at 0.200" in judgment.evidence[-1]
    assert judgment.not_checked[-1].startswith("Memorizing: ")


def test_check_class_mix_keeps_memorizing_that_is_not_due_to_the_ratio() -> None:
    """The run beats predicting one class on the training images only."""
    row = make_row(0.3, 0.4, "memorizing")
    parts = make_parts(road=(0.3, 0.4), pole=(0.5, 1.0))
    judgment = check_class_mix(row, parts, {"road": 0.86, "pole": 0.14}, MEMORIZING).judgment
    assert judgment is not None
    assert (judgment.verdict, judgment.not_checked) == ("memorizing", ())
    assert "training is at 0.328 and validation at 0.484" in judgment.evidence[-1]


def test_check_class_mix_with_a_gap_in_every_class_stays_memorizing() -> None:
    row = make_row(0.2, 0.5, "memorizing")
    parts = make_parts(road=(0.1, 0.4), pole=(1.0, 1.6))
    judgment = check_class_mix(row, parts, {"road": 0.9, "pole": 0.1}, MEMORIZING).judgment
    assert judgment is not None
    assert judgment.verdict == "memorizing"
    assert judgment.not_checked == ()


@pytest.mark.parametrize("verdict", ["learning", "memorizing", "overfitting"])
def test_check_class_mix_with_equal_class_frequencies_changes_nothing(verdict: str) -> None:
    parts = make_parts(road=(0.2, 0.3), pole=(1.0, 1.5))
    row = make_row(0.9 * 0.2 + 0.1 * 1.0, 0.9 * 0.3 + 0.1 * 1.5, verdict)
    assert check_class_mix(row, parts, {"road": 0.9, "pole": 0.1}, MEMORIZING) == row


def test_check_class_mix_without_parts_or_judgment_changes_nothing() -> None:
    row = make_row(0.2, 0.5, "memorizing")
    assert check_class_mix(row, [], {"road": 1.0}, MEMORIZING) == row
    unjudged = replace(row, judgment=None)
    assert check_class_mix(unjudged, make_parts(road=(0.1, 0.2)), {"road": 1.0}, MEMORIZING) == unjudged
