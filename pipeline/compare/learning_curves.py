"""Learning curves: settings that differ only in the number of training images, and what more images would bring."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from pipeline.analysis.learning_curve import FACTOR, MIN_SIZES, UnidentifiedError, fit_learning_curve
from pipeline.artifacts.comparison import Finding, RunSummary, Setting, SettingSummary, Summary
from pipeline.artifacts.learning_curve import LearningCurve, PredictedLoss
from pipeline.params import Cell
from pipeline.wording import format_loss, join_words

MAX_SAMPLES_RATIO = 1.1  # trainings count as equally long if their numbers of samples differ by at most this factor


@dataclass(frozen=True)
class _Point:
    """A setting of a learning curve."""

    variant: str
    learning_rate: float
    images: int  # number of training images
    epochs: int
    losses: tuple[float, ...]  # of its seeds

    @property
    def samples(self) -> int:
        """Number of images that a training sees, with repetitions."""
        return self.images * self.epochs


def fit_learning_curves(
    cells: Sequence[Cell],
    runs: Sequence[RunSummary],
    settings: Sequence[SettingSummary],
    available: Mapping[int | None, int],
) -> list[LearningCurve]:
    """Fit the learning curves of a grid, the one with the lowest loss first.

    The settings of a curve have the same learning rate and parameters. They have either the same number of epochs, or
    nearly the same number of samples, because fewer images are repeated more often.

    Args:
        cells: Cells of the grid.
        runs: Their runs.
        settings: Their settings; those that are not ranked are left out.
        available: Number of training images in the data by fold.
    """
    ranked = {row.setting for row in settings if row.ranked}
    losses: dict[Setting, list[float]] = {setting: [] for setting in ranked}
    for row in runs:
        if row.setting in ranked and row.val_loss is not None:
            losses[row.setting].append(row.val_loss)
    by_setting: dict[Setting, list[Cell]] = {}
    for cell in cells:
        by_setting.setdefault(Setting(cell.variant, cell.learning_rate), []).append(cell)
    families: dict[str, list[_Point]] = {}
    for setting, seeds in by_setting.items():
        if setting in ranked:
            # With cross-validation, the losses are of all folds, which may differ in size.
            images = fmean(min(cell.max_train_images or available[cell.fold], available[cell.fold]) for cell in seeds)
            point = _Point(*setting, round(images), seeds[0].train.epochs, tuple(losses[setting]))
            families.setdefault(_describe_parameters(seeds[0]), []).append(point)
    num_available = round(fmean(available.values()))
    curves = [_fit(points, num_available) for family in families.values() for points in _list_curves(family)]
    return sorted(curves, key=lambda curve: curve.means[-1])


def _describe_parameters(cell: Cell) -> str:
    """Describe everything that must be equal within a learning curve."""
    return f"{cell.learning_rate} {cell.model.model_dump_json()} {cell.train.model_dump_json(exclude={'epochs'})}"


def _list_curves(points: Sequence[_Point]) -> Iterator[list[_Point]]:
    """Yield the points of each learning curve with enough training-set sizes, ascending, one point per number."""
    by_epochs: dict[int, list[_Point]] = {}
    by_samples: list[list[_Point]] = []
    for point in sorted(points, key=lambda one: (one.samples, one.images)):
        by_epochs.setdefault(point.epochs, []).append(point)
        if by_samples and point.samples <= MAX_SAMPLES_RATIO * by_samples[-1][0].samples:
            by_samples[-1].append(point)
        else:
            by_samples.append([point])
    for group in (*by_epochs.values(), *by_samples):
        by_images = {point.images: point for point in sorted(group, key=lambda one: one.images)}
        if len(by_images) >= MIN_SIZES:
            yield list(by_images.values())


def _fit(points: Sequence[_Point], available: int) -> LearningCurve:
    fit, reason = None, ""
    try:
        fit = fit_learning_curve([(point.images, point.losses) for point in points])
    except UnidentifiedError as error:
        reason = str(error)
    return LearningCurve(
        variants=tuple(point.variant for point in points),
        learning_rate=points[0].learning_rate,
        images=tuple(point.images for point in points),
        losses=tuple(point.losses for point in points),
        available=available,
        fit=fit,
        reason=reason,
    )


def report_more_images(summary: Summary) -> Finding | None:
    """Report what twice as many training images would bring, by the learning curve with the lowest loss."""
    if not summary.learning_curves:
        return None
    curve = summary.learning_curves[0]
    settings = {(variant, curve.learning_rate) for variant in curve.variants}
    runs = tuple(row.run for row in summary.runs if row.setting in settings)
    if curve.fit is None:
        names = join_words(curve.variants)
        sentence = f"What more images would bring cannot be predicted from {names} at {curve.learning_rate}: "
        return Finding("more_images", f"{sentence}{curve.reason}.", runs)
    predicted, most = curve.fit.prediction, curve.images[-1]
    sentence = (
        f"More images: with {predicted.images} training images instead of {most}, the validation loss of "
        f"{curve.variants[-1]} at {curve.learning_rate} would be about {_format(curve, predicted.loss)} nats per pixel "
        f"(95% interval {_format_interval(curve, predicted)}) instead of {_format(curve, curve.means[-1])}, if it "
        f"continues along the power law of {curve.images[0]} to {most} images."
    )
    return Finding("more_images", " ".join([sentence, _describe_check(curve), *_describe_next_step(curve)]), runs)


def _describe_check(curve: LearningCurve) -> str:
    """Describe whether the power law of fewer images predicts the loss at the most images."""
    held_out = curve.fit.held_out if curve.fit else None
    if held_out is None:
        return f"This law was not checked, which needs falling losses at {MIN_SIZES + 1} or more training-set sizes."
    result = (
        f"Fitted without the losses at {curve.images[-1]} images, the law predicts "
        f"{_format_interval(curve, held_out)} there"
    )
    return f"{result}, which agrees." if curve.is_confirmed else f"{result}, which is wrong: do not rely on it."


def _format(curve: LearningCurve, loss: float) -> str:
    return format_loss(loss, curve.means[-1])


def _format_interval(curve: LearningCurve, predicted: PredictedLoss) -> str:
    return f"{_format(curve, predicted.low)} to {_format(curve, predicted.high)}"


def _describe_next_step(curve: LearningCurve) -> list[str]:
    """Name the parameter that tests the prediction if the data has enough images."""
    doubled = FACTOR * curve.images[-1]
    if curve.available < doubled:
        return []
    return [f"The data has {curve.available} training images: test it with data.max_train_images: {doubled}."]
