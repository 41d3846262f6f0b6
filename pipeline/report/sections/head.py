"""The head of the page: what it is, what came out, and the showcase."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline import runs
from pipeline.analysis.one_class import LABEL
from pipeline.analysis.scores import name_foreground_iou, name_object_iou
from pipeline.analysis.seeds import spread
from pipeline.comparison import RateRow, RunRow, Summary
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.report import view, wording
from pipeline.report.material import Material
from pipeline.report.primary_score import PrimaryScore
from pipeline.report.sections.showcase import PhotographShown, Showcase, photographs, showcase
from pipeline.report.selection import Chosen


@dataclass(frozen=True)
class Head:
    """Title, authorship, data and result."""

    title: str
    byline: str
    data: str
    credit: str
    result: str
    missed: str  # the finding on classes that are never predicted, or hardly; empty if there are none
    scope: str  # which part of the grid the page shows; empty where it shows all
    notices: tuple[str, ...]  # on runs that the page leaves out
    showcase: Showcase | None
    photographs: tuple[PhotographShown, ...]
    problems: tuple[view.Card, ...]


MAX_NAMED_CLASSES = 12  # in the sentence on the data; more are counted


def head(params: Params, material: Material, chosen: Chosen) -> Head:
    """Everything above the first section; whatever is missing becomes a card in it."""
    problems = []
    shown: Showcase | None = None
    data = credit = ""
    try:
        data, credit = _data(material), material.data.credit
    except PipelineError as error:
        problems.append(view.Card.of("The data set is not described", error))
    try:
        shown = showcase(material, chosen)
    except PipelineError as error:
        problems.append(view.Card.of("The showcase is not shown", error))
    photographed: tuple[PhotographShown, ...] = ()
    try:
        photographed = photographs(params, material, chosen)
    except PipelineError as error:
        problems.append(view.Card.of("The photographs are not shown", error))
    byline = " · ".join(part for part in (params.report.author.strip(), params.report.course.strip()) if part)
    return Head(
        title=params.report.title,
        byline=byline,
        data=data,
        credit=credit,
        result=_result(material, chosen),
        missed=_missed(material, chosen),
        scope=_scope(material, chosen),
        notices=chosen.notices,
        showcase=shown,
        photographs=photographed,
        problems=tuple(problems),
    )


def _data(material: Material) -> str:
    counts = [(wording.SPLITS[split], len(material.samples.get(split, ()))) for split in runs.SPLITS]
    images = wording.listing([f"{wording.whole(count)} {name}" for name, count in counts if count])
    height, width = material.truth("train", 0).shape
    names = [item.name for item in material.data.classes]
    more = [f"{len(names) - MAX_NAMED_CLASSES} more"] if len(names) > MAX_NAMED_CLASSES else []
    classes = wording.listing([*names[: MAX_NAMED_CLASSES if more else None], *more])
    return f"{material.data.title}: {images} images of {width} × {height} pixels; classes {classes}."


def _result(material: Material, chosen: Chosen) -> str:
    best = material.summary.best
    if best is None:
        return "No learning rate finished all its seeds, so this page ranks nothing."
    row = next(
        (r for r in material.summary.rates if (r.variant, r.learning_rate) == (best.variant, best.learning_rate)), None
    )
    group = "these runs" if chosen.origin else "this grid"
    if row is not None and row.is_no_better:
        return _no_result(material, row, group)
    start = f"{best.variant} at a learning rate of {wording.rate(best.learning_rate)} has the lowest loss of {group}"
    if row is None:
        return f"{start}."
    seeds = f" over {wording.plural(row.seeds, 'seed')}" if row.seeds > 1 else ""
    sentence = (
        f"{start}: {wording.spread(row.val_loss_mean, row.val_loss_sd)} nats per pixel on validation{seeds} "
        f"(class-prior baseline {wording.number(material.summary.baseline.loss)}). "
        f"{_scores(material.summary, row)}"
    )
    return f"{sentence} Some of its seeds are {LABEL}." if row.beats_baseline not in (None, 1.0) else sentence


def _runs_of(summary: Summary, row: RateRow) -> list[RunRow]:
    return [one for one in summary.runs if (one.variant, one.learning_rate) == (row.variant, row.learning_rate)]


def _mean(values: Iterable[float | None]) -> tuple[float | None, float | None]:
    return spread([value for value in values if value is not None])


def _scores(summary: Summary, row: RateRow) -> str:
    """Write the primary score of a setting on validation, and that with the boundary if there is a boundary class."""
    primary, rows = PrimaryScore.of(summary.foreground), _runs_of(summary, row)
    score = wording.spread(*_mean(primary.of_validation(one) for one in rows))
    if primary.is_mean:
        present = sum(iou is not None for iou in summary.baseline.iou.values())
        sentence = f"Mean IoU over the {present} classes of the validation images is {score}"
    else:
        sentence = f"The {primary.name} on validation is {score}"
    with_boundary, sd = _mean(one.val_object_iou for one in rows)
    if with_boundary is None:
        return f"{sentence}."
    name = name_object_iou(summary.foreground, summary.boundary)
    return f"{sentence}, the {name} {wording.spread(with_boundary, sd)}."


def _missed(material: Material, chosen: Chosen) -> str:
    """Repeat the finding on missed classes, unless the page leaves out the runs that it is about."""
    try:
        found = [item for item in material.findings if item.id == "missed_classes"]
        return next((item.sentence for item in found if not item.runs or {*item.runs} & {*chosen.names}), "")
    except PipelineError:
        return ""  # the section on findings reports the error


def _no_result(material: Material, row: RateRow, group: str) -> str:
    """Write the sentence for a best setting that does no better than predicting one class everywhere."""
    summary = material.summary
    foreground, _ = _mean(one.val_foreground_iou for one in _runs_of(summary, row))
    scores = [
        f"mean IoU {wording.number(row.val_mean_iou_mean)} (one class: {wording.number(summary.baseline.mean_iou)})"
    ]
    if foreground is not None and summary.baseline.foreground_iou is not None:
        name, of_one = name_foreground_iou(summary.foreground), wording.number(summary.baseline.foreground_iou)
        scores.append(f"{name} {wording.number(foreground)} (one class: {of_one})")
    return (
        f"No result: {row.variant} at a learning rate of {wording.rate(row.learning_rate)} has the lowest validation "
        f"loss of {group}, {wording.spread(row.val_loss_mean, row.val_loss_sd)} nats per pixel, but its masks are "
        f"{LABEL}: {wording.listing(scores)} on validation."
    )


def _scope(material: Material, chosen: Chosen) -> str:
    if chosen.origin:
        count = wording.plural(len(chosen.rows), "run")
        return (
            f"This page shows {count} from MLflow ({chosen.origin}); ranks are among these, whatever other seeds there "
            "are."
        )
    total = len(material.summary.runs)
    if len(chosen.rows) == total:
        return ""
    count = f"{len(chosen.rows)} of the grid’s {wording.plural(total, 'run')}"
    return f"This page shows {count}; ranks are those of the whole grid."
