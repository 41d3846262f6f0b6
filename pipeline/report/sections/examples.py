"""Example predictions side by side, and the showcase's prediction over epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.analysis.epoch_selection import choose_epochs
from pipeline.artifacts.prepared_data import SHOWCASE
from pipeline.errors import PipelineError
from pipeline.number_format import format_number
from pipeline.report.figures import image_html
from pipeline.report.images import EmbeddedImage, LegendEntry
from pipeline.report.notices import NothingToShowError, Notice, collect_problem
from pipeline.report.page_context import PageContext
from pipeline.report.primary_score import PrimaryScore
from pipeline.report.sections.gallery import (
    Sample,
    build_class_legend,
    build_crop,
    build_error_legend,
    build_samples,
    build_validated_samples,
    name_predictor,
)
from pipeline.wording import pluralize


@dataclass(frozen=True)
class Examples:
    """Example predictions side by side, and the leading run's prediction for the showcase over epochs."""

    leading_run: str  # the run of `strip`; may be empty
    setting: str  # the leading run, or with cross-validation, its setting
    predicted_by: str  # heading of the predictions of `extremes`
    # Best, median and worst validation image of the leading run or, with cross-validation, of all folds of its setting,
    # and a part of a large worst image at full scale.
    extremes: tuple[Sample, ...]
    runs: tuple[str, ...]
    samples: tuple[Sample, ...]
    score: str  # sentence that explains the number below each prediction
    classes: tuple[LegendEntry, ...]
    errors: tuple[LegendEntry, ...]
    omitted: str  # sentence on runs that are not shown; may be empty
    strip: tuple[EmbeddedImage, ...]  # predictions for the showcase, in the order of the epochs
    problems: tuple[Notice, ...]


MAX_RUNS = 50  # runs with example images; more would make the page too large for email


def build_examples(context: PageContext) -> Examples:
    """Build example predictions of the best run of each variant, or of the runs that were selected by name.

    At most `MAX_RUNS` runs are shown.

    Raises:
        PipelineError: The data are missing, or no run has predictions.
    """
    names = _list_runs(context)
    shown, num_omitted, problems = names[:MAX_RUNS], len(names) - MAX_RUNS, list[Notice]()
    kept: dict[str, frozenset[str]] = {}
    for name in shown:
        with collect_problem(problems, f"{name}: no example predictions"):
            kept[name] = context.project.evaluation(name).list_examples()
    run = context.leading_run or ""
    extremes = _build_extremes(context, run, problems) if run in kept else ()
    samples = _build_samples(context, kept, {sample.id for sample in extremes}, problems)
    strip = _build_strip(context, run, problems) if run else ()
    if not samples and not extremes and not strip:
        if problems:
            raise PipelineError(" ".join(notice.text for notice in problems))
        raise NothingToShowError("No run on this page has a model.")
    return Examples(
        leading_run=run,
        setting=context.name_run(run) if run else "",
        predicted_by=name_predictor(context, run),
        extremes=extremes,
        runs=tuple(kept),
        samples=samples,
        score=_explain_score(context.primary_score),
        classes=build_class_legend([*extremes, *samples], context.dataset.classes),
        errors=build_error_legend([*extremes, *samples]),
        omitted=f"{pluralize(num_omitted, 'further run')} would make the page too large. Select fewer runs to see them."
        if num_omitted > 0
        else "",
        strip=strip,
        problems=tuple(problems),
    )


def _explain_score(primary: PrimaryScore) -> str:
    if primary.is_mean:
        return "The number below each pair is the mean IoU over the classes in the image."
    return f"The number below each pair is the {primary.name}: intersection over union of prediction and ground truth."


def _list_runs(context: PageContext) -> Sequence[str]:
    """List the runs to show: runs selected by name that have a model, or the best run of each variant."""
    if context.selection.kind == "named":
        return [row.run for row in context.selection.rows if row.best_epoch is not None]
    return context.shown_best_runs


def _build_extremes(context: PageContext, leading: str, problems: list[Notice]) -> tuple[Sample, ...]:
    """Build the validation images with the lowest, median and highest loss, if their predictions are stored.

    With cross-validation, these are images of all folds, each predicted by the run that validated it.
    """
    losses, predicted_by = dict[str, float](), dict[str, str]()  # the latter only for stored predictions
    for run in context.summary.list_fold_runs(context.summary.get_run(leading)):
        with collect_problem(problems, f"{run}: its best and worst images are unknown"):
            found = context.read_image_scores(run, "loss", "validation")  # only of images with evaluated pixels
            kept = context.project.evaluation(run).list_examples()
            losses |= found
            predicted_by |= {sample: run for sample in found if sample in kept}
    if not predicted_by:
        return ()
    ordered = sorted(losses, key=lambda sample: losses[sample])
    # The run of a fold stores the median image of this fold, which is near the one of all folds.
    median = ordered[len(ordered) // 2]
    near = min(predicted_by, key=lambda sample: (abs(losses[sample] - losses[median]), sample != median))
    words = {ordered[0]: "best", near: "median" if near == median else "near the median", ordered[-1]: "worst"}
    places = {sample: predicted_by[sample] for sample in words if sample in predicted_by}
    shown = []
    for sample in build_validated_samples(context, places, problems):
        run = "" if places[sample.id] == leading else f", {places[sample.id]}"
        shown.append(replace(sample, note=f"{words[sample.id]}, loss {format_number(losses[sample.id])}{run}"))
    if ordered[-1] in predicted_by:
        run = predicted_by[ordered[-1]]
        with collect_problem(problems, f"{run}: no part of its worst image at full scale"):
            crop = build_crop(context, run, ordered[-1])
            shown += [crop] if crop else []
    return tuple(shown)


def _build_samples(
    context: PageContext, kept: dict[str, frozenset[str]], extremes: set[str], problems: list[Notice]
) -> tuple[Sample, ...]:
    # Each run stores predictions of samples that all runs share, and of its own best and worst images. The latter are
    # not shown side by side.
    validated = context.validated_ids
    common = set(validated).intersection(*kept.values()) if kept else set()
    wanted = common or {sample for samples in kept.values() for sample in samples}
    if len(kept) == 1:
        wanted = wanted - extremes  # the extremes are shown above
    return build_samples(context, kept, [sample for sample in validated if sample in wanted], problems)


def _build_strip(context: PageContext, run: str, problems: list[Notice]) -> tuple[EmbeddedImage, ...]:
    """Render a run's predictions for the showcase after selected epochs, including the best one."""
    with collect_problem(problems, f"{run}: no predictions for the showcase over epochs"):
        masks, kept = context.project.run(run).read_showcase_masks(), context.project.run(run).record.best_epoch
        classes, frame = context.dataset.classes, context.get_frame(SHOWCASE, 0)
        return tuple(
            image_html.render_mask(
                frame.crop(masks[epoch - 1]),
                classes,
                f"Prediction for the showcase after epoch {epoch}",
                f"Epoch {epoch}, best" if epoch == kept else f"Epoch {epoch}",
                frame,
            )
            for epoch in choose_epochs(len(masks), kept)
        )
    return ()
