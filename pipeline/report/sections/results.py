"""Results by learning rate: variants by learning rates as heat maps, and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.analysis.baselines import ONE_CLASS_LABEL
from pipeline.artifacts.comparison import BestSetting, RunSummary, SettingSummary, Summary
from pipeline.artifacts.scores import MIN_CLASS_IOU
from pipeline.report.context import ReportContext
from pipeline.report.formatting import format_learning_rate, format_number, format_spread, join_words
from pipeline.report.run_selection import RunSelection


@dataclass(frozen=True)
class SettingRow:
    """A variant at a learning rate, over seeds."""

    learning_rate: str
    val_loss: str
    gap: str
    mean_iou: str
    seeds: str
    mark: str  # what it is best of, or why it is not ranked
    warning: str  # on seeds no better than the baseline of one class, or on missed classes; else empty
    is_best: bool  # of its variant
    is_best_of_grid: bool


@dataclass(frozen=True)
class VariantRows:
    """The learning rates of a variant."""

    variant: str
    lines: tuple[SettingRow, ...]


@dataclass(frozen=True)
class HeatCell:
    """A variant at a learning rate in a heat map."""

    mean: str
    spread: str  # ± standard deviation; empty for one seed
    share: str  # percentage of the way from the lowest to the highest value
    is_best: bool


@dataclass(frozen=True)
class HeatMap:
    """Variants by learning rates."""

    title: str
    learning_rates: tuple[str, ...]
    rows: tuple[tuple[str, tuple[HeatCell | None, ...]], ...]  # variant and its cells; None: not ranked


@dataclass(frozen=True)
class ResultsOverview:
    """Results of all settings, over seeds."""

    maps: tuple[HeatMap, ...]  # none for fewer than two learning rates or variants
    groups: tuple[VariantRows, ...]
    baseline_loss: str
    baseline_iou: str
    has_warnings: bool
    missed_below: float  # IoU


Place = tuple[str, float]  # variant, learning rate
UNFINISHED = ("diverged", "failed", "killed", "missing")
MAPS = (("Validation loss", "val_loss_mean", "val_loss_sd"), ("Gap", "gap_mean", "gap_sd"))


def build_results(context: ReportContext, selection: RunSelection) -> ResultsOverview:
    """Build the results of the settings of the selected runs."""
    summary = context.summary
    shown = {(row.variant, row.learning_rate) for row in selection.rows}
    rates = [row for row in summary.settings if (row.variant, row.learning_rate) in shown]
    variants = dict.fromkeys(row.variant for row in rates)
    return ResultsOverview(
        maps=_build_heat_maps(rates, summary.best),
        groups=tuple(
            VariantRows(variant, tuple(_build_row(summary, row, selection) for row in rates if row.variant == variant))
            for variant in variants
        ),
        baseline_loss=format_number(summary.baseline.loss),
        baseline_iou=format_number(summary.baseline.mean_iou),
        has_warnings=any(_describe_warning(row) for row in rates),
        missed_below=MIN_CLASS_IOU,
    )


def _build_heat_maps(rates: Sequence[SettingSummary], best: BestSetting | None) -> tuple[HeatMap, ...]:
    """Build heat maps of validation loss and gap; none for a single row or column, or if nothing is ranked."""
    variants = tuple(dict.fromkeys(row.variant for row in rates))
    columns = tuple(sorted({row.learning_rate for row in rates}, reverse=True))
    ranked = {(row.variant, row.learning_rate): row for row in rates if row.ranked}
    if len(variants) < 2 or len(columns) < 2 or not ranked:
        return ()
    lowest = (best.variant, best.learning_rate) if best else None
    maps = []
    for title, mean, sd in MAPS:
        cells = _build_cells({place: (getattr(row, mean), getattr(row, sd)) for place, row in ranked.items()}, lowest)
        rows = tuple((variant, tuple(cells.get((variant, rate)) for rate in columns)) for variant in variants)
        maps.append(HeatMap(title, tuple(format_learning_rate(rate) for rate in columns), rows))
    return tuple(maps)


def _build_cells(values: dict[Place, tuple[float, float | None]], lowest: Place | None) -> dict[Place, HeatCell]:
    means = [mean for mean, _ in values.values()]
    low, span = min(means), max(means) - min(means)
    return {
        place: HeatCell(
            mean=format_number(mean),
            spread="" if sd is None else f"± {format_number(sd)}",
            share=f"{(mean - low) / span if span else 0:.0%}",
            is_best=place == lowest,
        )
        for place, (mean, sd) in values.items()
    }


def _build_row(summary: Summary, row: SettingSummary, selection: RunSelection) -> SettingRow:
    here = (row.variant, row.learning_rate)
    is_best_of_grid = summary.best is not None and here == (summary.best.variant, summary.best.learning_rate)
    is_best = any(here == (item.variant, item.learning_rate) for item in summary.best_of_variant)
    grid = "lowest loss of these" if selection.origin else "lowest loss of the grid"
    return SettingRow(
        learning_rate=format_learning_rate(row.learning_rate),
        val_loss=format_spread(row.val_loss_mean, row.val_loss_sd),
        gap=format_spread(row.gap_mean, row.gap_sd),
        mean_iou=format_spread(row.val_mean_iou_mean, row.val_mean_iou_sd),
        seeds=str(row.seeds) if row.ranked else f"{row.finished} of {row.seeds}",
        mark=grid
        if is_best_of_grid
        else f"lowest loss of {row.variant}"
        if is_best
        else _explain_unranked(summary, row),
        warning=_describe_warning(row),
        is_best=is_best or is_best_of_grid,
        is_best_of_grid=is_best_of_grid,
    )


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
    cells = [r for r in summary.runs if (r.variant, r.learning_rate) == (row.variant, row.learning_rate)]
    words = [f"{count} {status}" for status in UNFINISHED if (count := _count(cells, status))]
    return f"not ranked: {join_words(words)}" if words else "not ranked"


def _count(rows: list[RunSummary], status: str) -> int:
    return sum(row.status == status for row in rows)
