"""Findings on classes that are never predicted, or hardly, by the setting with the lowest validation loss."""

from __future__ import annotations

from itertools import groupby
from statistics import fmean

from pipeline.compare.phrases import rate_of, rows_of, seeds
from pipeline.comparison import Finding, Summary
from pipeline.runs import MIN_CLASS_IOU, MissedClass

MAX_NAMED = 12  # classes; more are counted


def missed_classes(summary: Summary) -> Finding | None:
    """Name the classes that at least one run of the best setting misses; None if every run segments all."""
    if summary.best is None:
        return None
    rows = [row for row in rows_of(summary, summary.best) if row.status == "finished"]
    by_class: dict[str, list[MissedClass]] = {}
    for row in rows:
        for missed in row.missed_classes:
            by_class.setdefault(missed.name, []).append(missed)
    if not by_class:
        return None
    present = sum(iou is not None for iou in summary.baseline.iou.values())
    classes = sorted(by_class.values(), key=lambda found: (-len(found), *_badness(found)))
    names = [
        f"{', '.join(found[0].name for found in alike)} ({how})"
        for how, alike in groupby(classes[:MAX_NAMED], lambda found: _describe(found, len(rows)))
    ]
    if len(classes) > MAX_NAMED:
        names.append(f"{len(classes) - MAX_NAMED} more")
    who = f"{summary.best.variant} at {summary.best.learning_rate}"
    over = "" if len(rows) == 1 else f" in at least one of {seeds(len(rows))}"
    sentence = (
        f"Missed classes: {who}, the setting with the lowest validation loss, misses {len(by_class)} of the {present} "
        f"classes of the validation images{over}: {'; '.join(names)}. A class counts as missed if its IoU is below "
        f"{MIN_CLASS_IOU}.{_fewer_elsewhere(summary)}"
    )
    return Finding("missed_classes", sentence, tuple(row.run for row in rows if row.missed_classes))


def _badness(found: list[MissedClass]) -> tuple[bool, float]:
    return any(one.is_predicted for one in found), fmean(one.iou for one in found)


def _describe(found: list[MissedClass], runs: int) -> str:
    """Describe how badly some of the runs segment a class, and how many if not all."""
    is_predicted, iou = _badness(found)
    how = f"IoU {iou:.3f}" if is_predicted else "never predicted"
    return how if len(found) == runs else f"{how}, {len(found)} of {runs} runs"


def _fewer_elsewhere(summary: Summary) -> str:
    """Name the setting that misses the fewest classes, if it is another one."""
    assert summary.best is not None
    here = rate_of(summary, summary.best.variant, summary.best.learning_rate).missed_classes
    others = [(row.missed_classes, row) for row in summary.rates if row.ranked and row.missed_classes is not None]
    fewest, row = min(others, key=lambda pair: pair[0])
    if here is None or fewest >= here:
        return ""
    mean = "on average " if row.seeds > 1 else ""
    return f" The fewest are missed by {row.variant} at {row.learning_rate}: {mean}{fewest:.3g}, here {here:.3g}."
