"""The showcase: the image outside all splits that the report shows first, and photographs of the user's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from pipeline import runs
from pipeline.comparison import RunRow
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.report import view, wording
from pipeline.report.figures import pictures
from pipeline.report.figures.error_kinds import Errors, is_foreground
from pipeline.report.figures.frames import Frame
from pipeline.report.material import Mask, Material, Photo
from pipeline.report.primary_score import PrimaryScore
from pipeline.report.selection import Chosen, leading
from pipeline.runs import Cutout, SegmentationClass


@dataclass(frozen=True)
class Showcase:
    """The image outside all splits that the report shows first."""

    pictures: tuple[view.Picture, ...]
    classes: tuple[view.Key, ...]  # legend of the masks; empty where cut-outs are shown instead
    errors: tuple[view.Key, ...]
    verdict: str
    detail: str
    failed: bool


@dataclass(frozen=True)
class PhotographShown:
    """A photograph from outside the data, cut out."""

    title: str
    score: str  # empty where no mask is known
    pictures: tuple[view.Picture, ...]


CUT_OUT_WELL = 0.80  # foreground IoU of the showcase; below, holes and fringes are plain to see
MIN_MAIN_OBJECT = 0.8  # share of the foreground in its largest region, for the image to show one object to cut out
MIN_COMPACTNESS = 0.3  # share of its bounding box that this object fills: membranes, vessels and roads fill less
MAX_NAMED_CLASSES = 12  # that are not found in the showcase; more are counted


def showcase(material: Material, chosen: Chosen) -> Showcase:
    """Show what the leading run of the page makes of the showcase.

    Raises:
        PipelineError: No run is ranked, or a file is missing or broken.
    """
    summary = material.summary
    run = leading(summary, chosen)
    if summary.best is None or run is None:
        raise view.NothingToShowError(
            "No run is the best, so none is shown. A rate is ranked once all its seeds have finished."
        )
    ids = material.samples.get(runs.SHOWCASE, ())
    if not ids:
        raise PipelineError(f"{runs.PREPARED / runs.SAMPLES} names no showcase. `pipeline prepare` makes one.")
    classes = material.data.classes
    image, truth = material.image(runs.SHOWCASE, 0), material.truth(runs.SHOWCASE, 0)
    prediction = _prediction(material, run, ids[0])
    frame = material.frame(runs.SHOWCASE, 0)
    wrong = Errors.between(prediction, truth, classes, frame)
    image, prediction, truth = frame.crop(image), frame.crop(prediction), frame.crop(truth)
    row = next(row for row in summary.runs if row.run == run)
    is_cut_out = _has_main_object(truth, classes)
    masks = (
        _cut_outs(image, prediction, truth if wrong.is_scored else None, classes, frame)
        if is_cut_out
        else _masks(prediction, truth if wrong.is_scored else None, classes, frame)
    )
    verdict, detail, failed = _verdict(row, prediction, truth, classes, is_cut_out=is_cut_out)
    edges = wording.listing([item.name for item in classes if item.edge])
    if run != summary.best.run:
        detail += f" {run} has the lowest validation loss of the runs on this page."
    return Showcase(
        pictures=(
            pictures.photograph(image, f"The showcase, {ids[0]}", "Image", frame),
            *masks,
            *([pictures.errors(wrong, f"Errors: {wrong.describe()}", "Errors", frame)] if wrong.is_scored else []),
        ),
        classes=() if is_cut_out else _legend((prediction, truth), classes),
        errors=wrong.keys if wrong.is_scored else (),
        verdict=verdict,
        detail=f"{detail} Half transparent in both cut-outs: {edges}." if edges and is_cut_out else detail,
        failed=failed,
    )


def _has_main_object(truth: Mask, classes: tuple[SegmentationClass, ...]) -> bool:
    """Return whether an image shows one compact object of the only foreground class, which can be cut out."""
    if sum(item.foreground for item in classes) != 1:
        return False
    foreground = is_foreground(truth, classes)
    regions, count = ndimage.label(foreground)
    if not count:
        return False
    sizes = np.bincount(regions.ravel())[1:]
    rows, columns = ndimage.find_objects(regions)[int(sizes.argmax())]
    box = (rows.stop - rows.start) * (columns.stop - columns.start)
    return bool(sizes.max() >= MIN_MAIN_OBJECT * sizes.sum() and sizes.max() >= MIN_COMPACTNESS * box)


def _cut_outs(
    image: Photo,
    prediction: Mask,
    truth: Mask | None,
    classes: tuple[SegmentationClass, ...],
    frame: Frame | None = None,
) -> list[view.Picture]:
    shown = [(prediction, "The pixels predicted as foreground", "Cut-out")]
    if truth is not None:
        shown.append((truth, "The true foreground", "Ground truth"))
    return [
        pictures.cut_out(image, pictures.opacity(mask, classes), f"{alt}, over a checkerboard", caption, frame)
        for mask, alt, caption in shown
    ]


def _masks(
    prediction: Mask, truth: Mask | None, classes: tuple[SegmentationClass, ...], frame: Frame | None = None
) -> list[view.Picture]:
    shown = [pictures.mask(prediction, classes, "The predicted mask", "Prediction", frame)]
    if truth is not None:
        shown.append(pictures.mask(truth, classes, "The true mask", "Ground truth", frame))
    return shown


def _legend(masks: tuple[Mask, ...], classes: tuple[SegmentationClass, ...]) -> tuple[view.Key, ...]:
    """Make the legend of the classes that occur in these masks."""
    there = set(np.unique(np.stack(masks)).tolist())
    return tuple(pictures.key(item) for index, item in enumerate(classes) if index in there)


def photographs(params: Params, material: Material, chosen: Chosen) -> tuple[PhotographShown, ...]:
    """Show what the grid's best run makes of the photographs of `report.showcase`.

    Raises:
        PipelineError: They are not of that run or of what `report.showcase` names, or a file is missing or broken.
    """
    best = material.summary.best
    if not params.report.showcase or best is None or chosen.origin:  # those are cut out by the grid's best alone
        return ()
    found = material.cutouts
    asked = [(one.file, one.title or Path(one.file).stem, one.mask) for one in params.report.showcase]
    if found.run != best.run or [(one.file, one.title, one.mask) for one in found.photographs] != asked:
        raise PipelineError(
            f"{runs.CUTOUTS} is not of {best.run} and what report.showcase names. `pipeline showcase` renews it."
        )
    return tuple(_photograph(material, place, one) for place, one in enumerate(found.photographs))


def _photograph(material: Material, place: int, found: Cutout) -> PhotographShown:
    image, prediction, truth = material.cutout(place)
    classes = material.data.classes
    if sum(item.foreground for item in classes) == 1:
        masks = _cut_outs(image, prediction, truth, classes)
    else:
        masks = _masks(prediction, truth, classes)
    shown = [pictures.photograph(image, found.title, "Photograph"), *masks]
    if truth is not None:
        wrong = Errors.between(prediction, truth, classes)
        shown.append(pictures.errors(wrong, f"Errors: {wrong.describe()}", "Errors"))
    return PhotographShown(found.title, _photograph_score(found, truth, classes), tuple(shown))


def _photograph_score(found: Cutout, truth: Mask | None, classes: tuple[SegmentationClass, ...]) -> str:
    if truth is None:
        return ""
    primary = PrimaryScore.of([item.name for item in classes if item.foreground])
    if primary.is_mean:
        return f"Mean IoU {wording.number(found.mean_iou)} over the classes of its mask."
    if found.iou is None:
        return f"It has no foreground, and none was predicted: {primary.name} is not defined."
    score = f"{primary.name} {wording.number(found.iou)}"
    return f"{score}." if is_foreground(truth, classes).any() else f"{score}: it has no foreground."


def _prediction(material: Material, run: str, sample: str) -> Mask:
    """The mask that was scored where evaluation kept it, else the same epoch's from training."""
    try:
        return material.example(run, sample)
    except PipelineError:
        epoch = material.record(run).best_epoch
        masks = material.showcase_masks(run)
        if epoch is None or not 1 <= epoch <= len(masks):
            raise
        mask: Mask = masks[epoch - 1]
        return mask


