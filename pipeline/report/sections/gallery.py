"""Images side by side with what runs made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline import runs
from pipeline.errors import PipelineError
from pipeline.report import view, wording
from pipeline.report.figures import pictures
from pipeline.report.figures.error_kinds import Errors, is_foreground
from pipeline.report.figures.frames import Frame
from pipeline.report.material import Mask, Material, Photo
from pipeline.report.primary_score import PrimaryScore
from pipeline.runs import SegmentationClass

MANY_RUNS = 4  # the page shows the images of more than these smaller, ...
SMALL = 288  # px: ... and their files must not make it too large to mail


@dataclass(frozen=True)
class Shot:
    """A run's prediction for a sample, beside its errors."""

    prediction: view.Picture
    errors: view.Picture
    error_keys: tuple[view.Key, ...]
    score: str


@dataclass(frozen=True)
class Sample:
    """An example with what every run made of it; None where a run has no picture."""

    id: str
    image: view.Picture
    truth: view.Picture
    shots: tuple[Shot | None, ...]
    has_ignored: bool  # whether the ground truth has ignored pixels
    note: str = ""  # why it is shown


def class_legend(samples: Sequence[Sample], classes: tuple[SegmentationClass, ...]) -> tuple[view.Key, ...]:
    """Make the legend of the masks; ignored pixels are in it if a mask has some."""
    ignored = [view.Key("none", "ignored pixels (left blank)")] if any(one.has_ignored for one in samples) else []
    return (*(pictures.key(item) for item in classes), *ignored)


def error_legend(samples: Sequence[Sample]) -> tuple[view.Key, ...]:
    """Make the legend of the error images: the kinds of error that can occur, and ignored pixels if there are some."""
    return tuple(dict.fromkeys(key for one in samples for shot in one.shots if shot for key in shot.error_keys))


def side_by_side(
    material: Material, kept: dict[str, frozenset[str]], wanted: Sequence[str], problems: list[view.Card]
) -> tuple[Sample, ...]:
    """Validation images with what runs made of them.

    Args:
        material: the files.
        kept: the runs, and the samples that each kept its mask of.
        wanted: the samples, in the order of the page.
        problems: is given a card for what is missing.
    """
    primary = PrimaryScore.of([item.name for item in material.data.classes if item.foreground])
    ious: dict[str, dict[str, float]] = {}
    for run in kept:
        try:
            ious[run] = material.per_image(run, primary.field)
        except PipelineError as error:
            ious[run] = {}
            problems.append(view.Card.of(f"{run}: no IoU under its pictures", error))
    rows = {sample: row for row, sample in enumerate(material.samples.get("validation", ()))}
    found = []
    for sample in wanted:
        image, truth = material.image("validation", rows[sample]), material.truth("validation", rows[sample])
        frame = material.frame("validation", rows[sample])
        if len(kept) > MANY_RUNS:
            frame = replace(frame, largest=SMALL)
        shots = tuple(
            _shot(material, run, sample, truth, frame, primary, ious[run], problems) if sample in kept[run] else None
            for run in kept
        )
        found.append(_sample(material, sample, image, truth, frame, shots))
    return tuple(found)


def _sample(
    material: Material, sample: str, image: Photo, truth: Mask, frame: Frame, shots: tuple[Shot | None, ...]
) -> Sample:
    classes = material.data.classes
    return Sample(
        id=sample,
        image=pictures.photograph(frame.crop(image), f"Image {sample}", frame=frame),
        truth=pictures.mask(frame.crop(truth), classes, f"True mask of {sample}", frame=frame),
        shots=shots,
        has_ignored=bool((frame.crop(truth) == runs.IGNORE).any()),
    )


def _shot(
    material: Material,
    run: str,
    sample: str,
    truth: Mask,
    frame: Frame,
    primary: PrimaryScore,
    ious: dict[str, float],
    problems: list[view.Card],
) -> Shot | None:
    classes = material.data.classes
    try:
        prediction = material.example(run, sample)
        wrong = Errors.between(prediction, truth, classes, frame)
    except PipelineError as error:
        problems.append(view.Card.of(f"{run}: no picture of {sample}", error))
        return None
    return Shot(
        prediction=pictures.mask(frame.crop(prediction), classes, f"Mask of {sample} predicted by {run}", frame=frame),
        errors=pictures.errors(wrong, f"Errors of {run} in {sample}: {wrong.describe()}", frame=frame),
        error_keys=wrong.keys,
        score=_score(primary, ious.get(sample), truth, classes),
    )


def _score(primary: PrimaryScore, iou: float | None, truth: Mask, classes: tuple[SegmentationClass, ...]) -> str:
    """Format the primary score of an image, or say why it is undefined."""
    evaluated = truth != runs.IGNORE
    if not evaluated.any():
        return "no evaluated pixels"
    if primary.is_mean:
        return f"mean IoU {wording.number(iou, 2)}"
    if is_foreground(truth[evaluated], classes).any():
        return f"IoU {wording.number(iou, 2)}"
    if iou is None:
        return "no foreground, none predicted"
    return f"IoU {wording.number(iou, 2)}: no foreground, some predicted"
