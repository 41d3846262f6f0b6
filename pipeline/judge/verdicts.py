"""Judge the runs of a file, and format the verdicts as text or JSON."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.analysis.verdict import Verdict, judge
from pipeline.curve_readers.formats import read_curves
from pipeline.curve_readers.logged_run import RunCurves

JudgedRun = tuple[RunCurves, Verdict]


def judge_file(path: Path, baseline: float | None) -> list[JudgedRun]:
    """Judge every run in a file or folder of loss curves.

    `baseline` is the class-prior baseline in the unit of the curves; None if it is unknown.

    Raises:
        PipelineError: The file cannot be read or has no loss curves.
    """
    return [(run, judge(run.curves, baseline)) for run in read_curves(path)]


def format_text(judged: list[JudgedRun]) -> str:
    """Format one paragraph per run."""
    paragraphs = []
    for run, verdict in judged:
        lines = [f"{run.name}: {verdict.word}", *verdict.evidence, *run.notes]
        lines += [f"not checked: {reason}" for reason in verdict.not_checked]
        paragraphs.append("\n  ".join(lines))
    return "\n\n".join(paragraphs)


def format_json(judged: list[JudgedRun]) -> str:
    """Format a JSON list with one object per run; values that do not apply are null."""
    return json.dumps([_describe_run(run, verdict) for run, verdict in judged], indent=2, ensure_ascii=False)


def _describe_run(run: RunCurves, verdict: Verdict) -> dict[str, object]:
    gaps, onset = verdict.gaps, verdict.onset
    return {
        "run": run.name,
        "verdict": verdict.word,
        "gap": gaps.best if gaps else None,
        "gap_last": gaps.last if gaps else None,
        "ratio": gaps.ratio if gaps else None,
        "rise": gaps.rise if gaps else None,
        "best_epoch": gaps.best_epoch if gaps else None,
        "epochs_after_best": gaps.epochs_after_best if gaps else None,
        "onset": list(onset[1:]) if onset else None,
        "evidence": [*verdict.evidence, *run.notes],
        "not_checked": list(verdict.not_checked),
    }
