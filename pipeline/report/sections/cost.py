"""Quality against cost: a figure of the variants, and its numbers."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from pipeline.analysis.ranked_metric import RankedMetric, get_ranked_metric
from pipeline.artifacts.comparison import BestSetting, Finding, Summary
from pipeline.errors import PipelineError
from pipeline.number_format import format_millions, format_number
from pipeline.report.figures.cost_plot import CostPoint, draw_cost_plot
from pipeline.report.page_context import PageContext


@dataclass(frozen=True)
class CostFigure:
    """The ranked metric of each variant over the cost of a prediction."""

    plot: Markup
    metric: RankedMetric
    caption: str  # the finding on the cheapest variant; may be empty
    has_equal: bool  # whether several variants have the same cost
    lines: tuple[tuple[str, tuple[str, ...]], ...]  # setting; cost, mean, lowest and highest seed


def build_cost(context: PageContext) -> CostFigure | None:
    """Build the figure of the variants on this page; None if they do not differ in their known costs."""
    summary = context.summary
    metric, cheapest = get_ranked_metric(summary), _find_cheapest(context)
    points = [
        point
        for setting in summary.best_of_variant
        if setting.setting in context.shown_settings
        and (point := _build_point(summary, setting, metric, cheapest)) is not None
    ]
    if len({point.operations for point in points}) < 2:
        return None
    is_stated = cheapest is not None and sum(point.is_marked for point in points) == 2
    return CostFigure(
        plot=draw_cost_plot(points, metric, context.project),
        metric=metric,
        caption=cheapest.sentence if cheapest and is_stated else "",
        has_equal=len({point.operations for point in points}) < len(points),
        lines=tuple((str(point.setting), _format_numbers(point, metric)) for point in points),
    )


def _find_cheapest(context: PageContext) -> Finding | None:
    """Return the finding on the cheapest variant that is not significantly worse than the best one."""
    try:
        return next((item for item in context.project.comparison.findings if item.id == "cheapest"), None)
    except PipelineError:
        return None  # the section on findings reports the error


def _build_point(
    summary: Summary, setting: BestSetting, metric: RankedMetric, cheapest: Finding | None
) -> CostPoint | None:
    """Build the point of a variant; None if its cost is unknown."""
    runs = summary.list_runs(setting)
    operations = summary.get_run(setting.run).multiply_accumulates
    values = metric.list_by_seed(runs).values()
    mean, _ = summary.get_setting(setting).get_spread(metric.name)
    if not operations or not values or mean is None:
        return None
    is_best = summary.best is not None and summary.best.run == setting.run
    return CostPoint(
        setting=setting.setting,
        operations=operations,
        mean=mean,
        low=min(values),
        high=max(values),
        is_best=is_best,
        is_cheapest=not is_best and cheapest is not None and setting.run in cheapest.runs,
    )


def _format_numbers(point: CostPoint, metric: RankedMetric) -> tuple[str, ...]:
    values = (format_number(value, metric.digits) for value in (point.mean, point.low, point.high))
    return format_millions(point.operations), *values
