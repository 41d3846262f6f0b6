"""Where masks may be wrong: the masks that all seeds of the best setting contradict."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from pipeline.analysis.label_errors import MIN_SUSPICIOUS, is_suspicious
from pipeline.artifacts.comparison import Comparison
from pipeline.artifacts.project import COMPARISON
from pipeline.errors import PipelineError
from pipeline.report.formatting import SPLIT_NAMES
from pipeline.report.images import LegendEntry
from pipeline.report.notices import NothingToShowError, Notice, collect_problem
from pipeline.report.page_context import PageContext
from pipeline.report.sections.gallery import Sample, build_class_legend, build_error_legend, build_sample
from pipeline.wording import pluralize

MAX_SHOWN = 8  # masks in the gallery
MAX_PLAUSIBLE = 0.2  # fraction of the masks; if more are suspicious, the networks are a likelier cause than the masks


@dataclass(frozen=True)
class SuspiciousMasks:
    """The most suspicious masks, with the prediction that contradicts them."""

    sentence: str
    advice: str  # what to do; empty if no mask is suspicious
    table: str  # path of the table with all masks
    samples: tuple[Sample, ...]
    classes: tuple[LegendEntry, ...]
    errors: tuple[LegendEntry, ...]
    problems: tuple[Notice, ...]


def build_suspicious_masks(context: PageContext) -> SuspiciousMasks | None:
    """Build the section; None if the masks are exact.

    Raises:
        PipelineError: The best run is not on the page, or a file is missing or broken.
    """
    with contextlib.suppress(PipelineError):  # if the data are missing, the section says so
        if context.dataset.has_exact_masks:
            return None
    best = context.shown_best_setting
    if best is None:
        raise NothingToShowError(
            "Masks are checked by the runs of the best setting, and its best run is not on this page."
        )
    ranked = context.project.comparison.suspicious_masks
    suspicious = ranked[is_suspicious(ranked)]
    seeds = [row.run for row in context.summary.list_runs(best)]
    seeds.sort(key=lambda run: run != best.run)  # the best run's prediction is shown if it is kept
    problems: list[Notice] = []
    samples = []
    for row in suspicious.head(MAX_SHOWN).itertuples(index=False):
        with collect_problem(problems, f"The mask of {row.id} is not shown"):
            samples.append(_build_sample(context, seeds, str(row.id), str(row.split), row))
    return SuspiciousMasks(
        sentence=_describe(
            len(suspicious),
            len(ranked),
            str(best.setting),
            len(seeds),
            is_folded=context.dataset.folds is not None,
        ),
        advice=_advise(len(suspicious) / len(ranked)) if len(suspicious) else "",
        table=(COMPARISON / Comparison.SUSPICIOUS_MASKS).as_posix(),
        samples=tuple(samples),
        classes=build_class_legend(samples, context.dataset.classes) if samples else (),
        errors=build_error_legend(samples),
        problems=tuple(problems),
    )


def _build_sample(context: PageContext, seeds: list[str], sample: str, split: str, row: object) -> Sample:
    score = float(getattr(row, "score"))  # noqa: B009 - rows of itertuples have no type
    for run in seeds:
        prediction = context.project.evaluation(run).read_contradicted(sample)
        if prediction is not None:
            note = f"{SPLIT_NAMES[split]}, score {score:.2f}"
            return build_sample(context, sample, prediction, note, run)
    raise PipelineError("No run keeps its prediction.")


def _describe(num_suspicious: int, num_masks: int, setting: str, num_runs: int, *, is_folded: bool) -> str:
    runs = f"all {num_runs} runs of {setting}" if num_runs > 1 else f"the only run of {setting}"
    if is_folded:  # the other runs were trained on the mask
        runs = f"the runs of {setting} that validated the image"
    if not num_suspicious:
        return (
            f"No mask is suspicious: {runs} would have to confidently predict another class on at least "
            f"{MIN_SUSPICIOUS:.0%} of an object, and no training or validation image of {num_masks} has such a mask."
        )
    return (
        f"{pluralize(num_suspicious, 'mask')} of {num_masks} training and validation images "
        f"{'is' if num_suspicious == 1 else 'are'} suspicious: {runs} confidently predict{'' if num_runs > 1 else 's'} "
        f"another class on at least {MIN_SUSPICIOUS:.0%} of the object."
    )


def _advise(fraction: float) -> str:
    if fraction > MAX_PLAUSIBLE:
        return (
            f"Because {fraction:.1%} of the masks are suspicious, the networks are probably wrong more "
            "often than the masks, unless a whole part of the masks has the same mistake. Improve the networks first."
        )
    return (
        "Check these masks first, from the top. How many of them are wrong cannot be estimated from predictions: an "
        "object on which all runs make the same mistake looks the same. Stop when masks are no longer wrong."
    )
