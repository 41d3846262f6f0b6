"""Several people's results on the same data, how they are distributed, and where the reader stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from pipeline.analysis.authors import Author, SeedResult, beaten, by_author
from pipeline.report import wording
from pipeline.report.figures.strip import strip
from pipeline.report.material import Material

MOST = 40  # authors in the figure and in the table; more are counted


@dataclass(frozen=True)
class Everybody:
    """All that a server knows of these data, and who looks at it."""

    results: tuple[SeedResult, ...]
    reader: str


@dataclass(frozen=True)
class AuthorLine:
    """An author's best setting; `setting` is a sentence instead, and `figures` are empty, where there is none."""

    rank: str
    name: str
    setting: str
    figures: tuple[str, ...]
    runs: str
    mine: bool


@dataclass(frozen=True)
class Authors:
    """Several people's results on the same data."""

    sentences: tuple[str, ...]
    figure: Markup | None  # None where no run of anybody finished
    lines: tuple[AuthorLine, ...]
    left: int  # authors that are only counted


def authors(everybody: Everybody, material: Material, root: Path) -> Authors:
    """A line an author, the best first."""
    found = by_author(everybody.results)
    mine = next((one for one in found if one.name == everybody.reader), None)
    shown = [one for place, one in enumerate(found) if place < MOST or one is mine]
    drawn = [one for one in shown if one.losses]
    return Authors(
        sentences=_sentences(found, mine),
        figure=strip(drawn, everybody.reader, material.summary.baseline_loss, root) if drawn else None,
        lines=tuple(_line(found.index(one), one, mine=one is mine) for one in shown),
        left=len(found) - len(shown),
    )


def _sentences(found: tuple[Author, ...], mine: Author | None) -> tuple[str, ...]:
    first = found[0]
    people, runs = wording.plural(len(found), "person", "people"), sum(len(one.losses) + one.diverged for one in found)
    start = f"{people} trained {wording.plural(runs, 'run')} on these images."
    if first.best is None:
        return (f"{start} None has a learning rate all of whose seeds finished.",)
    leader = f"{start} {first.name} leads with {_setting(first)} at {_loss(first)}."
    if mine is None or mine.best is None:
        return (leader,)
    worse, tried = beaten(mine.best, [one for one in found if one is not mine])
    place = f"Its loss is lower than that of {worse} of the {tried} settings that the others tried." if tried else ""
    if mine is first:
        return (f"{leader} {place}".rstrip(),)
    behind = mine.best.val_loss - first.best.val_loss
    standing = (
        f"{mine.name} is number {found.index(mine) + 1} of {len(found)}, with {_setting(mine)} at {_loss(mine)}, "
        f"{wording.number(behind)} behind. {place}"
    )
    return leader, standing + _doubt(mine, first, behind)


def _doubt(mine: Author, first: Author, behind: float) -> str:
    """What speaks against taking the difference of two people's best for more than luck."""
    assert mine.best is not None
    assert first.best is not None
    if mine.best.val_loss_sd is None or first.best.val_loss_sd is None:
        return " One seed ranks nothing: another may turn the order around."
    scatter = max(mine.best.val_loss_sd, first.best.val_loss_sd)
    if behind < scatter:
        return f" That is less than the seeds of one setting differ (standard deviation {wording.number(scatter)})."
    return ""


def _setting(author: Author) -> str:
    assert author.best is not None
    return f"{author.best.variant} at {wording.rate(author.best.learning_rate)}"


def _loss(author: Author) -> str:
    assert author.best is not None
    seeds = wording.plural(author.best.seeds, "seed")
    return f"a loss of {wording.spread(author.best.val_loss, author.best.val_loss_sd)} ({seeds})"


def _line(place: int, author: Author, *, mine: bool) -> AuthorLine:
    runs = str(len(author.losses) + author.diverged) + (f", {author.diverged} diverged" if author.diverged else "")
    best = author.best
    if best is None:
        return AuthorLine(wording.NONE, author.name, "every setting has a diverged seed", (), runs, mine)
    figures = (
        wording.spread(best.val_loss, best.val_loss_sd),
        wording.number(best.gap),
        wording.number(best.val_mean_iou),
        str(best.seeds),
    )
    return AuthorLine(str(place + 1), author.name, _setting(author), figures, runs, mine)
