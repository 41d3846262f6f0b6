"""Judge the runs of a file, and format the verdicts as text or JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pipeline.analysis.curve_readers import RunCurves, read_curves
from pipeline.analysis.verdict import Verdict, judge


@dataclass(frozen=True)
class JudgedRun:
    """A run and its verdict."""

    run: RunCurves
    verdict: Verdict


def judge_file(path: Path, baseline: float | None) -> list[JudgedRun]:
    """Judge every run of a table of curves; the class-prior baseline is in the unit of the curves, if it is known.

    Raises:
        PipelineError: The file has no curves.
    """
    return [JudgedRun(run, judge(run.curves, baseline)) for run in read_curves(path)]


def format_text(judged: list[JudgedRun]) -> str:
    """Format one paragraph per run."""
    paragraphs = []
    for one in judged:
        lines = [f"{one.run.name}: {one.verdict.word}", *one.verdict.evidence, *one.run.notes]
        lines += [f"not checked: {reason}" for reason in one.verdict.not_checked]
        paragraphs.append("\n  ".join(lines))
    return "\n\n".join(paragraphs)


def format_json(judged: list[JudgedRun]) -> str:
    """Format a list with one object per run; values that do not apply are null."""
    return json.dumps([_entry(one) for one in judged], indent=2, ensure_ascii=False)


def _entry(one: JudgedRun) -> dict[str, object]:
    gaps, onset = one.verdict.gaps, one.verdict.onset
    return {
        "run": one.run.name,
        "verdict": one.verdict.word,
        "gap": gaps.best if gaps else None,
        "gap_last": gaps.last if gaps else None,
        "ratio": gaps.ratio if gaps else None,
        "rise": gaps.rise if gaps else None,
        "best_epoch": gaps.best_epoch if gaps else None,
        "epochs_after_best": gaps.epochs_after_best if gaps else None,
        "onset": list(onset[1:]) if onset else None,
        "evidence": [*one.verdict.evidence, *one.run.notes],
        "not_checked": list(one.verdict.not_checked),
    }
