"""Draw a learning curve: validation loss by number of training images, and the prediction for twice as many."""

from __future__ import annotations

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from pipeline.artifacts.learning_curve import FittedCurve, LearningCurve
from pipeline.report.figures import svg

SIZE = (5.2, 3.2)  # inches
MARGIN = 1.15  # factor between the outermost training-set sizes and the ends of the axis


def draw_learning_curve(curve: LearningCurve, color: int, number: int) -> Markup:
    """Draw the losses of all seeds, the fitted power law and its prediction.

    Args:
        curve: The learning curve.
        color: Index of the learning rate's color.
        number: Number of the figure, which makes the ids in its SVG unique on the page.
    """
    figure = Figure(SIZE, layout="constrained")
    axes = figure.add_subplot()
    series = svg.get_series_color(color)
    if curve.fit is not None:
        _draw_fit(axes, curve, curve.fit, series)
    for images, losses in zip(curve.images, curve.losses, strict=True):
        axes.plot([images] * len(losses), losses, "o", color=series, alpha=0.45, markersize=5, markeredgewidth=0)
    axes.plot(curve.images, curve.means, svg.get_marker(color)[0], color=series, markersize=7)
    ticks = [*curve.images, *([curve.fit.prediction.images] if curve.fit else [])]
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(ticks[0] / MARGIN, ticks[-1] * MARGIN)
    axes.set_xlabel("training images", loc="right")
    return svg.render_svg(figure, f"learning-curve-{number}")


def _draw_fit(axes: Axes, curve: LearningCurve, fit: FittedCurve, color: str) -> None:
    """Draw the power law with its interval, dashed beyond the training-set sizes to which it was fitted."""
    images = [point.images for point in fit.points]
    axes.fill_between(
        images,
        [point.low for point in fit.points],
        [point.high for point in fit.points],
        color=color,
        alpha=0.16,
        linewidth=0,
    )
    end = max(place for place, number in enumerate(images) if number <= curve.images[-1])
    for part, style in ((fit.points[: end + 1], "-"), (fit.points[end:], "--")):
        axes.plot([one.images for one in part], [one.loss for one in part], style, color=color, linewidth=1.5)
    last = fit.prediction
    axes.plot([last.images] * 2, [last.low, last.high], color=svg.INK, linewidth=1.5)
    axes.plot(last.images, last.loss, "o", color=svg.INK, markersize=6)
