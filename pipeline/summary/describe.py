"""Describe the results of the grid as Markdown for a pull request, and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pipeline.analysis.best_setting import describe_best
from pipeline.artifacts.comparison import Comparison, Finding, SettingSummary, Summary
from pipeline.report.formatting import MISSING, format_number, format_spread
from pipeline.wording import join_words, pluralize

MAX_SETTINGS = 20  # rows of the table, so that the text stays under 60 lines
MAX_FINDINGS = 8


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
    ranked = sorted((row for row in summary.settings if row.ranked), key=lambda row: (row.val_loss_mean, row.variant))
    settings = [*ranked, *(row for row in summary.settings if not row.ranked)]
    lines = [f"## {title}", "", _describe_best(summary), ""]
    if figures:
        lines += [" ".join(f"![{name}]({path.as_posix()})" for name, path in figures), ""]
    lines += [
        "| variant | learning rate | validation loss | gap | mean IoU | verdicts |",
        "|---|---:|---:|---:|---:|---|",
        *(_format_row(summary, row) for row in settings[:MAX_SETTINGS]),
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
        "best": describe_best(summary) if summary.best else None,
        "baseline_loss": summary.baseline_loss,
        "runs": dict(Counter(row.status for row in summary.runs)),
        "settings": [asdict(row) | {"verdicts": dict(_count_verdicts(summary, row))} for row in summary.settings],
        "findings": [finding.sentence for finding in findings],
    }


def format_csv(comparison: Comparison) -> str:
    """Return the table of settings as CSV."""
    with comparison.reading(comparison.SETTINGS) as path:
        return path.read_text(encoding="utf-8")


def _describe_best(summary: Summary) -> str:
    if summary.best is None:
        return "**No setting is ranked**, because none has finished all its seeds."
    row, best = summary.get_setting(summary.best), describe_best(summary)
    seeds = f" over {pluralize(row.seeds, 'seed')}" if row.seeds > 1 else ""
    sentence = (
        f"**Best: {row.variant} at {row.learning_rate}**, with a validation loss of "
        f"{format_spread(row.val_loss_mean, row.val_loss_sd)} nats per pixel{seeds} (class-prior baseline "
        f"{format_number(summary.baseline_loss)}), a gap of {format_spread(row.gap_mean, row.gap_sd)} and a mean "
        f"IoU of {format_spread(row.val_mean_iou_mean, row.val_mean_iou_sd)}."
    )
    if isinstance(best["test_loss"], float) and isinstance(best["test_mean_iou"], float):
        sentence += f" Test: loss {format_number(best['test_loss'])}, mean IoU {format_number(best['test_mean_iou'])}."
    return sentence


def _format_row(summary: Summary, row: SettingSummary) -> str:
    verdicts = _count_verdicts(summary, row)
    cells = (
        row.variant,
        str(row.learning_rate),
        format_spread(row.val_loss_mean, row.val_loss_sd),
        format_spread(row.gap_mean, row.gap_sd),
        format_spread(row.val_mean_iou_mean, row.val_mean_iou_sd),
        join_words([f"{count} {word}" for word, count in verdicts.most_common()]) or MISSING,
    )
    emphasis = "**" if summary.best and row == summary.get_setting(summary.best) else ""
    return f"| {' | '.join(f'{emphasis}{cell}{emphasis}' for cell in cells)} |"


def _count_verdicts(summary: Summary, row: SettingSummary) -> Counter[str]:
    """Count the verdicts of a setting's runs; a run without a verdict counts by its status."""
    return Counter(run.judgment.verdict if run.judgment else run.status for run in summary.list_runs(row))
