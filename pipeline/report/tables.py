"""The grid at a glance, and all its runs, as tables."""

from __future__ import annotations

import json
from collections import Counter

from pipeline.analysis.curve_files import SCORES, Result
from pipeline.analysis.verdict import judge
from pipeline.comparison import Judgement, RateRow, RunRow, Summary
from pipeline.report import view, wording
from pipeline.report.heat import heat_maps
from pipeline.report.material import Material
from pipeline.report.references import References
from pipeline.report.selection import Chosen

FIGURES = (
    "Best epoch",
    "Training loss",
    "Validation loss",
    "Gap",
    "Mean IoU",
    "Foreground IoU",
    "Showcase IoU",
)


def glance(material: Material, chosen: Chosen) -> view.Glance:
    """A line a variant and rate, over seeds, for the rates that a chosen run belongs to."""
    summary = material.summary
    shown = {(row.variant, row.learning_rate) for row in chosen.rows}
    rates = [row for row in summary.rates if (row.variant, row.learning_rate) in shown]
    variants = dict.fromkeys(row.variant for row in rates)
    return view.Glance(
        maps=heat_maps(rates, summary.best),
        groups=tuple(
            view.VariantLines(variant, tuple(_rate_line(summary, row) for row in rates if row.variant == variant))
            for variant in variants
        ),
        baseline_loss=wording.number(summary.baseline.loss),
        baseline_iou=wording.number(summary.baseline.mean_iou),
    )


def run_table(chosen: Chosen, summary: Summary, references: References) -> view.RunTable:
    """A line a chosen run; a run without figures says why. What others got stands below, apart."""
    best = {selection.run for selection in summary.best_of_variant}
    return view.RunTable(
        headings=("Run", "Rate", "Seed", "Verdict", *FIGURES),
        figures=len(FIGURES),
        lines=tuple(_run_line(row, row.run in best) for row in chosen.rows),
        not_checked=_not_checked(chosen),
        references=tuple(_reference_line(result) for result in references.results),
        sources=references.sources,
        problems=references.problems,
    )


def _not_checked(chosen: Chosen) -> tuple[str, ...]:
    """What could not be checked, and of how many runs."""
    reasons = Counter(reason for row in chosen.rows if row.judgement for reason in row.judgement.not_checked)
    judged = sum(row.judgement is not None for row in chosen.rows)
    return tuple(
        reason if count == judged else f"{reason} (of {wording.plural(count, 'run')})"
        for reason, count in reasons.most_common()
    )


def _rate_line(summary: Summary, row: RateRow) -> view.RateLine:
    here = (row.variant, row.learning_rate)
    of_grid = summary.best is not None and here == (summary.best.variant, summary.best.learning_rate)
    best = any(here == (item.variant, item.learning_rate) for item in summary.best_of_variant)
    return view.RateLine(
        rate=wording.rate(row.learning_rate),
        val_loss=wording.spread(row.val_loss_mean, row.val_loss_sd),
        gap=wording.spread(row.gap_mean, row.gap_sd),
        mean_iou=wording.spread(row.val_mean_iou_mean, row.val_mean_iou_sd),
        seeds=str(row.seeds) if row.ranked else f"{row.finished} of {row.seeds}",
        mark="best of the grid" if of_grid else f"best of {row.variant}" if best else _unranked(summary, row),
        best=best or of_grid,
        best_of_grid=of_grid,
    )


def _unranked(summary: Summary, row: RateRow) -> str:
    if row.ranked:
        return ""
    cells = [r for r in summary.runs if (r.variant, r.learning_rate) == (row.variant, row.learning_rate)]
    words = [f"{count} {status}" for status in ("diverged", "missing") if (count := _count(cells, status))]
    return f"not ranked: {wording.listing(words)}" if words else "not ranked"


def _count(rows: list[RunRow], status: str) -> int:
    return sum(row.status == status for row in rows)


def _run_line(row: RunRow, best: bool) -> view.RunLine:
    losses = (row.train_loss, row.val_loss, row.gap, row.val_mean_iou, row.val_foreground_iou, row.showcase_iou)
    empty = row.status != "finished"  # what it did before it diverged stands in its evaluation, and ranks nothing
    epoch = f"{wording.NONE if row.best_epoch is None else row.best_epoch} / {row.epochs}"
    sortable = [None] * (1 + len(losses)) if empty else [row.best_epoch, *losses]
    verdict = row.judgement.verdict if row.judgement else row.status
    values = (row.run, row.learning_rate, row.seed, verdict, *sortable)
    figures = [wording.number(value) for value in losses]
    figures[2] += _interval(row.judgement)
    return view.RunLine(
        run=row.run,
        rate=wording.rate(row.learning_rate),
        seed=str(row.seed),
        verdict=verdict,
        evidence="; ".join(row.judgement.evidence) if row.judgement else "",
        reason=row.reason or "It left no figures." if empty else "",
        figures=() if empty else (epoch, *figures),
        values=json.dumps(values, allow_nan=False),
        best=best,
    )


def _reference_line(result: Result) -> view.ReferenceLine:
    verdict = judge(result.curves) if result.curves else None
    train, val = (result.numbers.get(name) for name in ("train_loss", "val_loss"))
    numbers = (
        train,
        val,
        None if train is None or val is None else val - train,
        *(result.numbers.get(score) for score in SCORES),
        None,  # the showcase's IoU
    )
    epoch = wording.NONE
    if result.curves and verdict and verdict.gaps:
        epoch = f"{verdict.gaps.best_epoch} / {len(result.curves.epochs)}"
    return view.ReferenceLine(
        name=result.name,
        verdict=verdict.word if verdict else wording.NONE,
        evidence="; ".join(verdict.evidence) if verdict else "",
        figures=(epoch, *(wording.number(number) for number in numbers)),
    )


def _interval(judgement: Judgement | None) -> str:
    if judgement is None or judgement.gap_low is None:
        return ""
    return f" ({wording.number(judgement.gap_low)} to {wording.number(judgement.gap_high)})"
