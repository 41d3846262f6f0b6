"""Images with their ground truth and the predictions of runs, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.imaging import IGNORE
from pipeline.number_format import format_number
from pipeline.report.context import ReportContext
from pipeline.report.figures import image_html
from pipeline.report.figures.crops import find_crop
from pipeline.report.figures.error_kinds import PredictionErrors, is_foreground
from pipeline.report.images import EmbeddedImage, Frame, ImageArray, LegendEntry, Mask
from pipeline.report.notices import Notice, collect_problem

MAX_LARGE_RUNS = 4  # for more runs, images are smaller
SMALL_SIZE = 288  # px, longer side of these smaller images


@dataclass(frozen=True)
class PredictionImage:
    """A run's prediction for a sample, and its errors."""

    prediction: EmbeddedImage
    errors: EmbeddedImage
    error_keys: tuple[LegendEntry, ...]
    score: str


@dataclass(frozen=True)
class Sample:
    """A sample with one prediction per run; None for a run without a prediction for it."""

    id: str
    image: EmbeddedImage
    ground_truth: EmbeddedImage
    predictions: tuple[PredictionImage | None, ...]
    has_ignored: bool  # whether the ground truth has ignored pixels
    note: str = ""  # why it is shown


def build_class_legend(samples: Sequence[Sample], classes: tuple[SegmentationClass, ...]) -> tuple[LegendEntry, ...]:
    """Build the legend of the masks, with an entry for ignored pixels if a mask has any."""
    ignored = [LegendEntry("none", "ignored pixels (left blank)")] if any(one.has_ignored for one in samples) else []
    return (*(LegendEntry(item.color, item.name) for item in classes), *ignored)


def build_error_legend(samples: Sequence[Sample]) -> tuple[LegendEntry, ...]:
    """Build the legend of the error images: the kinds of error that can occur, and ignored pixels if there are any."""
    return tuple(dict.fromkeys(key for one in samples for shot in one.predictions if shot for key in shot.error_keys))


def build_samples(
    context: ReportContext, kept: dict[str, frozenset[str]], wanted: Sequence[str], problems: list[Notice]
) -> tuple[Sample, ...]:
    """Build validation images with the predictions of runs.

    Args:
        context: The artifacts of the report.
        kept: Ids of the samples whose predictions are stored, by run.
        wanted: Ids of the samples to show, in this order.
        problems: List to which a notice is added for each missing file.
    """
    field = context.primary_score.field
    scores: dict[str, dict[str, float]] = {run: {} for run in kept}
    for run in kept:
        with collect_problem(problems, f"{run}: no IoU below its predictions"):
            scores[run] = context.read_image_scores(run, field)
    found = []
    for sample in wanted:
        image, ground_truth, frame = context.read_sample_by_id(sample)
        if len(kept) > MAX_LARGE_RUNS:
            frame = replace(frame, max_size=SMALL_SIZE)
        predictions: list[PredictionImage | None] = []
        for run, samples in kept.items():
            predictions.append(None)
            if sample in samples:
                with collect_problem(problems, f"{run}: no prediction for {sample}"):
                    score = _format_score(context, scores[run].get(sample), ground_truth)
                    prediction = context.project.evaluation(run).read_example(sample)
                    predictions[-1] = _render_prediction(
                        prediction, ground_truth, context.dataset.classes, frame, f"{sample} by {run}", score
                    )
        found.append(_render_sample(sample, image, ground_truth, context.dataset.classes, frame, predictions))
    return tuple(found)


def build_validated_samples(
    context: ReportContext, predicted_by: Mapping[str, str], problems: list[Notice]
) -> tuple[Sample, ...]:
    """Build validation images, each with the prediction of one run.

    Args:
        context: The artifacts of the report.
        predicted_by: Run by sample id, in the order of the images. The predictions must be stored.
        problems: See `build_samples`.
    """
    found: dict[str, Sample] = {}
    for run in dict.fromkeys(predicted_by.values()):
        wanted = [sample for sample, other in predicted_by.items() if other == run]
        found |= {one.id: one for one in build_samples(context, {run: frozenset(wanted)}, wanted, problems)}
    return tuple(found[sample] for sample in predicted_by)


