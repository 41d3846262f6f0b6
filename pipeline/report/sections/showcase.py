"""The images at the top of the report: the showcase of the data, which is in no split, and the user's own images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from pipeline.artifacts.prepared_data import SHOWCASE, PreparedData, SegmentationClass
from pipeline.artifacts.project import SHOWCASE_PREDICTIONS
from pipeline.artifacts.showcase_predictions import ShowcaseResult
from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.number_format import format_number
from pipeline.params import Params
from pipeline.report.figures import image_html
from pipeline.report.figures.crops import find_crop
from pipeline.report.figures.error_kinds import PredictionErrors, is_foreground
from pipeline.report.images import EmbeddedImage, Frame, ImageArray, LegendEntry, Mask
from pipeline.report.notices import NothingToShowError
from pipeline.report.page_context import PageContext
from pipeline.wording import join_words, pluralize


@dataclass(frozen=True)
class Showcase:
    """Prediction of the leading run for the showcase image of the data."""

    images: tuple[EmbeddedImage, ...]
    crop: tuple[EmbeddedImage, ...]  # the same for a part of a large image, at full scale; empty for a small image
    crop_size: str  # width × height of that part in px
    classes: tuple[LegendEntry, ...]  # legend of the masks; empty if only cut-outs are shown
    errors: tuple[LegendEntry, ...]
    verdict: str
    detail: str
    is_failure: bool


UserImage = tuple[str, str, tuple[EmbeddedImage, ...]]
"""Title, score (empty without ground truth) and images of an entry of `report.showcase`."""


SHOWCASE_MIN_IOU = 0.90  # foreground IoU; cut-outs with a lower IoU have visible holes and fringes
MIN_MAIN_OBJECT = 0.8  # share of the foreground in its largest region; lower if an image has several objects
MIN_COMPACTNESS = 0.3  # share of the bounding box that the object fills; membranes, vessels and roads fill less
MAX_NAMED_CLASSES = 12  # names of classes that are not predicted; others are counted


def build_showcase(context: PageContext) -> Showcase:
    """Build the showcase with the prediction of the leading run.

    Raises:
        PipelineError: No run is ranked, or a file is missing or broken.
    """
    summary = context.summary
    run = context.leading_run
    if summary.best is None or run is None:
        raise NothingToShowError("There is no best run. A setting is ranked when all its seeds have finished.")
    ids = context.sample_ids.get(SHOWCASE, ())
    if not ids:
        raise context.project.prepared.unreadable(PreparedData.SAMPLES, "it lists no showcase")
    classes = context.dataset.classes
    image, ground_truth, frame = context.read_sample(SHOWCASE, 0)
    prediction = _read_prediction(context, run, ids[0])
    errors = PredictionErrors.between(prediction, ground_truth, classes, frame)
    image, prediction, ground_truth = frame.crop(image), frame.crop(prediction), frame.crop(ground_truth)
    crop: tuple[EmbeddedImage, ...] = ()
    window = find_crop(prediction, ground_truth)
    if window is not None and errors.is_scored:
        parts = prediction[window], ground_truth[window]
        crop = _render_row(
            image[window],
            f"A part of the showcase, {ids[0]}",
            list(parts),
            PredictionErrors.between(*parts, classes),
            classes,
            is_cut_out=False,
        )
    is_cut_out = _has_main_object(ground_truth, classes)
    verdict, detail, is_failure = _describe_result(context, run, prediction, ground_truth, is_cut_out=is_cut_out)
    if context.shown_best_setting is None:
        detail += f" {run} has {context.ordering_metric.best_value} of the runs on this page."
    if is_cut_out and (edges := join_words([item.name for item in classes if item.is_boundary])):
        detail += f" Half transparent in both cut-outs: {edges}."
    present = np.unique([prediction, ground_truth])
    legend = [LegendEntry(item.color, item.name) for index, item in enumerate(classes) if index in present]
    masks = [prediction, ground_truth] if errors.is_scored else [prediction]
    shown_errors = errors if errors.is_scored else None
    return Showcase(
        images=_render_row(
            image, f"The showcase, {ids[0]}", masks, shown_errors, classes, frame, is_cut_out=is_cut_out
        ),
        crop=crop,
        crop_size=f"{crop[0].width} × {crop[0].height}" if crop else "",
        classes=() if is_cut_out and not crop else tuple(legend),
        errors=errors.keys if errors.is_scored else (),
        verdict=verdict,
        detail=detail,
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


def _render_row(
    image: ImageArray,
    alt: str,
    masks: list[Mask],
    errors: PredictionErrors | None,
    classes: tuple[SegmentationClass, ...],
    frame: Frame | None = None,
    *,
    is_cut_out: bool,
) -> tuple[EmbeddedImage, ...]:
    """Render an image and its prediction, and the ground truth and the errors if they are given."""
    images = [image_html.render_image(image, alt, "Image", frame)]
    if is_cut_out:
        names = (("Predicted foreground", "Cut-out"), ("Foreground of the ground truth", "Ground truth"))
        for mask, (content, caption) in zip(masks, names, strict=False):
            opacity, alt = image_html.compute_opacity(mask, classes), f"{content}, over a checkerboard"
            images.append(image_html.render_cutout(image, opacity, alt, caption, frame))
    else:
        for mask, name in zip(masks, ("Prediction", "Ground truth"), strict=False):
            images.append(image_html.render_mask(mask, classes, name, name, frame))
    if errors is not None:
        images.append(image_html.render_errors(errors, f"Errors: {errors.describe()}", "Errors", frame))
    return tuple(images)


def build_user_images(params: Params, context: PageContext) -> tuple[UserImage, ...]:
    """Build the images of `report.showcase` with the predictions of the grid's best run.

    Raises:
        PipelineError: The predictions are from another run or for other images, or a file is missing or broken.
    """
    best = context.summary.best
    if not params.report.showcase or best is None or context.selection.origin:  # only the grid's best run predicts them
        return ()
    found = context.project.showcase.list
    requested = [(one.file, one.title or Path(one.file).stem, one.mask) for one in params.report.showcase]
    if found.run != best.run or [(one.file, one.title, one.mask) for one in found.images] != requested:
        raise PipelineError(
            f"{SHOWCASE_PREDICTIONS} is out of date: it does not match the best run, {best.run}, and the images of "
            "report.showcase. Run `pipeline showcase`."
        )
    return tuple(_build_user_image(context, place, one) for place, one in enumerate(found.images))


def _build_user_image(context: PageContext, place: int, found: ShowcaseResult) -> UserImage:
    image, prediction, ground_truth = context.project.showcase.read_image(place)
    classes = context.dataset.classes
    masks, errors, score = [prediction], None, ""
    if ground_truth is not None:
        masks.append(ground_truth)
        errors = PredictionErrors.between(prediction, ground_truth, classes)
        score = _describe_user_score(context, found, bool(is_foreground(ground_truth, classes).any()))
    is_cut_out = sum(item.foreground for item in classes) == 1
    return found.title, score, _render_row(image, found.title, masks, errors, classes, is_cut_out=is_cut_out)


def _describe_user_score(context: PageContext, found: ShowcaseResult, has_foreground: bool) -> str:
    primary = context.primary_score
    if primary.is_mean:
        return f"Mean IoU {format_number(found.mean_iou)} over the classes of its ground truth."
    if found.iou is None:
        return f"The image has no foreground, and none was predicted: {primary.name} is undefined."
    return f"{primary.name} {format_number(found.iou)}{'' if has_foreground else ': the image has no foreground'}."


def _read_prediction(context: PageContext, run: str, sample: str) -> Mask:
    """Read a run's prediction for the showcase from its evaluation or, if it is missing there, from its run folder."""
    try:
        return context.project.evaluation(run).read_example(sample)
    except PipelineError:
        epoch = context.project.run(run).record.best_epoch
        masks = context.project.run(run).read_showcase_masks()
        if epoch is None or not 1 <= epoch <= len(masks):
            raise
        return np.asarray(masks[epoch - 1], dtype=np.uint8)


