"""Findings on runs that do no better than predicting one class everywhere."""

from __future__ import annotations

from statistics import fmean

from pipeline.analysis.one_class import LABEL
from pipeline.analysis.scores import name_foreground_iou
from pipeline.compare.phrases import rows_of
from pipeline.comparison import Finding, RunRow, Summary


def best_setting(summary: Summary) -> Finding | None:
    """Name the runs of the best setting that do no better; None if all do better or none can be checked."""
    if summary.best is None:
        return None
    rows = rows_of(summary, summary.best)
    failing = _failing(rows)
    if not failing:
        return None
    who = "the run" if len(rows) == 1 else f"{len(failing)} of {len(rows)} runs"
    sentence = (
        f"{LABEL[0].upper()}{LABEL[1:]}: {who} of {summary.best.variant} at {summary.best.learning_rate}, the setting "
        f"with the lowest validation loss. {_numbers(failing, summary)}"
    )
    return Finding("one_class", sentence, tuple(row.run for row in failing))


def other_runs(summary: Summary) -> Finding | None:
    """Count the runs at other settings that do no better; None if all do better, those of the best setting too."""
    best = {row.run for row in rows_of(summary, summary.best)} if summary.best else set()
    checked = [row for row in summary.runs if row.run not in best and _beats(row) is not None]
    failing = _failing(checked)
    if not checked or not (failing or best_setting(summary)):
        return None
    count = "None" if not failing else f"{len(failing)}"
    other = "other run" if best else "run"
    verb = "does" if len(failing) == 1 else "do"
    sentence = f"{count} of the {len(checked)} {other}{'' if len(checked) == 1 else 's'} {verb} {LABEL}, by IoU."
    return Finding("one_class_others", sentence, tuple(row.run for row in failing or checked))


def _numbers(failing: list[RunRow], summary: Summary) -> str:
    """Compare the mean scores of these runs with those of the baseline."""
    foreground = name_foreground_iou(summary.foreground)
    columns = (
        ("mean IoU", [row.val_mean_iou for row in failing], summary.baseline.mean_iou),
        (foreground, [row.val_foreground_iou for row in failing], summary.baseline.foreground_iou),
    )
    known = [
        f"{name} is {fmean(values):.3f}, that of the one class {base:.3f}"
        for name, column, base in columns
        if (values := [value for value in column if value is not None]) and base is not None
    ]
    return f"On validation {'; '.join(known)}."


def _failing(rows: list[RunRow]) -> list[RunRow]:
    return [row for row in rows if _beats(row) is False]


def _beats(row: RunRow) -> bool | None:
    return row.judgement.beats_baseline if row.judgement else None
