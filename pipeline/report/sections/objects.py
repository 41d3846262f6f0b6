"""Objects: how many are found, merged, split, missed and false, and the gap in their F1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.analysis.objects import ObjectMatches, match_objects, score_objects
from pipeline.artifacts.object_scores import ObjectEvaluation, ObjectScores
from pipeline.artifacts.prepared_data import Dataset, Split
from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.imaging.objects import ObjectLabels, label_objects, label_true_objects
from pipeline.number_format import format_number
from pipeline.report.figures import image_html, object_outlines
from pipeline.report.figures.crops import find_crop
from pipeline.report.images import EmbeddedImage, Frame, LegendEntry, Mask
from pipeline.report.notices import NothingToShowError, Notice, collect_problem
from pipeline.report.page_context import PageContext
from pipeline.wording import join_words, pluralize

MAX_NAMED_CLASSES = 8  # the others are counted
MAX_IMAGES = 2  # images with the lowest panoptic quality
HEADINGS = (
    "Objects", "Predicted", "F1", "AP at IoU 0.5", "Mean AP", "PQ", "Merges", "Splits", "Missed", "False",
    "F1 on training", "Gap in F1",
)  # fmt: skip


@dataclass(frozen=True)
class ObjectRow:
    """A run's scores on the validation images, formatted; one per heading in `HEADINGS`."""

    name: str
    figures: tuple[str, ...]
    is_leading: bool = False
    is_ceiling: bool = False  # whether these are the highest possible scores, not those of a run


@dataclass(frozen=True)
class OutlinedImage:
    """An image with the outlines of its objects."""

    id: str
    image: EmbeddedImage
    ground_truth: EmbeddedImage
    prediction: EmbeddedImage
    note: str


@dataclass(frozen=True)
class Objects:
    """Scores of objects by run, and the images in which the leading run's objects are worst."""

    sentence: str
    headings: tuple[str, ...]
    rows: tuple[ObjectRow, ...]
    source: str  # how the objects are found
    undefined: str  # sentence on images without objects; empty if there are none
    ceiling: str  # sentence on the highest possible scores; empty if they are not shown
    run: str
    worst: tuple[OutlinedImage, ...]
    legend: tuple[LegendEntry, ...]
    problems: tuple[Notice, ...]


def build_objects(context: PageContext) -> Objects | None:
    """Build the scores of the objects of the best run of each variant; None if the leading run has none.

    Raises:
        PipelineError: There are no objects, or a file is missing or broken.
    """
    run = context.leading_run
    try:
        found = context.project.evaluation(run).metrics.objects if run else None
    except PipelineError:
        return None  # other sections report the error
    if run is None or found is None:
        return None
    if not found.validation.objects + found.validation.predicted:
        raise NothingToShowError(
            f"Neither the ground truth nor the prediction of {run} has an object of the class "
            f"{join_words(found.classes)} in the validation images, so all scores of objects are undefined."
        )
    problems: list[Notice] = []
    rows = []
    for name in dict.fromkeys([run, *context.shown_best_runs]):
        with collect_problem(problems, f"{name}: no scores of objects"):
            evaluated = context.project.evaluation(name).metrics.objects
            if evaluated is not None:
                rows.append(_build_row(name, evaluated.validation, evaluated.train, is_leading=name == run))
    ceiling = ""
    if found.is_numbered:
        with collect_problem(problems, "The highest possible scores of objects are not shown"):
            highest = _score_class_masks(context.open_validation(run), context.dataset, found)
            rows.append(_build_row("Highest possible", highest, is_ceiling=True))
            ceiling = _describe_ceiling(highest, context.dataset.has_object_borders)
    worst: tuple[OutlinedImage, ...] = ()
    with collect_problem(problems, f"{run}: no outlines of its objects"):
        worst = _draw_worst(context, run, found)
    return Objects(
        sentence=_describe(context, run, found),
        headings=HEADINGS,
        rows=tuple(rows),
        source=_describe_source(found),
        undefined=_describe_undefined(found.validation),
        ceiling=ceiling,
        run=run,
        worst=worst,
        legend=object_outlines.LEGEND,
        problems=tuple(problems),
    )


def _build_row(
    name: str,
    validation: ObjectScores,
    train: ObjectScores | None = None,
    *,
    is_leading: bool = False,
    is_ceiling: bool = False,
) -> ObjectRow:
    gap = _compute_gap(train, validation)
    figures = (
        *(f"{count:,}" for count in (validation.objects, validation.predicted)),
        *map(
            format_number,
            (
                validation.f1, validation.average_precision, validation.mean_average_precision,
                validation.panoptic_quality,
            ),
        ),
        *(
            f"{count:,}"
            for count in (validation.merges, validation.splits, validation.missed, validation.false_objects)
        ),
        format_number(train.f1 if train else None),
        format_number(gap),
    )  # fmt: skip
    return ObjectRow(name, figures, is_leading, is_ceiling)


def _compute_gap(train: ObjectScores | None, validation: ObjectScores) -> float | None:
    return None if train is None or train.f1 is None or validation.f1 is None else train.f1 - validation.f1