def _describe_result(
    context: PageContext, run: str, prediction: Mask, ground_truth: Mask, *, is_cut_out: bool
) -> tuple[str, str, bool]:
    """Describe how well a run segments the showcase.

    Returns:
        The result in a few words, one or two sentences of detail, and whether the result is a failure.
    """
    classes, primary = context.dataset.classes, context.primary_score
    where = f"{run} was neither trained nor selected on this image."
    evaluated = ground_truth != IGNORE
    if not evaluated.any():
        return "Not scored", f"This image has no evaluated pixels, so its scores are undefined. {where}", False
    if not primary.is_mean and not is_foreground(ground_truth[evaluated], classes).any():
        share = float(is_foreground(prediction[evaluated], classes).mean())
        if share == 0:
            detail = f"This image has no foreground, so {primary.name} is undefined. {where}"
            return "No foreground, none predicted", detail, False
        detail = f"This image has no foreground, but {share:.1%} of its pixels were predicted as foreground"
        return "False positive", f"{detail}: {primary.name} 0. {where}", True
    iou = primary.of_showcase(context.summary.get_run(run))
    if iou is None:
        return "Not measured", f"The comparison has no showcase {primary.name} for {run}.", True
    if primary.is_mean:
        return (
            f"Mean IoU {format_number(iou)}",
            f"{_describe_classes(prediction, ground_truth, classes)} {where}",
            False,
        )
    score = f"{primary.name} {format_number(iou)}"
    if not is_cut_out:
        return score, where, False
    if iou < SHOWCASE_MIN_IOU:
        needed = format_number(SHOWCASE_MIN_IOU, 2)
        return "Cut-out failed", f"{score}, below {needed}, the minimum for a clean cut-out. {where}", True
    return "Clean cut-out", f"{score}. {where}", False


def _describe_classes(prediction: Mask, ground_truth: Mask, classes: tuple[SegmentationClass, ...]) -> str:
    """Describe how many classes an image has, and which of them are never predicted correctly."""
    present = [index for index in range(len(classes)) if (ground_truth == index).any()]
    absent = [classes[index].name for index in present if not (prediction[ground_truth == index] == index).any()]
    count = f"This image has {pluralize(len(present), 'class', 'classes')}."
    if not absent:
        return count
    return f"{count} Not predicted: {join_words(absent, MAX_NAMED_CLASSES)}."
