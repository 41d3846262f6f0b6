"""The score of the grid's best on the images that chose nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pipeline.analysis.scores import name_object_iou
from pipeline.analysis.seeds import spread
from pipeline.comparison import Summary
from pipeline.errors import PipelineError
from pipeline.report import view, wording
from pipeline.report.material import Material
from pipeline.report.selection import Chosen
from pipeline.runs import Scores


@dataclass(frozen=True)
class ScoreLine:
    """A model's scores on a split."""

    split: str
    figures: tuple[str, ...]
    test: bool


@dataclass(frozen=True)
class Column:
    """A column of the table of scores."""

    heading: str
    value: Callable[[Scores], float | None]


@dataclass(frozen=True)
class Test:
    """The grid's best on the images that chose nothing."""

    sentence: str
    headings: tuple[str, ...]
    lines: tuple[ScoreLine, ...]
    by_class: tuple[ScoreLine, ...]  # a line per class and a figure per split, if the table would be too wide
    splits: tuple[str, ...]  # the headings of `by_class`
    undefined: bool  # whether a score is not defined
    size: str  # at which size the scores are
    means: str  # how many classes each mean IoU is over, if the splits differ; else empty
    problems: tuple[view.Card, ...]


MAX_WIDTH = 1024  # px, of a table on a screen of 1280 px
WIDE, NARROW, PADDING = 7.8, 4.0, 19.2  # px, about: of a character, of one of `.,|il` or a space, of a column
ALIKE, ALIKE_SHARE = 0.005, 0.1  # nats per pixel, and share of the loss: smaller differences are not reported


def test(material: Material, chosen: Chosen) -> Test:
    """The best run's scores on every split; raises `PipelineError` where there is no best or no test score."""
    best = material.summary.best
    if best is None:
        raise view.NothingToShowError("No run is the best, so the test images stay unseen.")
    if chosen.origin:
        raise view.NothingToShowError(
            "These runs were picked, not chosen on validation alone: their test stays unseen."
        )
    if best.run not in chosen.names:
        raise view.NothingToShowError(
            f"The test images were scored for {best.run} alone, which validation chose and this page leaves out."
        )
    if best.test is None:
        raise PipelineError(f"The comparison holds no test score of {best.run}. Run `dvc repro evaluate@{best.run}`.")
    problems: list[view.Card] = []
    train = validation = None
    try:
        scores = material.evaluation(best.run)
        train, validation = scores.train, scores.validation
    except PipelineError as error:
        problems.append(view.Card.of(f"{best.run}: no scores beside those of the test", error))
    names = tuple(best.test.iou)
    splits = (("Training, its fixed subset", train), ("Validation", validation), ("Test", best.test))
    known = [(split, scores) for split, scores in splits if scores]
    columns = _set_columns(material.summary, [scores for _, scores in known])
    every = (*columns, *(_class_column(name) for name in names))
    headings = tuple(column.heading for column in every)
    lines = (
        *(ScoreLine(split, _figures(scores, every), split == "Test") for split, scores in known),
        *_over_seeds(best.test_by_seed, every),
    )
    is_wide = _width(headings, lines) > MAX_WIDTH
    shown = len(columns) if is_wide else len(every)
    return Test(
        sentence=_sentence(best.run, best.test, validation, _optimism(material, best.run)),
        headings=headings[:shown],
        lines=tuple(replace(line, figures=line.figures[:shown]) for line in lines),
        by_class=tuple(
            ScoreLine(name, tuple(line.figures[place] for line in lines), test=False)
            for place, name in enumerate(names, start=len(columns))
            if is_wide
        ),
        splits=tuple(line.split for line in lines),
        undefined=any(column.value(scores) is None for _, scores in known for column in every),
        size=_describe_size(material),
        means=_describe_means(known),
        problems=tuple(problems),
    )


def _describe_size(material: Material) -> str:
    """Say at which size the masks are compared, and what that means for larger originals; empty if it is unknown."""
    try:
        height, width = material.truth("train", 0).shape
        table = material.sample_table
    except PipelineError:
        return ""  # the section on the data reports the error
    sentence = f"All scores are at the prepared size, {width} × {height} pixels, against masks resized to it."
    if not ((table["height"] > height) | (table["width"] > width)).any():
        return sentence
    return (
        f"{sentence} At the size of the originals they are lower, mostly those of thin and small classes; "
        "`pipeline data --check` shows how high they can be."
    )


