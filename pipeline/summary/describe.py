"""Describe the results of the grid as Markdown for a pull request, and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from pipeline.analysis.best_setting import Value, describe_best, name_on_test
from pipeline.analysis.ranked_metric import (
    RankedMetric,
    explain_missing_ranking,
    get_ranked_metric,
    list_shown_metrics,
    order_settings,
)
from pipeline.artifacts.comparison import Comparison, Finding, SettingSummary, Summary
from pipeline.artifacts.metric_names import RankBy
from pipeline.number_format import MISSING, format_number, format_spread
from pipeline.wording import join_words, pluralize

MAX_SETTINGS = 20  # rows of the table, so that the text stays under 60 lines
MAX_FINDINGS = 8
SHOWN: tuple[RankBy, ...] = ("val_loss", "mean_iou")  # in addition to the metric that settings are ranked by


def format_markdown(
    title: str,
    summary: Summary,
    findings: Sequence[Finding],
    figures: Sequence[tuple[str, Path]] = (),
    times: Sequence[str] = (),
) -> str:
    """Format the results as Markdown: the best setting, figures, a table of settings, and findings.

    Args:
        title: Title of the report.
        summary: The results.
        findings: Sentences on the results, most important first.
        figures: Title and path of each figure to include.
        times: Sentences on the time that proposed seeds take.
    """
    settings = order_settings(summary.settings, get_ranked_metric(summary))
    columns = _list_columns(summary)
    lines = [f"## {title}", "", _describe_best(summary), ""]
    if figures:
        lines += [" ".join(f"![{name}]({path.as_posix()})" for name, path in figures), ""]
    lines += [
        f"| variant | learning rate | {' | '.join(columns)} | verdicts |",
        f"|---|---:|{'---:|' * len(columns)}---|",
        *(_format_row(summary, row, columns) for row in settings[:MAX_SETTINGS]),
        "",
    ]
    if len(settings) > MAX_SETTINGS:
        lines += [f"{pluralize(len(settings) - MAX_SETTINGS, 'more setting')} in `comparison/settings.csv`.", ""]
    lines += [f"- {finding.sentence}" for finding in findings[:MAX_FINDINGS]]
    if len(findings) > MAX_FINDINGS:
        lines.append(f"- The report has {pluralize(len(findings) - MAX_FINDINGS, 'more finding')}.")
    lines += [f"- {sentence}" for sentence in times]
    return "\n".join(lines)


def describe_results(title: str, summary: Summary, findings: Sequence[Finding]) -> dict[str, object]:
    """Describe the results as values for JSON; undefined numbers are None."""
    return {
        "title": title,
        "rank_by": summary.rank_by,
        "best": describe_best(summary) if summary.best else None,
        "baseline_loss": summary.baseline_loss,
        "runs": dict(Counter(row.status for row in summary.runs)),
        "settings": [asdict(row) | {"verdicts": dict(summary.count_verdicts(row))} for row in summary.settings],
        "findings": [finding.sentence for finding in findings],
    }


def format_csv(comparison: Comparison) -> str:
    """Return the table of settings as CSV."""
    with comparison.reading(comparison.SETTINGS) as path:
        return path.read_text(encoding="utf-8")


def _describe_best(summary: Summary) -> str:
    if summary.best is None:
        reason = explain_missing_ranking(summary)
        return reason or "**No setting is ranked**, because none has finished all its seeds."
    metric = get_ranked_metric(summary)
    row, best = summary.get_setting(summary.best), describe_best(summary)
    seeds = f" over {summary.describe_seeds(row)}" if row.seeds > 1 else ""
    value = metric.add_unit(format_spread(*row.get_spread(metric.name), metric.digits))
    first = "" if metric.name == "val_loss" else f"{metric.title_with_article} of {value}, "
    digits = summary.loss_digits
    sentence = (
        f"**Best: {row.setting}**, with {first}a validation loss of "
        f"{format_spread(row.val_loss_mean, row.val_loss_sd, digits)} nats per pixel{seeds} (class-prior baseline "
        f"{format_number(summary.baseline_loss, digits)}), a gap of "
        f"{format_spread(row.gap_mean, row.gap_sd, digits)} and a mean "
        f"IoU of {format_spread(row.val_mean_iou_mean, row.val_mean_iou_sd)}."
    )
    if tests := _describe_tests(summary, best):
        sentence += f" Test: {', '.join(tests)}."
    return sentence


def _describe_tests(summary: Summary, best: Mapping[str, Value]) -> list[str]:
    """List the defined test scores of the best setting, with the metric that settings are ranked by first."""
    values = ((metric, best[name_on_test(metric.name)]) for metric in list_shown_metrics(summary, SHOWN))
    return [
        f"{metric.short_title} {format_number(value, metric.digits)}"
        for metric, value in values
        if isinstance(value, float)
    ]


def _list_columns(summary: Summary) -> dict[str, Callable[[SettingSummary], str]]:
    """List the columns with numbers: their headings, and functions that format the number of a setting."""

    def format_metric(row: SettingSummary, metric: RankedMetric) -> str:
        return format_spread(*row.get_spread(metric.name), metric.digits)

    columns: dict[str, Callable[[SettingSummary], str]] = {}
    for metric in list_shown_metrics(summary, SHOWN):
        columns[metric.title] = partial(format_metric, metric=metric)
        if metric.name == "val_loss":
            columns["gap"] = lambda row: format_spread(row.gap_mean, row.gap_sd, summary.loss_digits)
    return columns


def _format_row(summary: Summary, row: SettingSummary, columns: Mapping[str, Callable[[SettingSummary], str]]) -> str:
    verdicts = summary.count_verdicts(row)
    cells = (
        row.variant,
        str(row.learning_rate),
        *(format_cell(row) for format_cell in columns.values()),
        join_words([f"{count} {word}" for word, count in verdicts.most_common()]) or MISSING,
    )
    emphasis = "**" if summary.best and row == summary.get_setting(summary.best) else ""
    return f"| {' | '.join(f'{emphasis}{cell}{emphasis}' for cell in cells)} |"
