"""Test scores of the grid's best run, on images used neither for training nor for selection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from pipeline.analysis.scores import name_object_iou
from pipeline.analysis.seed_statistics import compute_mean_and_sd
from pipeline.artifacts.comparison import Summary
from pipeline.artifacts.scores import Scores
from pipeline.errors import PipelineError
from pipeline.number_format import format_number, format_spread
from pipeline.report.notices import NothingToShowError, Notice, collect_problem
from pipeline.report.page_context import PageContext
from pipeline.wording import join_words


@dataclass(frozen=True)
class TestScores:
    """Scores of the grid's best run on every split."""

    sentence: str
    headings: tuple[str, ...]
    lines: dict[str, tuple[str, ...]]  # figures under the headings, by split
    by_class: dict[str, tuple[str, ...]]  # one figure per split, by class; empty if `lines` has room for the classes
    has_undefined: bool  # whether a score is undefined
    size: str  # sentences on the size at which masks are compared; may be empty
    means: str  # sentence on the number of classes in each mean IoU; empty if it is the same in all splits
    problems: tuple[Notice, ...]


Columns = dict[str, Callable[[Scores], float | None]]  # function that returns the score, by heading

MAX_WIDTH = 1024  # px, width of a table on a screen that is 1280 px wide
WIDE, NARROW, PADDING = 7.8, 4.0, 19.2  # px, approximate widths: most characters; `.,|il` and spaces; column padding
MIN_DIFFERENCE, MIN_DIFFERENCE_SHARE = 0.005, 0.1  # nats per pixel, and fraction of the loss; less is not reported


def build_test_scores(context: PageContext) -> TestScores:
    """Build the best run's scores on every split.

    Raises:
        PipelineError: There is no best run on this page, or it has no test score.
    """
    best = context.summary.best
    if best is None:
        raise NothingToShowError("There is no best run, so nothing was evaluated on the test images.")
    if context.selection.origin:
        raise NothingToShowError("These runs were not chosen on validation alone, so their test scores are not shown.")
    if context.shown_best_setting is None:
        raise NothingToShowError(
            f"Only {best.run}, which was chosen on validation, has test scores, and it is not on this page."
        )
    if best.test is None:
        raise PipelineError(
            f"The comparison contains no test score of {best.run}. Run `dvc repro evaluate@{best.run}`."
        )
    problems: list[Notice] = []
    train = validation = None
    with collect_problem(problems, f"{best.run}: no training and validation scores"):
        scores = context.project.evaluation(best.run).metrics
        train, validation = scores.train, scores.validation
    splits = {"Training (fixed subset)": train, "Validation": validation, "Test": best.test}
    known = {split: scores for split, scores in splits.items() if scores}
    columns, names = _choose_columns(context.summary, [*known.values()]), tuple(best.test.iou)
    every: Columns = {**columns, **{f"IoU of {name}": partial(_get_iou, name=name) for name in names}}
    lines = {split: tuple(format_number(get(scores)) for get in every.values()) for split, scores in known.items()}
    if len(best.test_by_seed) > 1:
        spreads = [compute_mean_and_sd(map(get, best.test_by_seed)) for get in every.values()]
        lines[f"Test, over {context.summary.describe_seeds(best)}"] = tuple(
            format_spread(mean, sd) for mean, sd in spreads
        )
    is_wide = _estimate_width([*every], lines) > MAX_WIDTH
    shown = len(columns) if is_wide else len(every)
    judgment = context.summary.get_run(best.run).judgment
    return TestScores(
        sentence=_describe(best.run, best.test, validation, judgment.selection_bias if judgment else None),
        headings=tuple(every)[:shown],
        lines={split: figures[:shown] for split, figures in lines.items()},
        by_class={
            name: tuple(figures[place] for figures in lines.values())
            for place, name in enumerate(names, start=len(columns))
            if is_wide
        },
        has_undefined=any(get(scores) is None for scores in known.values() for get in every.values()),
        size=_describe_size(context),
        means=_describe_means(known),
        problems=tuple(problems),
    )


