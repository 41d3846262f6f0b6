"""Loss curves: one panel per variant, one color per learning rate."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.number_format import format_number
from pipeline.report.external_results import ExternalResults
from pipeline.report.figures import svg
from pipeline.report.figures.curve_data import LossAxis, LossCurve, aggregate_runs, choose_axis, export_runs
from pipeline.report.figures.loss_panels import CurveKey, CurvePlot, Panel, draw_panel
from pipeline.report.notices import NothingToShowError
from pipeline.report.page_context import PageContext


@dataclass(frozen=True)
class Curves:
    """One panel per variant, with a shared loss axis."""

    plot: CurvePlot
    learning_rates: tuple[tuple[int, float, str], ...]  # index in the grid, value, and marker as an SVG path
    panels: tuple[Panel, ...]
    columns: int  # panels side by side
    has_seeds: bool  # whether there are several seeds, whose range is drawn as a band
    ends_early: bool  # whether a run ends before the others of its setting
    axis: str  # sentence on the axis
    omission: str  # sentence on the variants that have no panel; empty if all have one


MAX_PANELS = 30
MAX_COLUMNS = 3  # more panels side by side would be unreadable
SIZES = {1: (6.0, 3.3), 2: (5.2, 3.2), 3: (4.3, 3.1)}  # width and height in inches by columns; text keeps its size


def build_curves(context: PageContext, external: ExternalResults) -> Curves:
    """Build the panels of the selected runs.

    Raises:
        PipelineError: No run has a finite loss, or a file is missing or broken.
    """
    variants = context.list_best_variants(MAX_PANELS)
    plot = _build_plot(context, external)
    with svg.use_style(context.project):
        columns = min(len(variants), MAX_COLUMNS)
        panels = tuple(draw_panel(plot, variant, index, SIZES[columns]) for index, variant in enumerate(variants))
    return Curves(
        plot=plot,
        learning_rates=tuple(
            (index, learning_rate, svg.get_marker(index)[1])
            for index, learning_rate in enumerate(plot.learning_rates)
            if any(key[1] == learning_rate for key in (*plot.means, *plot.diverged))
        ),
        panels=panels,
        columns=columns,
        has_seeds=len({row.seed for row in context.selection.rows}) > 1,
        ends_early=any(curve["mean"].isna().any() for curve in plot.means.values()),
        axis=_describe_axis(plot.axis),
        omission=_describe_omission(len(variants), len({row.variant for row in context.selection.rows})),
    )


def _build_plot(context: PageContext, external: ExternalResults) -> CurvePlot:
    means: dict[CurveKey, LossCurve] = {}
    diverged_curves: dict[CurveKey, tuple[LossCurve, ...]] = {}
    diverged = {row.run for row in context.selection.rows if row.status == "diverged"}
    onsets: dict[tuple[str, float], list[tuple[int, int]]] = {}
    for row in context.selection.rows:
        if row.judgment and row.judgment.onset:
            onsets.setdefault(row.setting, []).append(row.judgment.onset)
    table = context.project.comparison.curves[context.project.comparison.curves["run"].isin(context.selection.names)]
    for (variant, learning_rate, split), rows in table.groupby(["variant", "learning_rate", "split"]):
        key = (str(variant), float(str(learning_rate)), str(split))
        is_diverged = rows["run"].isin(diverged)
        if not is_diverged.all():
            means[key] = aggregate_runs(rows[~is_diverged])
        if is_diverged.any():
            diverged_curves[key] = tuple(aggregate_runs(run) for _, run in rows[is_diverged].groupby("run"))
    lines = [*means.values(), *(curve for group in diverged_curves.values() for curve in group)]
    if not lines:
        raise NothingToShowError("No run has a finite loss, so there is no curve.")
    baseline = context.summary.baseline_loss
    learning_rates = tuple(sorted({row.learning_rate for row in context.summary.runs}))
    shown = {row.run for row in context.listed_runs}
    return CurvePlot(
        means=means,
        runs=export_runs(table[table["run"].isin(shown)], learning_rates),
        diverged=diverged_curves,
        learning_rates=learning_rates,
        axis=choose_axis(lines, baseline),
        baseline=baseline,
        epochs=max(int(item.index.max()) for item in lines),
        onsets=onsets,
        external=tuple(
            (result.name, result.curves)
            for result in external.results
            if result.curves and result.curves.unit == "epoch"
        ),
    )


def _describe_omission(shown: int, total: int) -> str:
    return "" if shown == total else f"Of {total} variants, the {shown} best ones have a panel."


def _describe_axis(shared: LossAxis) -> str:
    scale = f"The loss axis is {'logarithmic' if shared.is_log else 'linear'}"
    if not shared.is_clipped:
        return f"{scale} and the same in all panels."
    end = format_number(shared.high, 2)
    return f"{scale}, the same in all panels, and ends at {end}; higher losses are listed below each panel."
