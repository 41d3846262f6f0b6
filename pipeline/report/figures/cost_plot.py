"""Quality against cost: one point per variant at its best learning rate, with the range over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox, ScaledTranslation

from pipeline.analysis.ranked_metric import RankedMetric
from pipeline.artifacts.comparison import Setting
from pipeline.artifacts.project import Project
from pipeline.report.figures import svg
from pipeline.report.figures.value_range import ValueRange

SIZE = (6.0, 3.8)  # inches
LOG_MIN_RATIO = 10.0  # the axis of costs is logarithmic if the ratio of its ends is larger
MARGIN = 0.14  # fraction of the axis of costs on both sides, for labels
FONT_SIZE = 10  # points, like the following lengths
MARKER = 7.0
DODGE = 11.0  # distance between variants with equal cost
LETTER = 0.56 * FONT_SIZE  # mean width of a letter
MAX_NAME = 26  # letters


@dataclass(frozen=True)
class CostPoint:
    """A variant at its best learning rate."""

    setting: Setting
    operations: int  # multiply-accumulates of a prediction
    mean: float  # of the metric over the seeds
    low: float  # lowest and highest seed
    high: float
    is_best: bool = False
    is_cheapest: bool = False  # whether it is the cheapest variant that is not significantly worse than the best one

    @property
    def is_marked(self) -> bool:
        """Whether the point is emphasized."""
        return self.is_best or self.is_cheapest


def draw_cost_plot(points: Sequence[CostPoint], metric: RankedMetric, project: Project) -> Markup:
    """Draw the metric over the cost of a prediction; at least two points must have different costs."""
    costs = [point.operations / 1e6 for point in points]
    with svg.use_style(project):
        figure = Figure(SIZE, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        ValueRange(min(costs), max(costs), LOG_MIN_RATIO).apply(axes, MARGIN)
        axes.margins(y=0.12)
        shifts = _dodge(costs)
        for point, cost, shift in zip(points, costs, shifts, strict=True):
            _draw_point(axes, point, cost, shift)
        axes.set_xlabel("million multiply-accumulates of a prediction", loc="right")
        direction = "lower" if metric.is_lower_better else "higher"
        axes.set_title(f"{metric.title_with_unit}; {direction} is better", loc="left", fontsize=11)
        _draw_names(figure, axes, points, costs, shifts)
        return svg.render_svg(figure, "cost")


def _dodge(costs: Sequence[float]) -> list[float]:
    """Return horizontal shifts in points that separate equal costs."""
    shifts = []
    for place, cost in enumerate(costs):
        equal = [index for index, other in enumerate(costs) if other == cost]
        shifts.append(DODGE * (equal.index(place) - (len(equal) - 1) / 2))
    return shifts


def _draw_point(axes: Axes, point: CostPoint, cost: float, shift: float) -> None:
    color = svg.INK if point.is_marked else svg.QUIET
    figure = axes.figure
    transform = axes.transData + ScaledTranslation(shift / 72, 0, figure.dpi_scale_trans)
    axes.plot((cost, cost), (point.low, point.high), color=color, linewidth=1.4, transform=transform)
    axes.plot(cost, point.mean, "D" if point.is_best else "o", color=color, markersize=MARKER, transform=transform)
    if point.is_cheapest:
        axes.plot(
            cost,
            point.mean,
            "o",
            markersize=MARKER + 6,
            mfc="none",
            mec=color,
            markeredgewidth=1.4,
            transform=transform,
        )
    # Points with a transform of their own do not count for the limits of the axes.
    axes.update_datalim([(cost, point.low), (cost, point.high)])
    axes.autoscale_view(scalex=False)


def _draw_names(
    figure: Figure, axes: Axes, points: Sequence[CostPoint], costs: Sequence[float], shifts: Sequence[float]
) -> None:
    """Write the names next to the points, at the positions with the least overlap; marked points come first."""
    figure.canvas.draw()  # computes the layout
    scale = 72 / figure.dpi

    def locate(cost: float, value: float, shift: float) -> tuple[float, float]:
        x, y = axes.transData.transform((cost, value)) * scale
        return x + shift, y

    inside = Bbox(axes.bbox.get_points() * scale)
    taken = []
    for point, cost, shift in zip(points, costs, shifts, strict=True):
        x, y = locate(cost, point.mean, shift)
        low, high = (locate(cost, value, shift)[1] for value in (point.low, point.high))
        taken += [Bbox.from_extents(x - MARKER, y - MARKER, x + MARKER, y + MARKER)]
        taken += [Bbox.from_extents(x - 1, low, x + 1, high)]
    order = sorted(range(len(points)), key=lambda place: not points[place].is_marked)
    for place in order:
        point, name = points[place], _shorten(points[place].setting.variant)
        x, y = locate(costs[place], point.mean, shifts[place])
        top = locate(costs[place], point.high, shifts[place])[1] - y
        bottom = locate(costs[place], point.low, shifts[place])[1] - y
        width, gap = LETTER * len(name), MARKER + 3
        choices = [
            (gap, 0.0, "left"), (-gap, 0.0, "right"), (0.0, max(top, MARKER) + FONT_SIZE, "center"),
            (0.0, min(bottom, -MARKER) - FONT_SIZE, "center"), (gap, FONT_SIZE, "left"), (gap, -FONT_SIZE, "left"),
            (-gap, FONT_SIZE, "right"), (-gap, -FONT_SIZE, "right"),
        ]  # fmt: skip
        boxes = [_place(x + dx, y + dy, width, side) for dx, dy, side in choices]
        costs_of_overlap = [_measure_overlap(box, taken, inside) for box in boxes]
        best = costs_of_overlap.index(min(costs_of_overlap))
        dx, dy, side = choices[best]
        taken.append(boxes[best])
        text = axes.annotate(
            name,
            (costs[place], point.mean),
            (shifts[place] + dx, dy),
            textcoords="offset points",
            ha=side,
            va="center",
            fontsize=FONT_SIZE,
            color=svg.INK if point.is_marked else svg.QUIET,
            fontweight="bold" if point.is_marked else "normal",
        )
        text.set_parse_math(False)  # names of variants are not formulas


def _place(x: float, y: float, width: float, side: str) -> Bbox:
    """Return the box of a text, in points."""
    left = x - width * {"left": 0.0, "center": 0.5, "right": 1.0}[side]
    return Bbox.from_extents(left, y - FONT_SIZE / 2, left + width, y + FONT_SIZE / 2)


def _measure_overlap(box: Bbox, taken: Sequence[Bbox], inside: Bbox) -> float:
    """Measure the area of a box that overlaps with others or is outside the axes, in square points."""
    area = box.width * box.height
    visible = Bbox.intersection(box, inside)
    outside = area - (visible.width * visible.height if visible else 0.0)
    shared = (Bbox.intersection(box, other) for other in taken)
    return outside + sum(part.width * part.height for part in shared if part)


def _shorten(name: str) -> str:
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"
