"""Judges the runs of a file, for a person or as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pipeline.analysis.curve_files import RunCurves, read_curves
from pipeline.analysis.verdict import Verdict, judge


@dataclass(frozen=True)
class Judged:
    """A run and what it came to."""

    read: RunCurves
    verdict: Verdict


def judge_file(path: Path, baseline: float | None) -> list[Judged]:
    """Judge every run of a file.

    Args:
        path: a table of curves, see `pipeline.analysis.curve_files`.
        baseline: the loss of knowing only how frequent each class is, in the curves' unit; None where it is not known.

    Raises:
        PipelineError: The file holds no curves.
    """
    return [Judged(read, judge(read.curves, baseline)) for read in read_curves(path)]


def as_text(judged: list[Judged]) -> str:
    """A paragraph a run."""
    paragraphs = []
    for one in judged:
        lines = [f"{one.read.run}: {one.verdict.word}", *one.verdict.evidence, *one.read.notes]
        lines += [f"not checked: {reason}" for reason in one.verdict.not_checked]
        paragraphs.append("\n  ".join(lines))
    return "\n\n".join(paragraphs)


def as_json(judged: list[Judged]) -> str:
    """A list with an object a run; what does not apply is null."""
    return json.dumps([_entry(one) for one in judged], indent=2, ensure_ascii=False)


def _entry(one: Judged) -> dict[str, object]:
    gaps, onset = one.verdict.gaps, one.verdict.onset
    return {
        "run": one.read.run,
        "verdict": one.verdict.word,
        "gap": gaps.best if gaps else None,
        "gap_last": gaps.last if gaps else None,
        "ratio": gaps.ratio if gaps else None,
        "rise": gaps.rise if gaps else None,
        "best_epoch": gaps.best_epoch if gaps else None,
        "epochs_after_best": gaps.epochs_after_best if gaps else None,
        "onset": list(onset[1:]) if onset else None,
        "evidence": [*one.verdict.evidence, *one.read.notes],
        "not_checked": list(one.verdict.not_checked),
    }
