"""Render the page on what changed between two grids."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from pipeline.analysis.ranked_metric import RankedMetric
from pipeline.artifacts.comparison import SettingSummary
from pipeline.artifacts.project import CACHE, REPORTS, Project
from pipeline.atomic_io import write_text
from pipeline.change_report.changes import GridChanges, SettingChange, compare_grids, describe_difference
from pipeline.change_report.reference import Reference
from pipeline.number_format import MISSING, format_number, format_spread
from pipeline.params import Params
from pipeline.report.context import ReportContext
from pipeline.report.figures import svg
from pipeline.report.images import LegendEntry
from pipeline.report.notices import Notice, collect_problem
from pipeline.report.render_html import render_html
from pipeline.report.sections.gallery import Sample, build_class_legend, build_error_legend, build_samples
from pipeline.wording import capitalize_first, join_words, pluralize

TEMPLATE = "changes.html"
MAX_IMAGES = 6
MIN_CHANGE = 0.005  # images whose score changed less are not shown
MAX_SPAN = 4  # end of the axis as a multiple of the largest difference; longer intervals are cut
MASKS = CACHE / "changed_masks"  # folder like a project's, with the predictions of both best runs
BEFORE, NOW = "before", "now"


@dataclass(frozen=True)
class SettingLine:
    """A row of the table of settings."""

    name: str
    values: tuple[str, str]  # of the metric that settings are ranked by, before and now
    difference: str  # of these values, with its interval
    is_supported: bool
    val_loss: str  # difference
    gap: str  # difference
    mean_iou: str  # difference
    ranks: tuple[str, str]
    verdicts: tuple[str, str]


@dataclass(frozen=True)
class ChangedMasks:
    """The validation images whose masks changed most."""

    samples: tuple[Sample, ...]
    summary: str  # how many images improved
    classes: tuple[LegendEntry, ...]
    errors: tuple[LegendEntry, ...]


@dataclass(frozen=True)
class ChangePage:
    """The content of the page."""

    title: str
    metric: RankedMetric  # that settings are ranked by
    result: str
    notices: tuple[str, ...]  # why values are not compared, and which runs were skipped
    plot: Markup | None  # differences in the metric with their intervals
    lines: tuple[SettingLine, ...]
    unpaired: tuple[str, ...]  # sentences on settings in one of the grids only
    parameters: tuple[tuple[str, str, str, str], ...]
    masks: ChangedMasks | None
    problems: tuple[Notice, ...]


@dataclass(frozen=True)
class WrittenPage:
    """The path of the page, and the regressions."""

    path: Path
    regressions: list[str]
    is_same_data: bool
    obstacle: str  # why values of the metric are not compared; empty if they are
    notices: tuple[str, ...]  # sentences on skipped runs


def write_change_report(reference: Reference, params: Params, project: Project, out: Path | None = None) -> WrittenPage:
    """Write the page on what changed from `reference` to the current grid.

    Raises:
        PipelineError: A comparison is missing or broken.
    """
    changes = compare_grids(reference.project, project)
    problems: list[Notice] = []
    masks = None
    if changes.is_same_data:
        with collect_problem(problems, "The masks that changed most are not shown"):
            masks = _build_masks(reference.project, project, params, problems)
    page = ChangePage(
        title=f"What changed since {reference.name}",
        metric=changes.metric,
        result=_describe_result(changes),
        notices=(*filter(None, [_describe_obstacle(changes)]), *reference.notices),
        plot=_draw_differences(changes, project),
        lines=tuple(_build_line(change, changes) for change in changes.settings),
        unpaired=_describe_unpaired(changes),
        parameters=changes.parameters,
        masks=masks,
        problems=tuple(problems),
    )
    stem = re.sub(r"[^\w.-]+", "-", reference.name).strip("-.")[:60]
    path = out if out is not None else project.root / REPORTS / f"against-{stem}.html"
    write_text(path, render_html(TEMPLATE, page, project))
    return WrittenPage(path, changes.regressions, changes.is_same_data, changes.obstacle, reference.notices)


def _describe_obstacle(changes: GridChanges) -> str:
    if not changes.is_same_data:
        return "The prepared data differ, so the losses are of different images. They are shown, but not compared."
    if not changes.obstacle:
        return ""
    return f"{capitalize_first(changes.obstacle)}. Its values are shown, but not compared."


def _describe_result(changes: GridChanges) -> str:
    best, metric = changes.best, changes.metric
    switched = ""
    if changes.previous_metric.name != metric.name:
        switched = f" The other grid was ranked by {changes.previous_metric.title}; here, {metric.title} ranks both."
    if changes.lost_best:
        return f"{capitalize_first(changes.describe_lost_best())}.{switched}"
    if best is None:
        return f"One of the grids has no ranked setting, so the best settings cannot be compared.{switched}"
    before, now = (row.setting for row in (best.before, best.now))
    values = "{} before and {} now".format(*_format_values(best.before, best.now, changes))
    first = f"The best setting is {now}, as before" if before == now else f"The best setting is {now}; it was {before}"
    if best.value is None:
        return f"{first}. {metric.heading}: {values}.{switched}"
    if best.value.mean == 0:
        mean = format_number(best.now.get_spread(metric.name)[0], metric.digits)
        return f"{first}, with the same {metric.title} of {mean}.{switched}"
    support = "The seeds support this." if best.is_supported else "This may be chance: the seeds do not support it."
    return f"{first}. {metric.heading}: {values}; {describe_difference(best.value, metric)}. {support}{switched}"


def _build_line(change: SettingChange, changes: GridChanges) -> SettingLine:
    difference, digits = MISSING, changes.metric.digits
    if change.value is not None:
        difference = _format_signed(change.value.mean, digits)
        if change.value.interval and change.value.mean != 0:
            low, high = change.value.interval
            difference += f" ({_format_signed(low, digits)} to {_format_signed(high, digits)})"
    return SettingLine(
        name=change.name,
        values=_format_values(change.before, change.now, changes),
        difference=difference,
        is_supported=change.is_supported,
        val_loss=MISSING if change.val_loss is None else _format_signed(change.val_loss.mean),
        gap=MISSING if change.gap is None else _format_signed(change.gap.mean),
        mean_iou=MISSING if change.mean_iou is None else _format_signed(change.mean_iou.mean),
        ranks=(_format_rank(change.ranks[0]), _format_rank(change.ranks[1])),
        verdicts=(_list_verdicts(change.verdicts[0]), _list_verdicts(change.verdicts[1])),
    )


def _format_value(row: SettingSummary, metric: RankedMetric) -> str:
    return format_spread(*row.get_spread(metric.name), metric.digits)


def _format_values(before: SettingSummary, now: SettingSummary, changes: GridChanges) -> tuple[str, str]:
    """Format the values of a setting in both grids, with their units if these may differ."""
    metrics = changes.metric_before, changes.metric
    texts = [_format_value(row, metric) for row, metric in zip((before, now), metrics, strict=True)]
    if changes.measurement:
        texts = [metric.add_unit(text) for text, metric in zip(texts, metrics, strict=True)]
    return texts[0], texts[1]


def _format_rank(rank: int | None) -> str:
    return MISSING if rank is None else str(rank)


def _list_verdicts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _format_signed(value: float, digits: int = 3) -> str:
    text = format_number(value, digits)
    return text if value < 0 or float(f"{value:.{digits}f}") == 0 else f"+{text}"


def _describe_unpaired(changes: GridChanges) -> tuple[str, ...]:
    sentences = []
    for rows, start, metric in (
        (changes.added, "New in the grid", changes.metric),
        (changes.removed, "No longer in the grid", changes.metric_before),
    ):
        if rows:
            plural = "their validation losses" if metric.name == "val_loss" else f"their {metric.title}"
            names = [f"{row.setting} ({_format_value(row, metric)})" for row in rows]
            sentences.append(f"{start}, with {plural}: {join_words(names)}.")
    return tuple(sentences)


def _draw_differences(changes: GridChanges, project: Project) -> Markup | None:
    """Draw the difference in the metric of each setting, with its interval; None if nothing is compared."""
    drawn = [(change, change.value) for change in changes.settings if change.value is not None]
    if not drawn:
        return None
    with svg.use_style(project):
        figure = Figure((7.2, 0.9 + 0.36 * len(drawn)), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(0, color=svg.QUIET, linewidth=1)
        for place, (change, value) in enumerate(drawn):
            color = svg.INK if change.is_supported else svg.QUIET
            axes.plot(value.interval or (), (place, place) if value.interval else (), color=color, linewidth=1.4)
            axes.plot(value.mean, place, "o", color=color, markersize=6)
        # The intervals of two seeds can be so wide that they would hide all differences, so the axis may cut them.
        largest = max(max(map(abs, value.interval or (value.mean,))) for _, value in drawn)
        span = 1.1 * max(min(largest, MAX_SPAN * max(abs(value.mean) for _, value in drawn)), MIN_CHANGE)
        axes.set_xlim(-span, span)
        axes.set_yticks(range(len(drawn)), [change.name for change, _ in drawn])
        for label in axes.get_yticklabels():
            label.set_parse_math(False)  # names of variants are not formulas
        axes.set_ylim(len(drawn) - 0.5, -0.5)
        axes.set_xlabel(f"change of the {changes.metric.title_with_unit}", loc="right")
        return svg.render_svg(figure, "changes")


def _build_masks(before: Project, now: Project, params: Params, problems: list[Notice]) -> ChangedMasks | None:
    """Build the images whose masks changed most between the best runs of both grids; None without best runs."""
    best = before.comparison.summary.best, now.comparison.summary.best
    if best[0] is None or best[1] is None:
        return None
    both = Project(now.root / MASKS)
    shutil.rmtree(both.root, ignore_errors=True)
    for name, folder in (
        (BEFORE, before.evaluation(best[0].run).path),
        (NOW, now.evaluation(best[1].run).path),
    ):
        link = both.evaluation(name).path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(folder.resolve())
    both.prepared.path.parent.mkdir(parents=True, exist_ok=True)
    both.prepared.path.symlink_to(now.prepared.path.resolve())
    context = ReportContext(both, params.data)
    field = context.primary_score.field
    scores = {name: context.read_image_scores(name, field, "validation") for name in (BEFORE, NOW)}
    common = scores[NOW].keys() & scores[BEFORE].keys()  # images whose score is defined in both
    changes = {sample: scores[NOW][sample] - scores[BEFORE][sample] for sample in scores[NOW] if sample in common}
    kept = {name: both.evaluation(name).list_examples() for name in (BEFORE, NOW)}
    shown = [name for name in changes if name in kept[BEFORE] & kept[NOW] and abs(changes[name]) >= MIN_CHANGE]
    shown = sorted(shown, key=lambda name: (-abs(changes[name]), name))[:MAX_IMAGES]
    score_name = "mean IoU" if context.primary_score.is_mean else "IoU"
    samples = [
        replace(sample, note=f"{score_name} {_format_signed(changes[sample.id])}")
        for sample in build_samples(context, kept, shown, problems)
    ]
    better = sum(change >= MIN_CHANGE for change in changes.values())
    worse = sum(change <= -MIN_CHANGE for change in changes.values())
    summary = (
        f"{best[0].run} before, {best[1].run} now. Of {pluralize(len(changes), 'validation image')}, the {score_name} "
        f"of {better} is higher by at least {MIN_CHANGE}, and that of {worse} is lower."
    )
    classes = build_class_legend(samples, context.dataset.classes)
    return ChangedMasks(tuple(samples), summary, classes, build_error_legend(samples))