def _verdict(
    row: RunRow,
    prediction: Mask,
    truth: Mask,
    classes: tuple[SegmentationClass, ...],
    *,
    is_cut_out: bool,
) -> tuple[str, str, bool]:
    """Say how well a run segments the showcase.

    Returns:
        A few words, a sentence or two on them, and whether the words are of a failure.
    """
    where = f"{row.run} never saw this image, nor was it chosen by it."
    evaluated = truth != runs.IGNORE
    if not evaluated.any():
        return "Not scored", f"Every pixel of this image’s mask is ignored, so no score is defined. {where}", False
    primary = PrimaryScore.of([item.name for item in classes if item.foreground])
    if not primary.is_mean and not is_foreground(truth[evaluated], classes).any():
        share = float(is_foreground(prediction[evaluated], classes).mean())
        if share == 0:
            detail = f"This image has no foreground, so {primary.name} is not defined. {where}"
            return "No foreground, and none was predicted", detail, False
        detail = f"This image has no foreground, and {wording.percent(share)} of its pixels were predicted as such"
        return "False positive", f"{detail}: {primary.name} 0. {where}", True
    iou = primary.of_showcase(row)
    if iou is None:
        return "Not measured", f"The comparison holds no {primary.name} of the showcase for {row.run}.", True
    if primary.is_mean:
        return f"Mean IoU {wording.number(iou)}", f"{_describe_classes(prediction, truth, classes)} {where}", False
    if not is_cut_out:
        return f"{primary.name} {wording.number(iou)}", where, False
    if iou < CUT_OUT_WELL:
        needed = wording.number(CUT_OUT_WELL, 2)
        detail = f"{primary.name} {wording.number(iou)}, below the {needed} that a clean cut-out needs. {where}"
        return "The cut-out failed", detail, True
    return "Cut out well", f"{primary.name} {wording.number(iou)}. {where}", False


def _describe_classes(prediction: Mask, truth: Mask, classes: tuple[SegmentationClass, ...]) -> str:
    """Say how many classes an image has, and which of them are not predicted at their pixels."""
    present = [index for index in range(len(classes)) if (truth == index).any()]
    absent = [classes[index].name for index in present if not (prediction[truth == index] == index).any()]
    count = f"This image has {wording.plural(len(present), 'class', 'classes')}."
    if not absent:
        return count
    more = [f"{len(absent) - MAX_NAMED_CLASSES} more"] if len(absent) > MAX_NAMED_CLASSES else []
    return f"{count} Not found in it: {wording.listing([*absent[:MAX_NAMED_CLASSES], *more])}."