def _describe_size(context: PageContext) -> str:
    """Describe the size at which masks are compared, and its effect if the originals are larger.

    The text is empty if the size is unknown.
    """
    try:
        size = context.prepared.open_split("train").images.size
        table = context.prepared.samples
    except PipelineError:
        return ""  # the section on the data reports the error
    if size is None:
        sentence = "All scores are computed at the size of each prepared image."
    else:
        sentence = (
            f"All scores are computed at the prepared size, {size[1]} × {size[0]} pixels, with masks resized to it."
        )
    if not ((table["height"] > table["prepared_height"]) | (table["width"] > table["prepared_width"])).any():
        return sentence
    return (
        f"{sentence} At the size of the originals, scores are lower, mostly for thin and small classes. "
        "`pipeline data check` shows the highest possible IoU."
    )


def _describe_means(known: Mapping[str, Scores]) -> str:
    counts = {split: sum(iou is not None for iou in scores.iou.values()) for split, scores in known.items()}
    if len(set(counts.values())) < 2:
        return ""
    listed = join_words([f"{count} ({split})" for split, count in counts.items()])
    return f"Each mean IoU covers only the classes in its images. The number of classes differs: {listed}."


def _estimate_width(headings: Sequence[str], lines: Mapping[str, tuple[str, ...]]) -> float:
    """Estimate the width of a table in px, in which headings wrap at spaces and numbers do not wrap."""
    columns = zip(headings, *lines.values(), strict=True)
    cells = [[*lines], *((*heading.split(), *figures) for heading, *figures in columns)]
    return sum(
        PADDING + max(sum(NARROW if letter in ".,|il " else WIDE for letter in text) for text in texts)
        for texts in cells
    )


def _choose_columns(summary: Summary, known: Sequence[Scores]) -> Columns:
    """Choose the columns of scores over all classes.

    Foreground IoU is left out if there is only one foreground class, because it is the IoU of that class. Scores that
    are undefined for these classes are left out as well.
    """
    columns: Columns = {
        "Loss": lambda scores: scores.loss,
        "Accuracy": lambda scores: scores.accuracy,
        "Mean IoU": lambda scores: scores.mean_iou,
    }
    if len(summary.foreground) != 1 and any(scores.foreground_iou is not None for scores in known):
        columns["Foreground IoU"] = lambda scores: scores.foreground_iou
    if any(scores.object_iou is not None for scores in known):
        columns[name_object_iou(summary.foreground, summary.boundary)] = lambda scores: scores.object_iou
    return columns


def _get_iou(scores: Scores, name: str) -> float | None:
    return scores.iou.get(name)


def _describe(run: str, score: Scores, validation: Scores | None, selection_bias: float | None) -> str:
    if score.loss is None:
        return f"{run} has no test scores: the test images have no evaluated pixels."
    start = (
        f"{run} was chosen on validation alone; its test loss is {format_number(score.loss)} nats per pixel "
        f"and its test mean IoU {format_number(score.mean_iou)}."
    )
    if validation is None or validation.loss is None:
        return start
    difference = score.loss - validation.loss
    if abs(difference) < min(MIN_DIFFERENCE, MIN_DIFFERENCE_SHARE * validation.loss):
        return f"{start} This matches its validation loss ({format_number(validation.loss)})."
    word = "higher" if difference > 0 else "lower"
    meaning = (
        f"{_describe_selection_bias(selection_bias)}chance or harder test images explain the difference"
        if difference > 0
        else "the test images are not harder than the validation images"
    )
    return (
        f"{start} The loss is {format_number(abs(difference))} {word} than on validation "
        f"({format_number(validation.loss)}): {meaning}."
    )


def _describe_selection_bias(selection_bias: float | None) -> str:
    """Describe the effect of choosing the best epoch; empty if the effect is unknown or negligible."""
    if selection_bias is None or selection_bias < MIN_DIFFERENCE / 10:
        return ""
    return f"choosing the best epoch lowers the validation loss by {format_number(selection_bias)}; beyond that, "
