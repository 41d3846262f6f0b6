"""Results by learning rate: heat maps of variants and learning rates, and a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.analysis.baselines import ONE_CLASS_LABEL
from pipeline.analysis.ranked_metric import explain_undefined, get_ranked_metric
from pipeline.artifacts.comparison import BestSetting, SettingSummary, Summary
from pipeline.artifacts.scores import MIN_CLASS_IOU, Scores
from pipeline.artifacts.status import RunStatus
from pipeline.report.context import ReportContext
from pipeline.report.run_selection import RunSelection
from pipeline.wording import join_words


@dataclass(frozen=True)
class SettingRow:
    """A row of the table of results: a setting, which is a variant at a learning rate."""

    setting: SettingSummary
    mark: str  # states that the setting has the lowest loss, or why it is not ranked; may be empty
    warning: str  # masks no better than predicting one class, or missed classes; may be empty
    is_best: bool  # whether it is the best setting of its variant
    is_best_of_grid: bool


@dataclass(frozen=True)
class HeatCell:
    """A cell of a heat map: a variant at a learning rate."""

    mean: float  # over seeds
    sd: float | None  # standard deviation over seeds; None for one seed
    share: str  # position between the lowest (0%) and the highest value (100%) of the map
    is_best: bool


HeatMap = dict[str, list[HeatCell | None]]  # by variant, one cell per learning rate; None if it is not ranked


@dataclass(frozen=True)
class ResultsOverview:
    """Results of all settings over their seeds."""

    learning_rates: tuple[float, ...]  # columns of the heat maps, descending
    maps: dict[str, HeatMap]  # by title; empty with fewer than two learning rates or variants
    groups: dict[str, list[SettingRow]]  # by variant
    has_warnings: bool
    baseline: Scores
    missed_below: float  # IoU


UNFINISHED: tuple[RunStatus, ...] = ("diverged", "failed", "killed", "missing")
MAPS = (("Validation loss", "val_loss_mean", "val_loss_sd"), ("Gap", "gap_mean", "gap_sd"))


def build_results(context: ReportContext, selection: RunSelection) -> ResultsOverview:
    """Build the results of the settings of the selected runs."""
    summary = context.summary
    shown = {(row.variant, row.learning_rate) for row in selection.rows}
    settings = [row for row in summary.settings if (row.variant, row.learning_rate) in shown]
    groups: dict[str, list[SettingRow]] = {}
    for row in settings:
        groups.setdefault(row.variant, []).append(_build_row(summary, row, selection))
    learning_rates = tuple(sorted({row.learning_rate for row in settings}, reverse=True))
    return ResultsOverview(
        learning_rates=learning_rates,
        maps=_build_heat_maps(settings, learning_rates, summary.best),
        groups=groups,
        has_warnings=any(row.warning for rows in groups.values() for row in rows),
        baseline=summary.baseline,
        missed_below=MIN_CLASS_IOU,
    )


def _build_heat_maps(
    settings: Sequence[SettingSummary], learning_rates: tuple[float, ...], best: BestSetting | None
) -> dict[str, HeatMap]:
    """Build the heat maps of validation loss and gap.

    There are none for a single variant or learning rate, or if no setting is ranked.
    """
    variants = dict.fromkeys(row.variant for row in settings)
    ranked = [row for row in settings if row.ranked]
    if len(variants) < 2 or len(learning_rates) < 2 or not ranked:
        return {}
    lowest = (best.variant, best.learning_rate) if best else None
    maps = {}
    for title, mean_field, sd_field in MAPS:
        means = [getattr(row, mean_field) for row in ranked]
        low, span = min(means), max(means) - min(means)
        cells = {
            (row.variant, row.learning_rate): HeatCell(
                mean=mean,
                sd=getattr(row, sd_field),
                share=f"{(mean - low) / span if span else 0:.0%}",
                is_best=(row.variant, row.learning_rate) == lowest,
            )
            for row, mean in zip(ranked, means, strict=True)
        }
        maps[title] = {variant: [cells.get((variant, rate)) for rate in learning_rates] for variant in variants}
    return maps


def _build_row(summary: Summary, row: SettingSummary, selection: RunSelection) -> SettingRow:
    here = (row.variant, row.learning_rate)
    is_best_of_grid = summary.best is not None and here == (summary.best.variant, summary.best.learning_rate)
    is_best = any(here == (item.variant, item.learning_rate) for item in summary.best_of_variant)
    metric = get_ranked_metric(summary)
    best_value = f"{'lowest' if metric.is_lower_better else 'highest'} {metric.short_title}"
    if is_best_of_grid:
        mark = f"{best_value} of these" if selection.origin else f"{best_value} of the grid"
    else:
        mark = f"{best_value} of {row.variant}" if is_best else _explain_unranked(summary, row)
    return SettingRow(row, mark, _describe_warning(row), is_best or is_best_of_grid, is_best_of_grid)


def _describe_warning(row: SettingSummary) -> str:
    warnings = []
    if row.beats_baseline is not None and row.beats_baseline < 1:
        warnings.append(ONE_CLASS_LABEL if row.beats_baseline == 0 else f"some seeds {ONE_CLASS_LABEL}")
    if row.missed_classes:
        mean = "on average " if row.finished > 1 else ""
        number = f"{row.missed_classes:.3g}"
        warnings.append(f"misses {mean}{number} {'class' if number == '1' else 'classes'}")
    return "; ".join(warnings)


def _explain_unranked(summary: Summary, row: SettingSummary) -> str:
    if row.ranked:
        return ""
    counts = Counter(run.status for run in summary.list_runs(row))
    words = [f"{counts[status]} {status}" for status in UNFINISHED if counts[status]]
    words = words or list(filter(None, [explain_undefined(summary, row)]))
    return f"not ranked: {join_words(words)}" if words else "not ranked"
