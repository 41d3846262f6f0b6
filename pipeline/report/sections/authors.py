"""Results of several authors on the same data: distribution, ranking, and the reader's rank."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from pipeline.analysis.leaderboard import AuthorResults, SeedResult, count_worse_settings, rank_authors
from pipeline.report.context import ReportContext
from pipeline.report.figures.strip_plot import draw_strip_plot
from pipeline.report.formatting import MISSING, format_learning_rate, format_number, format_spread, pluralize

MAX_AUTHORS = 40  # in the figure and in the table; others are counted


@dataclass(frozen=True)
class TeamResults:
    """All results on a data set in MLflow, and the name of the reader."""

    results: tuple[SeedResult, ...]
    reader: str


@dataclass(frozen=True)
class AuthorRow:
    """An author's best setting; without one, `setting` is a sentence and `figures` are empty."""

    rank: str
    name: str
    setting: str
    figures: tuple[str, ...]
    runs: str
    is_reader: bool


@dataclass(frozen=True)
class Authors:
    """Results of several authors on the same data."""

    sentences: tuple[str, ...]
    figure: Markup | None  # None if no run finished
    rows: tuple[AuthorRow, ...]
    num_omitted: int  # authors that are not shown


def build_authors(team: TeamResults, context: ReportContext) -> Authors:
    """Build a row per author, the best first."""
    found = rank_authors(team.results)
    mine = next((one for one in found if one.name == team.reader), None)
    shown = [one for place, one in enumerate(found) if place < MAX_AUTHORS or one is mine]
    drawn = [one for one in shown if one.losses]
    return Authors(
        sentences=_describe_ranking(found, mine),
        figure=draw_strip_plot(drawn, team.reader, context.summary.baseline_loss, context.project) if drawn else None,
        rows=tuple(_build_row(found.index(one), one, mine=one is mine) for one in shown),
        num_omitted=len(found) - len(shown),
    )


def _describe_ranking(found: tuple[AuthorResults, ...], mine: AuthorResults | None) -> tuple[str, ...]:
    first = found[0]
    people, runs = pluralize(len(found), "person", "people"), sum(len(one.losses) + one.num_diverged for one in found)
    start = f"{people} trained {pluralize(runs, 'run')} on these images."
    if first.best is None:
        return (f"{start} No setting has all its seeds finished.",)
    leader = f"{start} {first.name} leads with {_format_setting(first)} at {_format_loss(first)}."
    if mine is None or mine.best is None:
        return (leader,)
    worse, tried = count_worse_settings(mine.best, [one for one in found if one is not mine])
    place = f"Its loss is lower than {worse} of the {tried} settings of the others." if tried else ""
    if mine is first:
        return (f"{leader} {place}".rstrip(),)
    behind = mine.best.val_loss - first.best.val_loss
    standing = (
        f"{mine.name} has rank {found.index(mine) + 1} of {len(found)}, with {_format_setting(mine)} at "
        f"{_format_loss(mine)}, {format_number(behind)} behind. {place}"
    )
    return leader, standing + _describe_doubt(mine, first, behind)


def _describe_doubt(mine: AuthorResults, first: AuthorResults, behind: float) -> str:
    """Describe why the difference between two authors may be chance; empty if nothing suggests it."""
    assert mine.best is not None
    assert first.best is not None
    if mine.best.val_loss_sd is None or first.best.val_loss_sd is None:
        return " A single seed cannot rank settings: another seed may reverse the order."
    sd = max(mine.best.val_loss_sd, first.best.val_loss_sd)
    if behind < sd:
        return f" This is less than the standard deviation over seeds of one setting ({format_number(sd)})."
    return ""


def _format_setting(author: AuthorResults) -> str:
    assert author.best is not None
    return f"{author.best.variant} at {format_learning_rate(author.best.learning_rate)}"


def _format_loss(author: AuthorResults) -> str:
    assert author.best is not None
    seeds = pluralize(author.best.seeds, "seed")
    return f"a loss of {format_spread(author.best.val_loss, author.best.val_loss_sd)} ({seeds})"


def _build_row(place: int, author: AuthorResults, *, mine: bool) -> AuthorRow:
    diverged = f", {author.num_diverged} diverged" if author.num_diverged else ""
    runs = f"{len(author.losses) + author.num_diverged}{diverged}"
    best = author.best
    if best is None:
        return AuthorRow(MISSING, author.name, "every setting has a diverged seed", (), runs, mine)
    figures = (
        format_spread(best.val_loss, best.val_loss_sd),
        format_number(best.gap),
        format_number(best.val_mean_iou),
        str(best.seeds),
    )
    return AuthorRow(str(place + 1), author.name, _format_setting(author), figures, runs, mine)
