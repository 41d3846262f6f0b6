"""Sentences on how the runs came out: what the verdicts are, where overfitting starts, what failed and why."""

from __future__ import annotations

from collections import Counter

from pipeline.compare.phrases import rows_of, seeds
from pipeline.comparison import Finding, Summary

NAMED = 3  # lost runs whose reason is told; the table of all runs has the others
ENDS = {
    "diverged": ("run diverged", "runs diverged"),
    "failed": ("run failed", "runs failed"),
    "killed": ("run was killed", "runs were killed"),
    "missing": ("run is missing", "runs are missing"),
}


def verdicts(summary: Summary) -> Finding | None:
    """Count the verdicts of the runs with the lowest validation loss, and those of the others."""
    assert summary.best is not None
    judged = [(row.run, row.judgement) for row in summary.runs if row.judgement]
    here = {row.run for row in rows_of(summary, summary.best)}
    at_best = Counter(judgement.verdict for run, judgement in judged if run in here)
    others = Counter(judgement.verdict for run, judgement in judged if run not in here)
    if not at_best:
        return None
    sentence = f"By their loss curves, the verdict on the runs with the lowest validation loss is {_tally(at_best)}"
    sentence += f"; on the other runs it is {_tally(others)}." if others else "."
    overfitting = tuple(run for run, judgement in judged if judgement.verdict == "overfitting")
    return Finding("verdicts", sentence, overfitting or tuple(sorted(here)))


def _tally(words: Counter[str]) -> str:
    return ", ".join(f"{word} ({count})" if words.total() > 1 else word for word, count in words.most_common())


def onsets(summary: Summary) -> Finding | None:
    """Where overfitting starts: the rates at which validation begins to worsen in most of the seeds."""
    judgements = [row.judgement for row in summary.runs if row.judgement]
    if any(reason.startswith("Onset") for judgement in judgements for reason in judgement.not_checked):
        return None
    places, named = [], []
    for rate in summary.rates:
        rows = [row for row in rows_of(summary, rate) if row.status == "finished"]
        found = [(row.run, row.judgement.onset) for row in rows if row.judgement and row.judgement.onset]
        if rows and len(found) * 2 > len(rows):
            low, high = min(onset[0] for _, onset in found), max(onset[1] for _, onset in found)
            places.append(
                f"{rate.variant} at {rate.learning_rate} between epochs {low} and {high} "
                f"({len(found)} of {seeds(len(rows))})"
            )
            named += [run for run, _ in found]
    if not places:
        return Finding("onsets", "At no rate does validation begin to worsen in most of the seeds.", ())
    sentence = f"Validation begins to worsen, while training goes on improving, with {'; with '.join(places)}."
    others = "" if len(places) == len(summary.rates) else " At the other rates most seeds show no such turn."
    return Finding("onsets", sentence + others, tuple(named))


def lost(summary: Summary) -> list[Finding]:
    """The runs without figures, and why."""
    found = []
    for status, (one, several) in ENDS.items():
        rows = [row for row in summary.runs if row.status == status]
        if rows:
            reasons = "; ".join(f"{row.run} ({_first_sentence(row.reason)})" for row in rows[:NAMED])
            more = f"; and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
            sentence = f"{len(rows)} {one if len(rows) == 1 else several}: {reasons}{more}."
            found.append(Finding(status, sentence, tuple(row.run for row in rows)))
    return found


def _first_sentence(reason: str) -> str:
    return (reason.splitlines() or ["nobody knows why"])[0].partition(". ")[0].rstrip(".")
