"""The header of the page: title, result, data and showcase."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.analysis.baselines import ONE_CLASS_LABEL, pair_with_baseline
from pipeline.analysis.ranked_metric import explain_missing_ranking, get_ranked_metric
from pipeline.analysis.scores import name_object_iou
from pipeline.analysis.seed_statistics import compute_mean_and_sd
from pipeline.artifacts.comparison import SettingSummary, Summary
from pipeline.artifacts.prepared_data import SPLITS
from pipeline.errors import PipelineError
from pipeline.number_format import format_number, format_spread
from pipeline.params import Params
from pipeline.report.formatting import SPLIT_NAMES
from pipeline.report.notices import Notice, collect_problem
from pipeline.report.page_context import PageContext
from pipeline.report.primary_score import PrimaryScore
from pipeline.report.sections.selected_findings import select_findings
from pipeline.report.sections.showcase import Showcase, UserImage, build_showcase, build_user_images
from pipeline.wording import join_words, pluralize


@dataclass(frozen=True)
class Header:
    """The content of the header: title, author, data, result and showcase."""

    title: str
    byline: str
    data: str
    credit: str
    result: str
    missed: str  # finding on missed classes; empty if there are none
    scope: str  # sentence on the runs that the page shows; empty for the whole grid
    notices: tuple[str, ...]  # sentences on skipped runs
    showcase: Showcase | None
    user_images: tuple[UserImage, ...]
    problems: tuple[Notice, ...]


MAX_NAMED_CLASSES = 12  # names in the sentence on the data; other classes are counted


def build_header(params: Params, context: PageContext) -> Header:
    """Build the header, with notices in place of missing parts."""
    problems: list[Notice] = []
    data = credit = ""
    shown: Showcase | None = None
    user_images: tuple[UserImage, ...] = ()
    with collect_problem(problems, "The data set is not described"):
        data, credit = _describe_data(context), context.dataset.credit
    with collect_problem(problems, "The showcase is not shown"):
        shown = build_showcase(context)
    with collect_problem(problems, "The images of report.showcase are not shown"):
        user_images = build_user_images(params, context)
    return Header(
        title=params.report.title,
        byline=" · ".join(filter(None, (params.report.author.strip(), params.report.subtitle.strip()))),
        data=data,
        credit=credit,
        result=_describe_result(context),
        missed=_find_missed_classes(context),
        scope=_describe_scope(context),
        notices=context.selection.notices,
        showcase=shown,
        user_images=user_images,
        problems=tuple(problems),
    )


def _describe_data(context: PageContext) -> str:
    counts = {split: len(context.sample_ids.get(split, ())) for split in SPLITS}
    if folds := context.dataset.folds:
        validated = f"{counts['train'] + counts['validation']:,}"
        images = f"{validated} images in {folds} folds and {pluralize(counts['test'], 'test image')}"
    else:
        names = [f"{count:,} {SPLIT_NAMES[split]}" for split, count in counts.items() if count]
        images = f"{join_words(names)} images"
    small, large = context.prepared.open_split("train").images.size_range
    sizes = " to ".join(f"{width} × {height}" for height, width in dict.fromkeys((small, large)))
    classes = join_words(context.dataset.class_names, MAX_NAMED_CLASSES)
    sentence = f"{context.dataset.title}: {images} of {sizes} pixels; classes {classes}."
    return " ".join(filter(None, (sentence, context.training_limits)))


def _describe_result(context: PageContext) -> str:
    summary = context.summary
    if summary.best is None:
        reason = explain_missing_ranking(summary)
        return reason or "No setting has finished with all its seeds, so nothing is ranked."
    metric = get_ranked_metric(summary)
    row = summary.get_setting(summary.best)
    group = "these runs" if context.selection.origin else "this grid"
    setting = f"{row.variant} at learning rate {row.learning_rate}"
    value = metric.add_unit(format_spread(*row.get_spread(metric.name), metric.digits))
    if row.is_no_better:
        return (
            f"No result: {setting} has {metric.best_value} of {group}, {value}, but its masks are "
            f"{ONE_CLASS_LABEL}: {_compare_with_one_class(summary, row)} on validation."
        )
    seeds = f" over {summary.describe_seeds(row)}" if row.seeds > 1 else ""
    baseline = f"(class-prior baseline {format_number(summary.baseline_loss, summary.loss_digits)})"
    if metric.name == "val_loss":
        start = f"{setting} has the lowest loss of {group}: {value} on validation{seeds} {baseline}."
    else:
        loss = format_spread(row.val_loss_mean, row.val_loss_sd, summary.loss_digits)
        start = (
            f"{setting} has {metric.best_value} of {group}: {value} on validation{seeds}. Its loss is {loss} nats per "
            f"pixel {baseline}."
        )
    sentence = " ".join(filter(None, (start, _describe_scores(summary, row))))
    return f"{sentence} Some of its seeds are {ONE_CLASS_LABEL}." if row.beats_baseline not in (None, 1.0) else sentence


def _describe_scores(summary: Summary, row: SettingSummary) -> str:
    """Describe the primary score of a setting on validation and, if defined, its IoU of foreground with boundary.

    The text is empty if settings are ranked by one of them.
    """
    primary, rows = PrimaryScore.of(summary.foreground), summary.list_runs(row)
    if summary.rank_by in (primary.field, "object_iou"):
        return ""
    score = format_spread(*compute_mean_and_sd(primary.of_validation(one) for one in rows))
    if primary.is_mean:
        present = sum(iou is not None for iou in summary.baseline.iou.values())
        sentence = f"Mean IoU over the {present} classes of the validation images is {score}"
    else:
        sentence = f"The {primary.name} on validation is {score}"
    with_boundary, sd = compute_mean_and_sd(one.val_object_iou for one in rows)
    if with_boundary is None:
        return f"{sentence}."
    name = name_object_iou(summary.foreground, summary.boundary)
    return f"{sentence}, the {name} {format_spread(with_boundary, sd)}."


def _find_missed_classes(context: PageContext) -> str:
    """Return the finding on missed classes; empty if there is none about the runs on the page."""
    try:
        found = select_findings(context)
    except PipelineError:
        return ""  # the section on findings reports the error
    return next((item.sentence for item in found if item.id == "missed_classes"), "")


def _compare_with_one_class(summary: Summary, row: SettingSummary) -> str:
    """List the scores of a setting next to those of predicting one class everywhere."""
    foreground_iou, _ = compute_mean_and_sd(one.val_foreground_iou for one in summary.list_runs(row))
    pairs = pair_with_baseline(row.val_mean_iou_mean, foreground_iou, summary.baseline, summary.foreground)
    return join_words([f"{name} {format_number(iou)} (one class: {format_number(base)})" for name, iou, base in pairs])


def _describe_scope(context: PageContext) -> str:
    selection, total = context.selection, len(context.summary.runs)
    if selection.origin:
        count = pluralize(len(selection.rows), "run")
        return f"This page shows {count} from MLflow ({selection.origin}); only these are ranked against each other."
    if len(selection.rows) == total:
        return ""
    count = f"{len(selection.rows)} of the grid’s {pluralize(total, 'run')}"
    return f"This page shows {count}; ranks refer to the whole grid."
