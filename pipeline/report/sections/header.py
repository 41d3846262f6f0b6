"""The header of the page: title, result, data and showcase."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.analysis.baselines import ONE_CLASS_LABEL
from pipeline.analysis.scores import name_foreground_iou, name_object_iou
from pipeline.analysis.seed_statistics import compute_mean_and_sd
from pipeline.artifacts.comparison import RunSummary, SettingSummary, Summary
from pipeline.artifacts.prepared_data import SPLITS
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.report.context import ReportContext
from pipeline.report.formatting import (
    SPLIT_NAMES,
    format_count,
    format_learning_rate,
    format_number,
    format_spread,
    join_words,
    pluralize,
)
from pipeline.report.primary_score import PrimaryScore
from pipeline.report.run_selection import RunSelection
from pipeline.report.sections.showcase import Showcase, UserImage, build_showcase, build_user_images
from pipeline.report.view_models import Notice


@dataclass(frozen=True)
class Header:
    """Title, author, data, result and showcase."""

    title: str
    byline: str
    data: str
    credit: str
    result: str
    missed: str  # finding on missed classes; empty if there are none
    scope: str  # which runs the page shows; empty for the whole grid
    notices: tuple[str, ...]  # on skipped runs
    showcase: Showcase | None
    user_images: tuple[UserImage, ...]
    problems: tuple[Notice, ...]


MAX_NAMED_CLASSES = 12  # in the sentence on the data; others are counted


def build_header(params: Params, context: ReportContext, selection: RunSelection) -> Header:
    """Build the header; missing parts become notices."""
    problems = []
    shown: Showcase | None = None
    data = credit = ""
    try:
        data, credit = _describe_data(context), context.dataset.credit
    except PipelineError as error:
        problems.append(Notice.from_error("The data set is not described", error))
    try:
        shown = build_showcase(context, selection)
    except PipelineError as error:
        problems.append(Notice.from_error("The showcase is not shown", error))
    user_images: tuple[UserImage, ...] = ()
    try:
        user_images = build_user_images(params, context, selection)
    except PipelineError as error:
        problems.append(Notice.from_error("The images of report.showcase are not shown", error))
    byline = " · ".join(part for part in (params.report.author.strip(), params.report.subtitle.strip()) if part)
    return Header(
        title=params.report.title,
        byline=byline,
        data=data,
        credit=credit,
        result=_describe_result(context, selection),
        missed=_find_missed_classes(context, selection),
        scope=_describe_scope(context, selection),
        notices=selection.notices,
        showcase=shown,
        user_images=user_images,
        problems=tuple(problems),
    )


def _describe_data(context: ReportContext) -> str:
    counts = [(SPLIT_NAMES[split], len(context.sample_ids.get(split, ()))) for split in SPLITS]
    images = join_words([f"{format_count(count)} {name}" for name, count in counts if count])
    height, width = context.project.prepared.read_mask("train", 0).shape
    names = [item.name for item in context.dataset.classes]
    more = [f"{len(names) - MAX_NAMED_CLASSES} more"] if len(names) > MAX_NAMED_CLASSES else []
    classes = join_words([*names[: MAX_NAMED_CLASSES if more else None], *more])
    return f"{context.dataset.title}: {images} images of {width} × {height} pixels; classes {classes}."


def _describe_result(context: ReportContext, selection: RunSelection) -> str:
    best = context.summary.best
    if best is None:
        return "No setting finished all its seeds, so nothing is ranked."
    row = next(
        (r for r in context.summary.settings if (r.variant, r.learning_rate) == (best.variant, best.learning_rate)),
        None,
    )
    group = "these runs" if selection.origin else "this grid"
    if row is not None and row.is_no_better:
        return _describe_baseline_result(context, row, group)
    setting = f"{best.variant} at learning rate {format_learning_rate(best.learning_rate)}"
    start = f"{setting} has the lowest loss of {group}"
    if row is None:
        return f"{start}."
    seeds = f" over {pluralize(row.seeds, 'seed')}" if row.seeds > 1 else ""
    sentence = (
        f"{start}: {format_spread(row.val_loss_mean, row.val_loss_sd)} nats per pixel on validation{seeds} "
        f"(class-prior baseline {format_number(context.summary.baseline.loss)}). "
        f"{_describe_scores(context.summary, row)}"
    )
    return f"{sentence} Some of its seeds are {ONE_CLASS_LABEL}." if row.beats_baseline not in (None, 1.0) else sentence


def _list_runs(summary: Summary, row: SettingSummary) -> list[RunSummary]:
    return [one for one in summary.runs if (one.variant, one.learning_rate) == (row.variant, row.learning_rate)]


def _compute_spread(values: Iterable[float | None]) -> tuple[float | None, float | None]:
    return compute_mean_and_sd([value for value in values if value is not None])


def _describe_scores(summary: Summary, row: SettingSummary) -> str:
    """Write the primary score of a setting on validation, and that with the boundary if there is a boundary class."""
    primary, rows = PrimaryScore.of(summary.foreground), _list_runs(summary, row)
    score = format_spread(*_compute_spread(primary.of_validation(one) for one in rows))
    if primary.is_mean:
        present = sum(iou is not None for iou in summary.baseline.iou.values())
        sentence = f"Mean IoU over the {present} classes of the validation images is {score}"
    else:
        sentence = f"The {primary.name} on validation is {score}"
    with_boundary, sd = _compute_spread(one.val_object_iou for one in rows)
    if with_boundary is None:
        return f"{sentence}."
    name = name_object_iou(summary.foreground, summary.boundary)
    return f"{sentence}, the {name} {format_spread(with_boundary, sd)}."


def _find_missed_classes(context: ReportContext, selection: RunSelection) -> str:
    """Repeat the finding on missed classes, unless the page leaves out the runs that it is about."""
    try:
        found = [item for item in context.project.comparison.findings if item.id == "missed_classes"]
        return next((item.sentence for item in found if not item.runs or {*item.runs} & {*selection.names}), "")
    except PipelineError:
        return ""  # the section on findings reports the error


def _describe_baseline_result(context: ReportContext, row: SettingSummary, group: str) -> str:
    """Write the sentence for a best setting that does no better than predicting one class everywhere."""
    summary = context.summary
    foreground, _ = _compute_spread(one.val_foreground_iou for one in _list_runs(summary, row))
    scores = [
        f"mean IoU {format_number(row.val_mean_iou_mean)} (one class: {format_number(summary.baseline.mean_iou)})"
    ]
    if foreground is not None and summary.baseline.foreground_iou is not None:
        name, of_one = name_foreground_iou(summary.foreground), format_number(summary.baseline.foreground_iou)
        scores.append(f"{name} {format_number(foreground)} (one class: {of_one})")
    return (
        f"No result: {row.variant} at learning rate {format_learning_rate(row.learning_rate)} has the lowest "
        f"validation loss of {group}, {format_spread(row.val_loss_mean, row.val_loss_sd)} nats per pixel, but its "
        f"masks are {ONE_CLASS_LABEL}: {join_words(scores)} on validation."
    )


def _describe_scope(context: ReportContext, selection: RunSelection) -> str:
    if selection.origin:
        count = pluralize(len(selection.rows), "run")
        return f"This page shows {count} from MLflow ({selection.origin}); only these are ranked against each other."
    total = len(context.summary.runs)
    if len(selection.rows) == total:
        return ""
    count = f"{len(selection.rows)} of the grid’s {pluralize(total, 'run')}"
    return f"This page shows {count}; ranks refer to the whole grid."
