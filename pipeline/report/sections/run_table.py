"""The table of all runs and of external results."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.analysis.baselines import ONE_CLASS_LABEL
from pipeline.analysis.ranked_metric import get_ranked_metric
from pipeline.analysis.scores import name_foreground_iou
from pipeline.analysis.verdict import judge
from pipeline.artifacts.comparison import Comparison, Judgment, RunSummary, Summary
from pipeline.artifacts.scores import MIN_CLASS_IOU
from pipeline.curve_readers.external_results import ExternalResult
from pipeline.number_format import MISSING, format_number
from pipeline.report.external_results import ExternalResults
from pipeline.report.notices import Notice
from pipeline.report.page_context import PageContext
from pipeline.report.primary_score import PrimaryScore
from pipeline.wording import capitalize_first, pluralize


@dataclass(frozen=True)
class RunTableRow:
    """A run or an external result in the table of all runs."""

    name: str
    verdict: str  # one word
    evidence: str  # may be empty
    figures: tuple[str, ...]
    learning_rate: float | None = None  # this and the following fields: only for runs
    seed: str = ""  # with cross-validation, also the fold
    label: str = ""  # early stop, masks no better than predicting one class, missed classes; may be empty
    reason: str = ""  # why the run has no figures; else empty
    values: str = ""  # JSON list of sort keys, one per column
    is_best: bool = False


@dataclass(frozen=True)
class RunTable:
    """The selected runs and external results."""

    headings: tuple[str, ...]
    num_figures: int  # number of headings that have a figure in each row
    lines: tuple[RunTableRow, ...]
    omission: str  # sentence on the runs that are not listed; empty if all are
    not_checked: tuple[str, ...]  # sentences on checks that were not possible, with reasons
    missed_below: float  # IoU
    external: tuple[RunTableRow, ...]
    sources: tuple[tuple[str, str], ...]  # name of each external result, and its author or publication
    notes: tuple[tuple[str, str], ...]  # names of external results, and what was guessed or left out in their files
    problems: tuple[Notice, ...]


@dataclass(frozen=True)
class ScoreColumn:
    """A column with a score of each run."""

    heading: str
    get: Callable[[RunSummary], float | None]
    external: str  # name of the score in external results; empty if they do not have it
    digits: int = 3


FIGURES = ("Best epoch", "Training loss", "Validation loss", "Gap")  # then the scores


def build_run_table(context: PageContext, external: ExternalResults) -> RunTable:
    """Build one row per run, with its scores or the reason why it has none, and one row per external result."""
    summary, shown = context.summary, context.listed_runs
    scores = _choose_columns(summary)
    figures = (*FIGURES, *(score.heading for score in scores))
    return RunTable(
        headings=("Run", "Learning rate", "Seed" if summary.folds is None else "Seed, fold", "Verdict", *figures),
        num_figures=len(figures),
        lines=tuple(_build_row(row, scores, summary.loss_digits, row.run in context.shown_best_runs) for row in shown),
        omission=_describe_omission(len(shown), len(context.selection.rows)),
        not_checked=_list_unchecked(context.selection.rows),
        missed_below=MIN_CLASS_IOU,
        external=tuple(_build_external_row(result, scores, summary.loss_digits) for result in external.results),
        sources=external.sources,
        notes=tuple((result.name, note) for result in external.results for note in result.notes),
        problems=external.problems,
    )


def _describe_omission(shown: int, total: int) -> str:
    if shown == total:
        return ""
    return (
        f"Of {total:,} runs, the {shown:,} of the best settings are listed. `comparison/{Comparison.RUNS}` contains "
        f"all of them, and `pipeline report --runs` selects others."
    )


def _choose_columns(summary: Summary) -> tuple[ScoreColumn, ...]:
    """Choose the score columns, with the metric that settings are ranked by.

    Foreground IoU is left out if no run has one, as when every class is foreground.
    """
    metric, primary = get_ranked_metric(summary), PrimaryScore.of(summary.foreground)
    columns = [ScoreColumn("Mean IoU", lambda row: row.val_mean_iou, "mean_iou")]
    if any(row.val_foreground_iou is not None for row in summary.runs):
        foreground = name_foreground_iou(summary.foreground)
        heading = capitalize_first(foreground)
        columns.append(ScoreColumn(heading, lambda row: row.val_foreground_iou, "foreground_iou"))
    if metric.name != "val_loss" and metric.heading not in [column.heading for column in columns]:
        columns.insert(0, ScoreColumn(metric.heading, lambda row: row.get_metric(metric.name), "", metric.digits))
    return (*columns, ScoreColumn(f"Showcase, {primary.name}", primary.of_showcase, ""))


def _list_unchecked(rows: Sequence[RunSummary]) -> tuple[str, ...]:
    """List the checks that were not possible, with the number of runs if not all runs are affected."""
    reasons = Counter(reason for row in rows if row.judgment for reason in row.judgment.not_checked)
    judged = sum(row.judgment is not None for row in rows)
    return tuple(
        reason if count == judged else f"{reason} (of {pluralize(count, 'run')})"
        for reason, count in reasons.most_common()
    )


def _build_row(row: RunSummary, scores: tuple[ScoreColumn, ...], loss_digits: int, is_best: bool) -> RunTableRow:
    losses = (row.train_loss, row.val_loss, row.gap)
    numbers = [score.get(row) for score in scores]
    verdict, evidence = (row.judgment.verdict, row.judgment.evidence) if row.judgment else (row.status, ())
    figures: tuple[str, ...] = ()
    sortable: tuple[float | None, ...] = (None,) * (1 + len(losses) + len(numbers))
    if row.is_complete:  # a diverged run has scores only of the epochs before it diverged
        epoch = f"{MISSING if row.best_epoch is None else row.best_epoch} / {row.epochs}"
        train, val, gap = (format_number(loss, loss_digits) for loss in losses)
        others = [format_number(number, score.digits) for number, score in zip(numbers, scores, strict=True)]
        figures = (epoch, train, val, gap + _format_interval(row.judgment, loss_digits), *others)
        sortable = (row.best_epoch, *losses, *numbers)
    return RunTableRow(
        name=row.run,
        verdict=verdict,
        evidence="; ".join(evidence),
        figures=figures,
        learning_rate=row.learning_rate,
        seed=str(row.seed) if row.fold is None else f"{row.seed}, {row.fold}",
        label=_describe_label(row),
        reason="" if figures else row.reason or "This run has no scores.",
        values=json.dumps((row.run, row.learning_rate, row.seed, verdict, *sortable), allow_nan=False),
        is_best=is_best,
    )


def _describe_label(row: RunSummary) -> str:
    """Describe what the verdict does not cover: an early stop, and problems of the masks."""
    labels = ["stopped early"] if row.status == "stopped_early" else []
    if row.judgment and row.judgment.beats_baseline is False:
        labels.append(ONE_CLASS_LABEL)
    if row.missed_classes and row.is_complete:
        labels.append(f"misses {pluralize(len(row.missed_classes), 'class', 'classes')}")
    return "; ".join(labels)


def _build_external_row(result: ExternalResult, scores: tuple[ScoreColumn, ...], loss_digits: int) -> RunTableRow:
    train, val = (result.numbers.get(name) for name in ("train_loss", "val_loss"))
    gap = None if train is None or val is None else val - train
    losses = (format_number(loss, loss_digits) for loss in (train, val, gap))
    others = (format_number(result.numbers.get(score.external)) for score in scores)
    word, evidence, epoch = MISSING, "", MISSING
    if result.curves:
        verdict = judge(result.curves)
        word, evidence = verdict.word, "; ".join(verdict.evidence)
        if verdict.gaps and result.curves.unit == "epoch":
            epoch = f"{verdict.gaps.best_epoch} / {result.curves.epochs[-1]}"
    return RunTableRow(result.name, word, evidence, (epoch, *losses, *others))


def _format_interval(judgment: Judgment | None, digits: int) -> str:
    if judgment is None or judgment.gap_low is None:
        return ""
    return f" ({format_number(judgment.gap_low, digits)} to {format_number(judgment.gap_high, digits)})"
