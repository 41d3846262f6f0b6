"""Results: the settings in their ranking, all their metrics, and heat maps of variants and learning rates."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.analysis.baselines import ONE_CLASS_LABEL
from pipeline.analysis.ranked_metric import (
    RankedMetric,
    explain_unranked,
    get_ranked_metric,
    list_grid_metrics,
    list_shown_metrics,
    order_settings,
)
from pipeline.artifacts.comparison import Setting, SettingSummary, Spread, Summary
from pipeline.artifacts.scores import MIN_CLASS_IOU, Scores
from pipeline.number_format import MISSING, format_millions, format_number, format_spread
from pipeline.report.page_context import PageContext
from pipeline.report.sections.cost import CostFigure, build_cost


@dataclass(frozen=True)
class SettingRow:
    """A row of the table of results: a setting, which is a variant at a learning rate."""

    setting: SettingSummary
    values: tuple[str, ...]  # mean ± standard deviation of each of `ResultsOverview.metrics`
    gap: str  # mean ± standard deviation
    verdicts: str  # of its runs, with their number if there are several
    cost: str  # million multiply-accumulates of a prediction
    mark: str  # states that the setting is the best one, or why it is not ranked; may be empty
    warning: str  # masks no better than predicting one class, or missed classes; may be empty
    is_best: bool  # whether it is the best setting of its variant
    is_best_of_grid: bool


@dataclass(frozen=True)
class HeatCell:
    """A cell of a heat map: a variant at a learning rate."""

    mean: str  # over seeds
    sd: str  # standard deviation over seeds; empty for one seed
    share: str  # position between the lowest (0%) and the highest value (100%) of the map
    is_best: bool


HeatMap = dict[str, list[HeatCell | None]]  # by variant, one cell per learning rate; None if it is not ranked


@dataclass(frozen=True)
class MetricTable:
    """All metrics of the settings, in the order of the table of results."""

    headings: tuple[str, ...]
    lines: tuple[tuple[str, tuple[str, ...], str], ...]  # setting, its figures, and JSON list of sort keys


@dataclass(frozen=True)
class ResultsOverview:
    """Results of all settings over their seeds."""

    metric: RankedMetric  # that settings are ranked by
    metrics: tuple[RankedMetric, ...]  # with a column in the table of results; the first one is `metric`
    rows: tuple[SettingRow, ...]  # best first, then those that are not ranked
    baseline: tuple[str, ...]  # of the class-prior baseline, one value per metric
    has_cost: bool
    cost: CostFigure | None  # None if the variants do not differ in their costs
    has_warnings: bool
    missed_below: float  # IoU
    all_metrics: MetricTable
    learning_rates: tuple[float, ...]  # columns of the heat maps, descending
    maps: dict[str, HeatMap]  # by title; empty with fewer than two learning rates or variants


def build_results(context: PageContext) -> ResultsOverview:
    """Build the results of the settings of the selected runs."""
    summary = context.summary
    metric = get_ranked_metric(summary)
    settings = [row for row in summary.settings if row.setting in context.shown_settings]
    ordered = order_settings(settings, metric)
    metrics = tuple(list_shown_metrics(summary, ("val_loss",)))
    rows = tuple(_build_row(context, row, metrics) for row in ordered)
    learning_rates = tuple(sorted({row.learning_rate for row in settings}, reverse=True))
    return ResultsOverview(
        metric=metric,
        metrics=metrics,
        rows=rows,
        baseline=tuple(format_number(_get_score(summary.baseline, one), one.digits) for one in metrics),
        has_cost=any(row.cost != MISSING for row in rows),
        cost=build_cost(context),
        has_warnings=any(row.warning for row in rows),
        missed_below=MIN_CLASS_IOU,
        all_metrics=_tabulate_metrics(summary, ordered),
        learning_rates=learning_rates,
        maps=_build_heat_maps(settings, learning_rates, metrics, summary),
    )


def _get_score(scores: Scores, metric: RankedMetric) -> float | None:
    """Return the metric among the scores; None if they do not have it."""
    value: float | None = vars(scores).get("loss" if metric.name == "val_loss" else metric.name)
    return value


def _build_row(context: PageContext, row: SettingSummary, metrics: Sequence[RankedMetric]) -> SettingRow:
    summary, here = context.summary, row.setting
    is_best_of_grid = summary.best is not None and here == summary.best.setting
    is_best = any(here == item.setting for item in summary.best_of_variant)
    best_value = f"{'lowest' if metrics[0].is_lower_better else 'highest'} {metrics[0].short_title}"
    if is_best_of_grid:
        mark = f"{best_value} of these" if context.selection.origin else f"{best_value} of the grid"
    else:
        mark = f"{best_value} of {row.variant}" if is_best else explain_unranked(summary, row)
    return SettingRow(
        setting=row,
        values=tuple(format_spread(*row.get_spread(one.name), one.digits) for one in metrics),
        gap=format_spread(row.gap_mean, row.gap_sd, summary.loss_digits),
        verdicts=_describe_verdicts(summary, row),
        cost=format_millions(_find_cost(summary, row, "multiply_accumulates")),
        mark=mark,
        warning=_describe_warning(row),
        is_best=is_best or is_best_of_grid,
        is_best_of_grid=is_best_of_grid,
    )


def _find_cost(summary: Summary, row: SettingSummary, name: str) -> int | None:
    """Return a cost of the setting, which is the same for all its runs; None if no run has it."""
    costs = (getattr(run, name) for run in summary.list_runs(row))
    return next((cost for cost in costs if cost is not None), None)


def _describe_verdicts(summary: Summary, row: SettingSummary) -> str:
    words = summary.count_verdicts(row)
    return ", ".join(word if words.total() == 1 else f"{count} {word}" for word, count in words.most_common())


def _describe_warning(row: SettingSummary) -> str:
    warnings = []
    if row.beats_baseline is not None and row.beats_baseline < 1:
        warnings.append(ONE_CLASS_LABEL if row.beats_baseline == 0 else f"some seeds {ONE_CLASS_LABEL}")
    if row.missed_classes:
        mean = "on average " if row.finished > 1 else ""
        number = f"{row.missed_classes:.3g}"
        warnings.append(f"misses {mean}{number} {'class' if number == '1' else 'classes'}")
    return "; ".join(warnings)


def _tabulate_metrics(summary: Summary, settings: Sequence[SettingSummary]) -> MetricTable:
    """Tabulate all metrics that are defined for at least one setting, with the gap, the seeds and the costs."""
    metrics = [
        metric
        for metric in list_grid_metrics(summary)
        if any(row.get_spread(metric.name)[0] is not None for row in settings)
    ]
    titles = (f"{one.heading}, {one.unit}" if one.unit else one.heading for one in metrics)
    headings = ("Setting", *titles, "Gap, nats per pixel", "Seeds", "Parameters", "Weights, MB", "Training, MB")
    lines = []
    for row in settings:
        name = str(row.setting)
        spreads: list[Spread] = [*(row.get_spread(metric.name) for metric in metrics), (row.gap_mean, row.gap_sd)]
        digits = [*(metric.digits for metric in metrics), summary.loss_digits]
        costs = ("trainable_parameters", "model_bytes", "training_bytes")
        parameters, *sizes = (_find_cost(summary, row, cost) for cost in costs)
        figures = (
            *(format_spread(*spread, decimals) for spread, decimals in zip(spreads, digits, strict=True)),
            str(row.seeds) if row.finished == row.seeds else f"{row.finished} of {row.seeds}",
            MISSING if parameters is None else f"{parameters:,}",
            *(format_number(None if size is None else size / 1e6, 1) for size in sizes),
        )
        keys = (name, *(mean for mean, _ in spreads), row.finished, parameters, *sizes)
        lines.append((name, figures, json.dumps(keys, allow_nan=False)))
    return MetricTable(headings, tuple(lines))


def _build_heat_maps(
    settings: Sequence[SettingSummary],
    learning_rates: tuple[float, ...],
    metrics: Sequence[RankedMetric],
    summary: Summary,
) -> dict[str, HeatMap]:
    """Build the heat maps of the metrics and of the gap.

    There are none for a single variant or learning rate, or if no setting is ranked.
    """
    variants = dict.fromkeys(row.variant for row in settings)
    ranked = [row for row in settings if row.ranked]
    if len(variants) < 2 or len(learning_rates) < 2 or not ranked:
        return {}
    lowest = summary.best.setting if summary.best else None
    maps = {}
    for title, digits, spreads in (
        *((one.heading, one.digits, [row.get_spread(one.name) for row in ranked]) for one in metrics),
        ("Gap", summary.loss_digits, [(row.gap_mean, row.gap_sd) for row in ranked]),
    ):
        low, span = _find_range(mean for mean, _ in spreads)
        cells = {
            row.setting: HeatCell(
                mean=format_number(mean, digits),
                sd="" if sd is None else format_number(sd, digits),
                share=f"{(mean - low) / span if span and mean is not None else 0:.0%}",
                is_best=row.setting == lowest,
            )
            for row, (mean, sd) in zip(ranked, spreads, strict=True)
        }
        maps[title] = {variant: [cells.get(Setting(variant, rate)) for rate in learning_rates] for variant in variants}
    return maps


def _find_range(values: Iterable[float | None]) -> tuple[float, float]:
    """Return the lowest value, and the difference between the highest and the lowest one."""
    defined = [value for value in values if value is not None]
    return (min(defined), max(defined) - min(defined)) if defined else (0.0, 0.0)
