"""All runs of the selection, a line each, and what others got."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.analysis.curve_files import Result
from pipeline.analysis.one_class import LABEL
from pipeline.analysis.scores import name_foreground_iou
from pipeline.analysis.verdict import judge
from pipeline.comparison import Judgement, RunRow, Summary
from pipeline.report import view, wording
from pipeline.report.primary_score import PrimaryScore
from pipeline.report.references import References
from pipeline.report.selection import Chosen
from pipeline.runs import MIN_CLASS_IOU


@dataclass(frozen=True)
class RunLine:
    """A run in the table of all runs."""

    run: str
    rate: str
    seed: str
    verdict: str  # one word
    label: str  # that its masks are no better than predicting one class everywhere, or miss classes; else empty
    evidence: str  # phrases that it rests on; may be empty
    reason: str  # instead of the figures, where there are none
    figures: tuple[str, ...]
    values: str  # JSON list to sort by, an entry a column
    best: bool


@dataclass(frozen=True)
class ReferenceLine:
    """Other people's result below the runs."""

    name: str
    verdict: str
    evidence: str
    figures: tuple[str, ...]


@dataclass(frozen=True)
class RunTable:
    """All runs of the selection, and what others got."""

    headings: tuple[str, ...]
    figures: int  # how many of the headings are figures
    lines: tuple[RunLine, ...]
    not_checked: tuple[str, ...]  # sentences: which checks of the verdicts could not be made, and why
    missed_below: float  # IoU
    references: tuple[ReferenceLine, ...]
    sources: tuple[tuple[str, str], ...]  # of the references: name, and whose it is
    problems: tuple[view.Card, ...]


@dataclass(frozen=True)
class ScoreColumn:
    """A column of scores, which depend on the classes of the data."""

    heading: str
    of_run: Callable[[RunRow], float | None]
    reference: str  # the same score among the numbers of a reference; empty if it has none


FIGURES = ("Best epoch", "Training loss", "Validation loss", "Gap")  # then the scores


def run_table(chosen: Chosen, summary: Summary, references: References) -> RunTable:
    """A line a chosen run; a run without figures says why. What others got stands below, apart."""
    best = {selection.run for selection in summary.best_of_variant}
    scores = _score_columns(summary)
    figures = (*FIGURES, *(score.heading for score in scores))
    return RunTable(
        headings=("Run", "Rate", "Seed", "Verdict", *figures),
        figures=len(figures),
        lines=tuple(_run_line(row, scores, row.run in best) for row in chosen.rows),
        not_checked=_not_checked(chosen),
        missed_below=MIN_CLASS_IOU,
        references=tuple(_reference_line(result, scores) for result in references.results),
        sources=references.sources,
        problems=references.problems,
    )


def _score_columns(summary: Summary) -> tuple[ScoreColumn, ...]:
    """Choose the scores; foreground IoU is left out if no run has one, as where every class is foreground."""
    primary, foreground = PrimaryScore.of(summary.foreground), name_foreground_iou(summary.foreground)
    columns = [ScoreColumn("Mean IoU", lambda row: row.val_mean_iou, "mean_iou")]
    if any(row.val_foreground_iou is not None for row in summary.runs):
        heading = f"{foreground[:1].upper()}{foreground[1:]}"
        columns.append(ScoreColumn(heading, lambda row: row.val_foreground_iou, "foreground_iou"))
    return (*columns, ScoreColumn(f"Showcase, {primary.name}", primary.of_showcase, ""))


def _not_checked(chosen: Chosen) -> tuple[str, ...]:
    """What could not be checked, and of how many runs."""
    reasons = Counter(reason for row in chosen.rows if row.judgement for reason in row.judgement.not_checked)
    judged = sum(row.judgement is not None for row in chosen.rows)
    return tuple(
        reason if count == judged else f"{reason} (of {wording.plural(count, 'run')})"
        for reason, count in reasons.most_common()
    )


def _run_line(row: RunRow, scores: tuple[ScoreColumn, ...], best: bool) -> RunLine:
    losses = (row.train_loss, row.val_loss, row.gap, *(score.of_run(row) for score in scores))
    empty = row.status != "finished"  # what it did before it diverged stands in its evaluation, and ranks nothing
    epoch = f"{wording.NONE if row.best_epoch is None else row.best_epoch} / {row.epochs}"
    sortable = [None] * (1 + len(losses)) if empty else [row.best_epoch, *losses]
    verdict = row.judgement.verdict if row.judgement else row.status
    values = (row.run, row.learning_rate, row.seed, verdict, *sortable)
    figures = [wording.number(value) for value in losses]
    figures[2] += _interval(row.judgement)
    return RunLine(
        run=row.run,
        rate=wording.rate(row.learning_rate),
        seed=str(row.seed),
        verdict=verdict,
        label=_label(row),
        evidence="; ".join(row.judgement.evidence) if row.judgement else "",
        reason=row.reason or "It left no figures." if empty else "",
        figures=() if empty else (epoch, *figures),
        values=json.dumps(values, allow_nan=False),
        best=best,
    )


def _label(row: RunRow) -> str:
    """Warn of the masks of a run, whatever its verdict."""
    labels = [LABEL] if row.judgement and row.judgement.beats_baseline is False else []
    if row.missed_classes and row.status == "finished":
        labels.append(f"misses {wording.plural(len(row.missed_classes), 'class', 'classes')}")
    return "; ".join(labels)


def _reference_line(result: Result, scores: tuple[ScoreColumn, ...]) -> ReferenceLine:
    verdict = judge(result.curves) if result.curves else None
    train, val = (result.numbers.get(name) for name in ("train_loss", "val_loss"))
    numbers = (
        train,
        val,
        None if train is None or val is None else val - train,
        *(result.numbers.get(score.reference) for score in scores),
    )
    epoch = wording.NONE
    if result.curves and verdict and verdict.gaps:
        epoch = f"{verdict.gaps.best_epoch} / {len(result.curves.epochs)}"
    return ReferenceLine(
        name=result.name,
        verdict=verdict.word if verdict else wording.NONE,
        evidence="; ".join(verdict.evidence) if verdict else "",
        figures=(epoch, *(wording.number(number) for number in numbers)),
    )


def _interval(judgement: Judgement | None) -> str:
    if judgement is None or judgement.gap_low is None:
        return ""
    return f" ({wording.number(judgement.gap_low)} to {wording.number(judgement.gap_high)})"
