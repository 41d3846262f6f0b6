"""The showcase: images outside all splits that the report shows first, of the data and of the user."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from pipeline.artifacts.comparison import RunSummary
from pipeline.artifacts.prepared_data import SHOWCASE, PreparedData, SegmentationClass
from pipeline.artifacts.project import SHOWCASE_PREDICTIONS
from pipeline.artifacts.showcase_predictions import ShowcaseResult
from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.params import Params
from pipeline.report.context import ReportContext
from pipeline.report.figures import image_html
from pipeline.report.figures.error_kinds import PredictionErrors, is_foreground
from pipeline.report.formatting import format_number, format_percent, join_words, pluralize
from pipeline.report.primary_score import PrimaryScore
from pipeline.report.run_selection import RunSelection, find_leading_run
from pipeline.report.view_models import EmbeddedImage, Frame, ImageArray, LegendEntry, Mask, NothingToShowError


@dataclass(frozen=True)
class Showcase:
    """Prediction of the leading run for the showcase image of the data."""

    images: tuple[EmbeddedImage, ...]
    classes: tuple[LegendEntry, ...]  # legend of the masks; empty if cut-outs are shown
    errors: tuple[LegendEntry, ...]
    verdict: str
    detail: str
    is_failure: bool


@dataclass(frozen=True)
class UserImage:
    """Prediction of the best run for an image of `report.showcase`."""

    title: str
    score: str  # empty without ground truth
    images: tuple[EmbeddedImage, ...]


SHOWCASE_MIN_IOU = 0.80  # foreground IoU; cut-outs below have visible holes and fringes
MIN_MAIN_OBJECT = 0.8  # share of the foreground in its largest region; below, the image has several objects
MIN_COMPACTNESS = 0.3  # share of its bounding box; membranes, vessels and roads fill less
MAX_NAMED_CLASSES = 12  # classes that are not predicted; others are counted


def build_showcase(context: ReportContext, selection: RunSelection) -> Showcase:
    """Show the prediction of the page's leading run for the showcase.

    Raises:
        PipelineError: No run is ranked, or a file is missing or broken.
    """
    summary = context.summary
    run = find_leading_run(summary, selection)
    if summary.best is None or run is None:
        raise NothingToShowError("There is no best run. A setting is ranked when all its seeds have finished.")
    ids = context.sample_ids.get(SHOWCASE, ())
    if not ids:
        raise context.project.prepared.unreadable(PreparedData.SAMPLES, "it lists no showcase")
    classes = context.dataset.classes
    image, ground_truth = (
        context.project.prepared.read_image(SHOWCASE, 0),
        context.project.prepared.read_mask(SHOWCASE, 0),
    )
    prediction = _read_prediction(context, run, ids[0])
    frame = context.get_frame(SHOWCASE, 0)
    wrong = PredictionErrors.between(prediction, ground_truth, classes, frame)
    image, prediction, ground_truth = frame.crop(image), frame.crop(prediction), frame.crop(ground_truth)
    row = next(row for row in summary.runs if row.run == run)
    is_cut_out = _has_main_object(ground_truth, classes)
    masks = (
        _render_cutouts(image, prediction, ground_truth if wrong.is_scored else None, classes, frame)
        if is_cut_out
        else _render_masks(prediction, ground_truth if wrong.is_scored else None, classes, frame)
    )
    verdict, detail, is_failure = _describe_result(row, prediction, ground_truth, classes, is_cut_out=is_cut_out)
    edges = join_words([item.name for item in classes if item.is_boundary])
    if run != summary.best.run:
        detail += f" {run} has the lowest validation loss of the runs on this page."
    return Showcase(
        images=(
            image_html.render_image(image, f"The showcase, {ids[0]}", "Image", frame),
            *masks,
            *(
                [image_html.render_errors(wrong, f"Errors: {wrong.describe()}", "Errors", frame)]
                if wrong.is_scored
                else []
            ),
        ),
        classes=() if is_cut_out else _build_legend((prediction, ground_truth), classes),
        errors=wrong.keys if wrong.is_scored else (),
        verdict=verdict,
        detail=f"{detail} Half transparent in both cut-outs: {edges}." if edges and is_cut_out else detail,
        is_failure=is_failure,
    )


def _has_main_object(ground_truth: Mask, classes: tuple[SegmentationClass, ...]) -> bool:
    """Return whether an image shows one compact object of the only foreground class, which can be cut out."""
    if sum(item.foreground for item in classes) != 1:
        return False
    foreground = is_foreground(ground_truth, classes)
    regions, count = ndimage.label(foreground)
    if not count:
        return False
    sizes = np.bincount(regions.ravel())[1:]
    rows, columns = ndimage.find_objects(regions)[int(sizes.argmax())]
    box = (rows.stop - rows.start) * (columns.stop - columns.start)
    return bool(sizes.max() >= MIN_MAIN_OBJECT * sizes.sum() and sizes.max() >= MIN_COMPACTNESS * box)


def _render_cutouts(
    image: ImageArray,
    prediction: Mask,
    ground_truth: Mask | None,
    classes: tuple[SegmentationClass, ...],
    frame: Frame | None = None,
) -> list[EmbeddedImage]:
    shown = [(prediction, "Predicted foreground", "Cut-out")]
    if ground_truth is not None:
        shown.append((ground_truth, "Foreground of the ground truth", "Ground truth"))
    return [
        image_html.render_cutout(
            image, image_html.compute_opacity(mask, classes), f"{alt}, over a checkerboard", caption, frame
        )
        for mask, alt, caption in shown
    ]


def _render_masks(
    prediction: Mask, ground_truth: Mask | None, classes: tuple[SegmentationClass, ...], frame: Frame | None = None
) -> list[EmbeddedImage]:
    shown = [image_html.render_mask(prediction, classes, "Prediction", "Prediction", frame)]
    if ground_truth is not None:
        shown.append(image_html.render_mask(ground_truth, classes, "Ground truth", "Ground truth", frame))
    return shown


def _build_legend(masks: tuple[Mask, ...], classes: tuple[SegmentationClass, ...]) -> tuple[LegendEntry, ...]:
    """Make the legend of the classes that occur in these masks."""
    present = set(np.unique(np.stack(masks)).tolist())
    return tuple(image_html.create_legend_entry(item) for index, item in enumerate(classes) if index in present)


def build_user_images(params: Params, context: ReportContext, selection: RunSelection) -> tuple[UserImage, ...]:
    """Show the predictions of the grid's best run for the images of `report.showcase`.

    Raises:
        PipelineError: They are of another run or of other images, or a file is missing or broken.
    """
    best = context.summary.best
    if not params.report.showcase or best is None or selection.origin:  # they are predicted by the grid's best run only
        return ()
    found = context.project.showcase.list
    requested = [(one.file, one.title or Path(one.file).stem, one.mask) for one in params.report.showcase]
    if found.run != best.run or [(one.file, one.title, one.mask) for one in found.images] != requested:
        raise PipelineError(
            f"{SHOWCASE_PREDICTIONS} is not of {best.run} and the images of report.showcase. Run `pipeline showcase`."
        )
    return tuple(_build_user_image(context, place, one) for place, one in enumerate(found.images))


def _build_user_image(context: ReportContext, place: int, found: ShowcaseResult) -> UserImage:
    image, prediction, ground_truth = context.project.showcase.read_image(place)
    classes = context.dataset.classes
    if sum(item.foreground for item in classes) == 1:
        masks = _render_cutouts(image, prediction, ground_truth, classes)
    else:
        masks = _render_masks(prediction, ground_truth, classes)
    shown = [image_html.render_image(image, found.title, "Image"), *masks]
    if ground_truth is not None:
        wrong = PredictionErrors.between(prediction, ground_truth, classes)
        shown.append(image_html.render_errors(wrong, f"Errors: {wrong.describe()}", "Errors"))
    return UserImage(found.title, _describe_user_score(found, ground_truth, classes), tuple(shown))


def _describe_user_score(
    found: ShowcaseResult, ground_truth: Mask | None, classes: tuple[SegmentationClass, ...]
) -> str:
    if ground_truth is None:
        return ""
    primary = PrimaryScore.of([item.name for item in classes if item.foreground])
    if primary.is_mean:
        return f"Mean IoU {format_number(found.mean_iou)} over the classes of its ground truth."
    if found.iou is None:
        return f"It has no foreground, and none was predicted: {primary.name} is undefined."
    score = f"{primary.name} {format_number(found.iou)}"
    return f"{score}." if is_foreground(ground_truth, classes).any() else f"{score}: it has no foreground."


def _read_prediction(context: ReportContext, run: str, sample: str) -> Mask:
    """Read the stored prediction, or else that of the best epoch in training."""
    try:
        return context.project.evaluation(run).read_example(sample)
    except PipelineError:
        epoch = context.project.run(run).record.best_epoch
        masks = context.project.run(run).read_showcase_masks()[:, 0]
        if epoch is None or not 1 <= epoch <= len(masks):
            raise
        return np.asarray(masks[epoch - 1], dtype=np.uint8)


def _describe_result(
    row: RunSummary,
    prediction: Mask,
    ground_truth: Mask,
    classes: tuple[SegmentationClass, ...],
    *,
    is_cut_out: bool,
) -> tuple[str, str, bool]:
    """Describe how well a run segments the showcase.

    Returns:
        A few words, one or two sentences, and whether it is a failure.
    """
    where = f"{row.run} was neither trained nor selected on this image."
    evaluated = ground_truth != IGNORE
    if not evaluated.any():
        return "Not scored", f"This image has no evaluated pixels, so its scores are undefined. {where}", False
    primary = PrimaryScore.of([item.name for item in classes if item.foreground])
    if not primary.is_mean and not is_foreground(ground_truth[evaluated], classes).any():
        share = float(is_foreground(prediction[evaluated], classes).mean())
        if share == 0:
            detail = f"This image has no foreground, so {primary.name} is undefined. {where}"
            return "No foreground, none predicted", detail, False
        detail = f"This image has no foreground, and {format_percent(share)} of its pixels were predicted as such"
        return "False positive", f"{detail}: {primary.name} 0. {where}", True
    iou = primary.of_showcase(row)
    if iou is None:
        return "Not measured", f"The comparison has no {primary.name} of the showcase for {row.run}.", True
    if primary.is_mean:
        return (
            f"Mean IoU {format_number(iou)}",
            f"{_describe_classes(prediction, ground_truth, classes)} {where}",
            False,
        )
    if not is_cut_out:
        return f"{primary.name} {format_number(iou)}", where, False
    if iou < SHOWCASE_MIN_IOU:
        needed = format_number(SHOWCASE_MIN_IOU, 2)
        detail = f"{primary.name} {format_number(iou)}, below {needed}, the minimum for a clean cut-out. {where}"
        return "Cut-out failed", detail, True
    return "Clean cut-out", f"{primary.name} {format_number(iou)}. {where}", False


def _describe_classes(prediction: Mask, ground_truth: Mask, classes: tuple[SegmentationClass, ...]) -> str:
    """Describe how many classes an image has, and which of them are never predicted correctly."""
    present = [index for index in range(len(classes)) if (ground_truth == index).any()]
    absent = [classes[index].name for index in present if not (prediction[ground_truth == index] == index).any()]
    count = f"This image has {pluralize(len(present), 'class', 'classes')}."
    if not absent:
        return count
    more = [f"{len(absent) - MAX_NAMED_CLASSES} more"] if len(absent) > MAX_NAMED_CLASSES else []
    return f"{count} Not predicted: {join_words([*absent[:MAX_NAMED_CLASSES], *more])}."
