"""More images: learning curves over the number of training images, and the loss with twice as many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from pipeline.analysis.seed_statistics import compute_mean_and_sd
from pipeline.artifacts.learning_curve import LearningCurve, PredictedLoss
from pipeline.number_format import MISSING, format_number, format_spread
from pipeline.report.figures import svg
from pipeline.report.figures.learning_curve import draw_learning_curve
from pipeline.report.page_context import PageContext

MAX_CURVES = 6  # the curves with the lowest losses
MAX_COLUMNS = 2  # panels side by side


@dataclass(frozen=True)
class CurveLine:
    """A line of the table: losses with a number of training images."""

    images: str
    source: str  # variant, or how the loss was predicted
    loss: str  # mean ± standard deviation over seeds
    interval: str
    is_predicted: bool


@dataclass(frozen=True)
class CurvePanel:
    """A learning curve."""

    title: str
    figure: Markup
    lines: tuple[CurveLine, ...]
    note: str  # why the loss is not predicted, or that the prediction for the most images was wrong; may be empty


@dataclass(frozen=True)
class MoreImages:
    """The learning curves of the grid."""

    panels: tuple[CurvePanel, ...]
    columns: int  # panels side by side
    has_fit: bool  # whether any curve has a power law
    num_omitted: int  # curves that are not shown


def build_learning_curves(context: PageContext) -> MoreImages | None:
    """Build the figures and tables of the learning curves whose settings are all on the page; None without any."""
    curves = [
        curve
        for curve in context.summary.learning_curves
        if all((variant, curve.learning_rate) in context.shown_settings for variant in curve.variants)
    ]
    if not curves:
        return None
    shown = curves[:MAX_CURVES]
    learning_rates = sorted({row.learning_rate for row in context.summary.runs})
    with svg.use_style(context.project):
        figures = [
            draw_learning_curve(curve, learning_rates.index(curve.learning_rate), number)
            for number, curve in enumerate(shown)
        ]
    return MoreImages(
        panels=tuple(
            CurvePanel(
                title=f"{curve.variants[0]} to {curve.variants[-1]} at {curve.learning_rate}",
                figure=figure,
                lines=tuple(_list_lines(curve)),
                note=_describe_doubt(curve),
            )
            for curve, figure in zip(shown, figures, strict=True)
        ),
        columns=min(len(shown), MAX_COLUMNS),
        has_fit=any(curve.fit for curve in shown),
        num_omitted=len(curves) - len(shown),
    )


def _list_lines(curve: LearningCurve) -> Iterator[CurveLine]:
    for images, variant, losses in zip(curve.images, curve.variants, curve.losses, strict=True):
        yield CurveLine(str(images), variant, format_spread(*compute_mean_and_sd(losses)), MISSING, False)
    if curve.fit is None:
        return
    if curve.fit.held_out:
        yield _create_line(curve.fit.held_out, f"predicted without {curve.variants[-1]}")
    yield _create_line(curve.fit.prediction, "predicted")


def _create_line(predicted: PredictedLoss, source: str) -> CurveLine:
    interval = f"{format_number(predicted.low)} to {format_number(predicted.high)}"
    return CurveLine(str(predicted.images), source, format_number(predicted.loss), interval, True)


def _describe_doubt(curve: LearningCurve) -> str:
    if curve.fit is None:
        return f"The loss with more images cannot be predicted: {curve.reason}."
    if curve.is_confirmed is False:
        return (
            f"A power law fitted to the smaller training sets does not predict the loss at {curve.images[-1]} images."
        )
    return ""