def _describe(context: PageContext, run: str, found: ObjectEvaluation) -> str:
    scores, gap = found.validation, _compute_gap(found.train, found.validation)
    sentence = (
        f"In the validation images, {run} finds {scores.matched:,} of "
        f"{pluralize(scores.objects, 'object')} with an IoU of at least 0.5"
    )
    errors = [
        pluralize(count, *words)
        for count, words in (
            (scores.merges, ("merge", "merges")),
            (scores.splits, ("split", "splits")),
            (scores.missed, ("missed object", "missed objects")),
            (scores.false_objects, ("false object", "false objects")),
        )
        if count
    ]
    sentence += f"; its errors are {join_words(errors)}." if errors else ", without errors."
    if gap is not None:
        sentence += (
            f" F1 is {format_number(scores.f1)} on validation and {format_number(found.train.f1)} on training images: "
            f"a gap of {format_number(gap)}."
        )
    is_best = context.shown_best_setting is not None and not context.selection.origin
    if is_best and found.test.f1 is not None:
        sentence += f" On test images, F1 is {format_number(found.test.f1)}."
    return sentence


def _describe_source(found: ObjectEvaluation) -> str:
    classes = join_words(found.classes, MAX_NAMED_CLASSES)
    of_class = f"one of the classes {classes}" if len(found.classes) > 1 else f"the class {classes}"
    sentence = f"A predicted object is a connected region of {of_class} with its boundary pixels. "
    if found.is_numbered:
        sentence += "Objects of the ground truth are those of the masks or annotations, even if they touch."
    else:
        sentence += "Objects of the ground truth are found in the same way, so objects that touch there count as one."
    if found.min_area > 1:
        sentence += f" Predicted objects smaller than {found.min_area} px are left out."
    return sentence


def _describe_undefined(scores: ObjectScores) -> str:
    if not scores.images_without_objects:
        return ""
    return (
        f"Validation images without true and predicted objects: {scores.images_without_objects} of {scores.images}. "
        "Their scores are undefined."
    )


def _describe_ceiling(highest: ObjectScores, has_borders: bool) -> str:
    lost = highest.objects - highest.matched
    sentence = "The highest possible scores are those of a prediction in which the class of every pixel is right."
    if not lost:
        return f"{sentence} It finds all objects."
    sentence += f" Even this prediction misses {lost:,} of {highest.objects:,} objects, mostly because"
    if not has_borders:
        return f"{sentence} objects touch others of their class, or consist of several parts."
    return (
        f"{sentence} objects consist of border only and are lost or merge with a neighbor. A larger `data.image_size` "
        "or a smaller `data.instances.border` keeps more."
    )


def _find_labels(
    samples: Split, dataset: Dataset, found: ObjectEvaluation, row: int, mask: Mask
) -> tuple[ObjectLabels, ObjectLabels]:
    """Label the objects of an image's ground truth, and those of a class mask of the image."""
    foreground = [index for index, item in enumerate(dataset.classes) if item.name in found.classes]
    boundary = [index for index, item in enumerate(dataset.classes) if item.is_boundary]
    truth = np.array(samples.masks[row])
    instances = samples.instances[row] if samples.instances is not None and found.is_numbered else None
    return (
        label_true_objects(truth, instances, foreground, boundary).keep(truth != IGNORE),
        label_objects(mask, foreground, boundary, found.min_area).keep(truth != IGNORE),
    )


def _match(truth: ObjectLabels, prediction: ObjectLabels) -> ObjectMatches:
    return match_objects(truth.labels, prediction.labels, truth.classes, prediction.classes)


def _score_class_masks(samples: Split, dataset: Dataset, found: ObjectEvaluation) -> ObjectScores:
    """Score the objects of the ground truth's class masks as if a run had predicted them."""
    labels = (_find_labels(samples, dataset, found, row, mask) for row, mask in enumerate(samples.masks))
    return score_objects([_match(*pair) for pair in labels])


def _draw_worst(context: PageContext, run: str, found: ObjectEvaluation) -> tuple[OutlinedImage, ...]:
    """Draw the validation images with the lowest panoptic quality of a run."""
    evaluation = context.project.evaluation(run)
    table, kept = evaluation.read_objects(), evaluation.list_examples()
    table = table[(table["split"] == "validation") & table["id"].isin(kept)].dropna(subset=["panoptic_quality"])
    ids = table.sort_values("panoptic_quality", kind="stable")["id"].head(MAX_IMAGES)
    return tuple(_draw_image(context, run, found, str(sample)) for sample in ids)


def _draw_image(context: PageContext, run: str, found: ObjectEvaluation, sample: str) -> OutlinedImage:
    samples, mask = context.open_validation(run), context.project.evaluation(run).read_example(sample)
    image, truth_mask, frame = context.read_sample_by_id(sample)
    true, predicted = _find_labels(samples, context.dataset, found, samples.ids.index(sample), mask)
    matches = _match(true, predicted)
    scores = score_objects([matches])
    note = (
        f"PQ {format_number(scores.panoptic_quality, 2)}, {pluralize(scores.objects, 'object')}, "
        f"{scores.matched:,} matched, {pluralize(scores.merges, 'merge')}, "
        f"{pluralize(scores.splits, 'split')}, {scores.missed:,} missed, "
        f"{scores.false_objects:,} false"
    )
    parts = [frame.crop(values) for values in (true.labels, predicted.labels)]
    image = frame.crop(image)
    window = find_crop(frame.crop(mask), frame.crop(truth_mask))
    if window is not None:
        image, parts = image[window], [part[window] for part in parts]
        height, width = image.shape[:2]
        frame = Frame(height, width, "stretch")
        note += f"; the part with the most wrong pixels, {width} × {height} pixels"
    return OutlinedImage(
        id=sample,
        image=image_html.render_image(image, f"Image {sample}", frame=frame),
        ground_truth=object_outlines.draw_true_outlines(
            image, parts[0], matches, f"Objects in the ground truth of {sample}", frame
        ),
        prediction=object_outlines.draw_predicted_outlines(
            image, parts[0], parts[1], matches, f"Objects in {sample} predicted by {run}, and missed objects", frame
        ),
        note=note,
    )
