"""Check whether a gap comes from the classes of the compared images rather than from what a run memorized.

The compared training images and the validation images may hold different classes in different shares, mostly if there
are many classes and few images. Direct standardization removes that difference: the loss of each class on both sides is
weighted by the class's share of the validation pixels, over the classes that both sides have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipeline.analysis.parts import Part
from pipeline.comparison import RunRow

MIN_CHANGE = 1.1  # factor between the ratios of the losses with and without standardization that is reported


def check_class_mix(row: RunRow, parts: Sequence[Part], shares: Mapping[str, float], memorizing: float) -> RunRow:
    """Add the standardized losses to a run's evidence if they change the ratio of its losses.

    A verdict of memorizing becomes undecided if the standardized ratio is below the threshold.

    Args:
        row: of the run.
        parts: of its gap.
        shares: of the classes in the validation pixels, by name.
        memorizing: ratio of validation to training loss that counts as memorizing.
    """
    classes = [part for part in parts if part.part == "class"]
    total = sum(shares[part.name] for part in classes)
    if row.judgement is None or not row.train_loss or row.val_loss is None or not total:
        return row
    train, validation = (
        sum(shares[part.name] * loss for part, loss in zip(classes, losses, strict=True)) / total
        for losses in ([part.train_loss for part in classes], [part.val_loss for part in classes])
    )
    if train <= 0 or validation <= 0:
        return row
    change = (row.val_loss / row.train_loss) / (validation / train)
    if max(change, 1 / change) < MIN_CHANGE:
        return row
    over = "the only class" if len(classes) == 1 else f"the {len(classes)} classes"
    phrase = (
        f"at the best epoch, over {over} of both sides and with the class shares of validation, "
        f"training is at {train:.3f} and validation at {validation:.3f}"
    )
    judgement = replace(row.judgement, evidence=(*row.judgement.evidence, phrase))
    if judgement.verdict == "memorising" and validation / train < memorizing:
        reason = (
            "Memorizing: the compared training images have other classes than validation, in other shares, which "
            "explains the gap."
        )
        judgement = replace(judgement, verdict="undecided", not_checked=(*judgement.not_checked, reason))
    return replace(row, judgement=judgement)
