"""What the page says, as plain values: the templates show these and compute nothing.

A new section is a view class here, a builder that fills it from the stages' files, a template, and a line in `page.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from pipeline.errors import PipelineError


class NothingToShowError(PipelineError):
    """What a section is about does not exist in this grid, though nothing is missing that should be there."""


@dataclass(frozen=True)
class Card:
    """A small note that stands where something is missing: what, and what to do."""

    title: str
    text: str
    fault: bool  # whether it should have been there

    @classmethod
    def of(cls, title: str, error: PipelineError) -> Card:
        """The card that stands where an error came from."""
        return cls(title, str(error), fault=not isinstance(error, NothingToShowError))


@dataclass(frozen=True)
class Picture:
    """An image of the page, whole in its address."""

    src: str  # data URI
    alt: str
    caption: str
    width: int  # px of the file, not of the page
    height: int
    crisp: bool  # masks keep their pixels, photographs are smoothed


@dataclass(frozen=True)
class Key:
    """An entry of a legend: a colour and what it stands for."""

    colour: str  # #rrggbb
    text: str


@dataclass(frozen=True)
class Showcase:
    """The image outside all splits that the report shows first."""

    pictures: tuple[Picture, ...]
    keys: tuple[Key, ...]
    verdict: str
    detail: str
    failed: bool


@dataclass(frozen=True)
class Head:
    """Title, authorship, data and result."""

    title: str
    byline: str
    data: str
    credit: str
    result: str
    scope: str  # which part of the grid the page shows; empty where it shows all
    showcase: Showcase | None
    problems: tuple[Card, ...]


@dataclass(frozen=True)
class MapFigure:
    """Maps from inside a network, side by side."""

    pictures: tuple[Picture, ...]
    caption: str


@dataclass(frozen=True)
class NotesPart:
    """A stretch of the author's words, as safe HTML, and the figure behind it."""

    html: Markup
    figure: MapFigure | None


@dataclass(frozen=True)
class Notes:
    """The author's words."""

    parts: tuple[NotesPart, ...]


@dataclass(frozen=True)
class FindingLine:
    """What was learned, and what it rests on."""

    sentence: str
    runs: tuple[str, ...]  # of the table of all runs, to be linked


@dataclass(frozen=True)
class Findings:
    """What was learned, the most important first."""

    lines: tuple[FindingLine, ...]


@dataclass(frozen=True)
class RateKey:
    """A learning rate in the legend of the curves."""

    text: str
    place: int  # among the grid's rates
    colour: str  # CSS value
    marker: str  # SVG path in a box from -4 to 4


@dataclass(frozen=True)
class Panel:
    """The curves of one variant."""

    variant: str
    svg: Markup
    values: str  # JSON that a pointer reads from: where the axis lies in the figure, and the curves' numbers
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Curves:
    """A panel a variant, on shared axes."""

    rates: tuple[RateKey, ...]
    panels: tuple[Panel, ...]
    columns: int
    baseline: str
    seeds: bool  # whether more than one seed was trained, so that there is a band
    diverged: bool
    onsets: bool  # whether a run has an onset that is marked
    references: bool  # whether other people's curves are drawn
    axis: str


@dataclass(frozen=True)
class RateLine:
    """A variant at a learning rate."""

    rate: str
    val_loss: str
    gap: str
    mean_iou: str
    seeds: str
    mark: str  # what it is the best of, or why it is not ranked
    best: bool
    best_of_grid: bool


@dataclass(frozen=True)
class VariantLines:
    """The rates of a variant."""

    variant: str
    lines: tuple[RateLine, ...]


@dataclass(frozen=True)
class HeatCell:
    """A variant at a rate in a heat map."""

    mean: str
    spread: str  # ± standard deviation; empty where one seed gives none
    share: str  # 0 to 1, from the lowest to the highest of the map
    best: bool


@dataclass(frozen=True)
class HeatMap:
    """Variants by learning rates."""

    title: str
    rates: tuple[str, ...]
    rows: tuple[tuple[str, tuple[HeatCell | None, ...]], ...]  # a variant and its cells; None: not ranked


@dataclass(frozen=True)
class Glance:
    """The grid, over seeds."""

    maps: tuple[HeatMap, ...]  # none where there are fewer than two rates or variants
    groups: tuple[VariantLines, ...]
    baseline_loss: str
    baseline_iou: str


@dataclass(frozen=True)
class RunLine:
    """A run in the table of all runs."""

    run: str
    rate: str
    seed: str
    verdict: str  # one word
    evidence: str  # phrases that it rests on; may be empty
    reason: str  # instead of the figures, where there are none
    figures: tuple[str, ...]
    values: str  # JSON list to sort by, an entry a column
    best: bool


@dataclass(frozen=True)
class ReferenceLine:
    """Other people's result below the runs."""

    name: str
    verdict: str
    evidence: str
    figures: tuple[str, ...]


@dataclass(frozen=True)
class RunTable:
    """All runs of the selection, and what others got."""

    headings: tuple[str, ...]
    figures: int  # how many of the headings are figures
    lines: tuple[RunLine, ...]
    not_checked: tuple[str, ...]  # sentences: which checks of the verdicts could not be made, and why
    references: tuple[ReferenceLine, ...]
    sources: tuple[tuple[str, str], ...]  # of the references: name, and whose it is
    problems: tuple[Card, ...]


@dataclass(frozen=True)
class ScoreLine:
    """A model's scores on a split."""

    split: str
    figures: tuple[str, ...]
    test: bool


@dataclass(frozen=True)
class Test:
    """The grid's best on the images that chose nothing."""

    sentence: str
    headings: tuple[str, ...]
    lines: tuple[ScoreLine, ...]
    problems: tuple[Card, ...]


@dataclass(frozen=True)
class Shot:
    """A run's prediction for a sample, beside its errors."""

    prediction: Picture
    errors: Picture
    iou: str


@dataclass(frozen=True)
class Sample:
    """An example with what every run made of it; None where a run has no picture."""

    id: str
    image: Picture
    truth: Picture
    shots: tuple[Shot | None, ...]


@dataclass(frozen=True)
class Examples:
    """Segmentations side by side, and the showcase's mask while the best run learned."""

    runs: tuple[str, ...]
    samples: tuple[Sample, ...]
    classes: tuple[Key, ...]
    errors: tuple[Key, ...]
    left_out: str
    strip: tuple[Picture, ...]
    strip_run: str
    problems: tuple[Card, ...]


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
    run: str
    problems: tuple[Card, ...]


@dataclass(frozen=True)
class Command:
    """A command and what it does."""

    line: str
    effect: str


@dataclass(frozen=True)
class Reproduce:
    """How to make the numbers again."""

    commands: tuple[Command, ...]
    identity: tuple[tuple[str, str], ...]
    parameters: tuple[tuple[str, str], ...]
    live: tuple[tuple[str, str], ...]  # what differs though the numbers are the same; none on the grid's own page
    run: str
    problems: tuple[Card, ...]
