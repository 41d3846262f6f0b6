"""Where a run memorises: its gap by class, group and image, and whether it is as sure as it is right."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from pipeline.comparison import RunRow
from pipeline.errors import PipelineError
from pipeline.report import view, wording
from pipeline.report.figures.reliability import reliability_curve
from pipeline.report.material import Material
from pipeline.report.sections.gallery import Sample, class_legend, error_legend, side_by_side
from pipeline.report.selection import Chosen, leading
from pipeline.runs import Calibration


@dataclass(frozen=True)
class ClassLine:
    """A class on both sides."""

    name: str
    figures: tuple[str, ...]
    widest: bool  # of all gaps


@dataclass(frozen=True)
class GroupLine:
    """A group of validation images whose gap is among the widest."""

    kind: str
    name: str
    images: str
    val_loss: str
    gap: str


@dataclass(frozen=True)
class Where:
    """What the gap of one run is made of."""

    sentence: str
    class_headings: tuple[str, ...]
    classes: tuple[ClassLine, ...]
    groups: tuple[GroupLine, ...]
    reliability: Markup  # a figure; empty where it cannot be drawn
    calibration: str
    worst: tuple[Sample, ...]
    worst_classes: tuple[view.Key, ...]  # legends of the worst images
    worst_errors: tuple[view.Key, ...]
    run: str
    problems: tuple[view.Card, ...]


GROUPS = 4  # of each kind
IMAGES = 3

CLASS_HEADINGS = ("Training loss", "Validation loss", "Gap", "Training IoU", "Validation IoU")


def where(material: Material, chosen: Chosen, root: Path) -> Where:
    """What the gap of the best shown run is made of; raises `PipelineError` where no shown run has finished."""
    run = leading(material.summary, chosen)
    if run is None:
        raise view.NothingToShowError("No run that is shown has finished, so there is no gap to take apart.")
    parts = material.parts[material.parts["run"] == run]
    classes = parts[parts["part"] == "class"]
    problems: list[view.Card] = []
    curve, calibration = _calibration(material, run, root, problems)
    row = next(row for row in material.summary.runs if row.run == run)
    worst = _worst(material, run, parts[parts["part"] == "image"], problems)
    return Where(
        sentence=_sentence(row),
        class_headings=CLASS_HEADINGS,
        classes=(*_classes(classes), _whole(row, classes, _class_count(material, len(classes)))),
        groups=_groups(parts[parts["part"] == "group"]),
        reliability=curve,
        calibration=calibration,
        worst=worst,
        worst_classes=class_legend(worst, material.data.classes) if worst else (),
        worst_errors=error_legend(worst),
        run=run,
        problems=tuple(problems),
    )


def _class_count(material: Material, otherwise: int) -> int:
    try:
        return len(material.data.classes)
    except PipelineError:
        return otherwise


def _sentence(row: RunRow) -> str:
    """The verdict with what it rests on, and what the masks say beside the losses."""
    found = row.judgement
    if found is None:
        return f"{row.run} was not judged."
    evidence = "; ".join(found.evidence)
    sentence = f"By its loss curve, {row.run} is {found.verdict}. {evidence[:1].upper()}{evidence[1:]}."
    if found.onset:
        sentence += f" Validation begins to worsen between epochs {found.onset[0]} and {found.onset[1]}."
    if found.iou_gap is not None and found.iou_gap_last is not None and found.iou_fall is not None:
        sentence += (
            f" Mean IoU is higher on training than on validation images by {wording.number(found.iou_gap)} at the best "
            f"epoch, by {wording.number(found.iou_gap_last)} at the last; validation’s ends "
            f"{wording.number(found.iou_fall)} below its highest."
        )
    return sentence


def _whole(row: RunRow, parts: pd.DataFrame, classes: int) -> ClassLine:
    """Make the line of the whole sets; mean IoU is over the classes on both sides if one of `classes` is missing."""
    name = "all (mean IoU)"
    gap, val_iou = row.judgement.iou_gap if row.judgement else None, row.val_mean_iou
    train_iou = None if gap is None or val_iou is None else val_iou + gap
    if len(parts) < classes:
        name = "all (mean IoU of the classes above)"
        train_iou, val_iou = (float(parts[side].mean()) for side in ("train_iou", "val_iou"))
    numbers = (row.train_loss, row.val_loss, row.gap, train_iou, val_iou)
    return ClassLine(name, tuple(wording.number(number) for number in numbers), widest=False)


def _classes(parts: pd.DataFrame) -> tuple[ClassLine, ...]:
    """Make a line for each class, the widest gap first."""
    columns = ("train_loss", "val_loss", "gap", "train_iou", "val_iou")
    widest = parts["gap"].idxmax() if len(parts) > 1 else None
    return tuple(
        ClassLine(str(row["name"]), tuple(wording.number(row[column]) for column in columns), index == widest)
        for index, row in parts.sort_values("gap", ascending=False, kind="stable").iterrows()
    )


def _groups(parts: pd.DataFrame) -> tuple[GroupLine, ...]:
    lines = []
    kinds = parts["name"].str.split("=", n=1, expand=True)
    for kind in dict.fromkeys(kinds[0]) if len(parts) else ():
        for index, row in parts[kinds[0] == kind].head(GROUPS).iterrows():
            lines.append(
                GroupLine(
                    kind=str(kind),
                    name=str(kinds.loc[index, 1]),
                    images=str(row["images"]),
                    val_loss=wording.number(row["val_loss"]),
                    gap=wording.number(row["gap"]),
                )
            )
    return tuple(lines)


def _calibration(material: Material, run: str, root: Path, problems: list[view.Card]) -> tuple[Markup, str]:
    """The reliability curve with a sentence on it; a card where there is none."""
    try:
        scores, table = material.evaluation(run), material.reliability(run)
        train, validation, scored = scores.train_calibration, scores.val_calibration, scores.validation
        if train is None or validation is None or scored is None or scored.accuracy is None:
            raise PipelineError(f"The evaluation of {run} holds no calibration. Run `dvc repro evaluate@{run}`.")
        return reliability_curve(table, root), _certainty(train, validation, scored.accuracy)
    except PipelineError as error:
        problems.append(view.Card.of(f"{run}: no reliability curve", error))
        return Markup(""), ""


def _certainty(train: Calibration, validation: Calibration, accuracy: float) -> str:
    return (
        f"On validation its mean confidence, the probability that it gives the class it predicts, is "
        f"{wording.percent(validation.confidence)}, and {wording.percent(accuracy)} of the pixels are right. The "
        f"expected calibration error is {wording.number(validation.error)} on validation and "
        f"{wording.number(train.error)} on training images. Below the grey line a network is surer than it is right."
    )


def _worst(material: Material, run: str, parts: pd.DataFrame, problems: list[view.Card]) -> tuple[Sample, ...]:
    try:
        kept = material.examples(run)
        wanted = [str(name) for name in parts["name"].head(IMAGES) if name in kept]
        return side_by_side(material, {run: kept}, wanted, problems)
    except PipelineError as error:
        problems.append(view.Card.of(f"{run}: no pictures of its worst images", error))
        return ()