def build_sample(context: ReportContext, sample: str, prediction: Mask, note: str, caption: str) -> Sample:
    """Build an image of any split with one prediction.

    Args:
        context: The artifacts of the report.
        sample: The id of the image.
        prediction: Predicted class indices, H x W.
        note: Text below the image, after its id.
        caption: Text below the prediction.
    """
    image, ground_truth, frame = context.read_sample_by_id(sample)
    classes = context.dataset.classes
    rendered = _render_prediction(prediction, ground_truth, classes, frame, sample, caption)
    return replace(_render_sample(sample, image, ground_truth, classes, frame, [rendered]), note=note)


def name_predictor(context: ReportContext, run: str) -> str:
    """Name the run that predicted validation images; with cross-validation, it differs between the images."""
    return run if context.dataset.folds is None else "the run that validated the image"


def build_crop(context: ReportContext, run: str, sample: str) -> Sample | None:
    """Build a sample that shows the part of a large validation image where a run has the most errors.

    Returns:
        The sample; None if the image is small enough to be shown as a whole at full scale.

    Raises:
        PipelineError: The run has no prediction for the image.
    """
    image, ground_truth, frame = context.read_sample_by_id(sample)
    prediction = frame.crop(context.project.evaluation(run).read_example(sample))
    image, ground_truth, classes = frame.crop(image), frame.crop(ground_truth), context.dataset.classes
    window = find_crop(prediction, ground_truth)
    if window is None:
        return None
    image, prediction, ground_truth = image[window], prediction[window], ground_truth[window]
    height, width = ground_truth.shape
    frame, name = Frame(height, width, "stretch"), f"a part of {sample}"
    evaluated = ground_truth != IGNORE
    wrong = float((prediction != ground_truth)[evaluated].mean()) if evaluated.any() else 0.0
    most = "wrong pixels" if wrong else "edges"
    rendered = _render_prediction(
        prediction, ground_truth, classes, frame, f"{name} by {run}", f"{wrong:.1%} of the pixels wrong"
    )
    return replace(
        _render_sample(name, image, ground_truth, classes, frame, [rendered]),
        id=sample,
        note=f"the part with the most {most}, {width} × {height} pixels at full scale",
    )


def _render_sample(
    name: str,
    image: ImageArray,
    ground_truth: Mask,
    classes: tuple[SegmentationClass, ...],
    frame: Frame,
    predictions: Sequence[PredictionImage | None],
) -> Sample:
    shown = frame.crop(ground_truth)
    return Sample(
        id=name,
        image=image_html.render_image(frame.crop(image), f"Image {name}", frame=frame),
        ground_truth=image_html.render_mask(shown, classes, f"Ground truth of {name}", frame=frame),
        predictions=tuple(predictions),
        has_ignored=bool((shown == IGNORE).any()),
    )


def _render_prediction(
    prediction: Mask,
    ground_truth: Mask,
    classes: tuple[SegmentationClass, ...],
    frame: Frame,
    name: str,
    score: str,
) -> PredictionImage:
    wrong = PredictionErrors.between(prediction, ground_truth, classes, frame)
    return PredictionImage(
        prediction=image_html.render_mask(frame.crop(prediction), classes, f"Prediction for {name}", frame=frame),
        errors=image_html.render_errors(wrong, f"Errors in {name}: {wrong.describe()}", frame=frame),
        error_keys=wrong.keys,
        score=score,
    )


def _format_score(context: ReportContext, iou: float | None, ground_truth: Mask) -> str:
    """Format the primary score of an image, or the reason why it is undefined."""
    evaluated = ground_truth != IGNORE
    if not evaluated.any():
        return "no evaluated pixels"
    if context.primary_score.is_mean:
        return f"mean IoU {format_number(iou, 2)}"
    if is_foreground(ground_truth[evaluated], context.dataset.classes).any():
        return f"IoU {format_number(iou, 2)}"
    if iou is None:
        return "no foreground, none predicted"
    return f"IoU {format_number(iou, 2)}: no foreground, some predicted"