def _describe_means(known: Sequence[tuple[str, Scores]]) -> str:
    counts = {split: sum(iou is not None for iou in scores.iou.values()) for split, scores in known}
    if len(set(counts.values())) < 2:
        return ""
    listed = wording.listing([f"{count} ({split})" for split, count in counts.items()])
    return f"Each mean IoU is over the classes that its images have, so they are not of the same classes: {listed}."


def _width(headings: Sequence[str], lines: Sequence[ScoreLine]) -> float:
    """Estimate the width of a table in px; headings wrap at spaces, figures do not."""
    columns = zip(headings, *(line.figures for line in lines), strict=True)
    cells = [[line.split for line in lines], *((*heading.split(), *figures) for heading, *figures in columns)]
    return sum(PADDING + max(map(_text_width, texts), default=0) for texts in cells)


def _text_width(text: str) -> float:
    return sum(NARROW if character in ".,|il " else WIDE for character in text)


def _set_columns(summary: Summary, known: Sequence[Scores]) -> tuple[Column, ...]:
    """Choose the columns on all classes.

    The IoU of a single foreground class is that of the class, and not repeated. Scores that are undefined for these
    classes are left out.
    """
    columns = [
        Column("Loss", lambda scores: scores.loss),
        Column("Accuracy", lambda scores: scores.accuracy),
        Column("Mean IoU", lambda scores: scores.mean_iou),
    ]
    if len(summary.foreground) != 1 and any(scores.foreground_iou is not None for scores in known):
        columns.append(Column("Foreground IoU", lambda scores: scores.foreground_iou))
    if any(scores.object_iou is not None for scores in known):
        columns.append(Column(name_object_iou(summary.foreground, summary.boundary), lambda scores: scores.object_iou))
    return tuple(columns)


def _class_column(name: str) -> Column:
    return Column(f"IoU of {name}", lambda scores: scores.iou.get(name))


def _figures(scores: Scores, columns: tuple[Column, ...]) -> tuple[str, ...]:
    return tuple(wording.number(column.value(scores)) for column in columns)


def _over_seeds(seeds: tuple[Scores, ...], columns: tuple[Column, ...]) -> tuple[ScoreLine, ...]:
    """Compute mean and standard deviation over the seeds of the chosen learning rate; empty for one seed."""
    if len(seeds) < 2:
        return ()
    values = ([column.value(scores) for scores in seeds] for column in columns)
    spreads = (spread([value for value in column if value is not None]) for column in values)
    figures = tuple(wording.spread(mean, sd) for mean, sd in spreads)
    return (ScoreLine(f"Test, over {len(seeds)} seeds", figures, test=False),)


def _optimism(material: Material, run: str) -> float | None:
    row = next(row for row in material.summary.runs if row.run == run)
    return row.judgement.optimism if row.judgement else None


def _sentence(run: str, score: Scores, validation: Scores | None, optimism: float | None) -> str:
    if score.loss is None:
        return f"{run} was chosen on validation alone; no pixel of the test images is evaluated: it has no test scores."
    start = (
        f"{run} was chosen on validation alone; on the test images its loss is {wording.number(score.loss)} nats a "
        f"pixel and its mean IoU {wording.number(score.mean_iou)}."
    )
    if validation is None or validation.loss is None:
        return start
    difference = score.loss - validation.loss
    if abs(difference) < min(ALIKE, ALIKE_SHARE * validation.loss):
        return f"{start} That is what validation promised ({wording.number(validation.loss)})."
    word = "more" if difference > 0 else "less"
    meaning = (
        f"{_flattery(optimism)}the choice was a little lucky, or these images are harder"
        if difference > 0
        else "these images are no harder than those that chose it"
    )
    return (
        f"{start} The loss is {wording.number(abs(difference))} {word} than on validation "
        f"({wording.number(validation.loss)}): {meaning}."
    )


def _flattery(optimism: float | None) -> str:
    """How much of the difference choosing the epoch explains, where that is known and shows."""
    if optimism is None or optimism < ALIKE / 10:
        return ""
    return f"choosing the epoch by the validation images flatters them by {wording.number(optimism)}; beyond that, "
