"""Judge the runs of a file, and format the verdicts as text or JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from pipeline.analysis.verdict import Verdict, VerdictWord, judge
from pipeline.curve_readers.formats import read_curves
from pipeline.curve_readers.logged_run import RunCurves

VERDICTS: tuple[str, ...] = get_args(VerdictWord)

JudgedRun = tuple[RunCurves, Verdict]


def judge_file(path: Path, baseline: float | None, is_growing: bool = False) -> list[JudgedRun]:
    """Judge every run in a file or folder of loss curves.

    Args:
        path: The file or folder.
        baseline: Class-prior baseline in the unit of the curves; None if it is unknown.
        is_growing: Whether a tool is writing to the file, so that an incomplete last line is ignored.

    Raises:
        PipelineError: The file cannot be read or has no loss curves.
    """
    with np.errstate(all="ignore"):  # ratios of losses that are almost zero
        return [(run, judge(run.curves, baseline)) for run in read_curves(path, is_growing)]


def find_failing(judged: Sequence[JudgedRun], words: Collection[str]) -> list[str]:
    """Describe every run whose verdict is one of the words; parts of a loss do not count."""
    return [
        f"{run.name} has the verdict {verdict.word}."
        for run, verdict in judged
        if verdict.word in words and not run.part
    ]


def format_text(judged: Sequence[JudgedRun]) -> str:
    """Format one paragraph per run."""
    paragraphs = []
    for run, verdict in judged:
        lines = [f"{run.title}: {verdict.word}", *verdict.evidence, *run.notes]
        lines += [f"not checked: {reason}" for reason in verdict.not_checked]
        paragraphs.append("\n  ".join(lines))
    return "\n\n".join(paragraphs)


def format_json(judged: Sequence[JudgedRun]) -> str:
    """Format a JSON list with one object per run; values that do not apply are null."""
    return json.dumps([describe_run(run, verdict) for run, verdict in judged], indent=2, ensure_ascii=False)


def describe_run(run: RunCurves, verdict: Verdict) -> dict[str, object]:
    """Describe a run and its verdict as JSON values."""
    gaps, onset = verdict.gaps, verdict.onset
    return {
        "run": run.name,
        "part": run.part or None,
        "verdict": verdict.word,
        "unit": run.curves.unit,
        "gap": gaps.best if gaps else None,
        "gap_last": gaps.last if gaps else None,
        "ratio": gaps.ratio if gaps and math.isfinite(gaps.ratio or 0) else None,
        "rise": gaps.rise if gaps and math.isfinite(gaps.rise or 0) else None,
        "best_epoch": gaps.best_epoch if gaps else None,
        "epochs_after_best": gaps.epochs_after_best if gaps else None,
        "onset": list(onset[1:]) if onset else None,
        "evidence": [*verdict.evidence, *run.notes],
        "not_checked": list(verdict.not_checked),
    }
