"""Results of several authors on the same data: their distribution, the ranking, and the reader's rank."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from pipeline.analysis.leaderboard import AuthorResults, SeedResult, SettingResult, count_worse_settings, rank_authors
from pipeline.report.context import ReportContext
from pipeline.report.figures.strip_plot import draw_strip_plot
from pipeline.report.formatting import format_number, format_spread, pluralize

MAX_AUTHORS = 40  # rows of the figure and of the table; other authors are counted


@dataclass(frozen=True)
class TeamResults:
    """All results for a data set in MLflow, and the name of the reader."""

    results: tuple[SeedResult, ...]
    reader: str  # the user who renders the report


@dataclass(frozen=True)
class Authors:
    """The ranking of several authors on the same data."""

    sentences: tuple[str, ...]
    figure: Markup | None  # None if no run finished
    ranking: tuple[tuple[int, AuthorResults], ...]  # rank and author
    reader: str
    num_omitted: int  # authors that are not shown


def build_authors(team: TeamResults, context: ReportContext) -> Authors:
    """Build the ranking of the authors and the figure of their results."""
    found = rank_authors(team.results)
    mine = next((one for one in found if one.name == team.reader), None)
    shown = [one for place, one in enumerate(found) if place < MAX_AUTHORS or one is mine]
    drawn = [one for one in shown if one.losses]
    return Authors(
        sentences=_describe_ranking(found, mine),
        figure=draw_strip_plot(drawn, team.reader, context.summary.baseline_loss, context.project) if drawn else None,
        ranking=tuple((found.index(one) + 1, one) for one in shown),
        reader=team.reader,
        num_omitted=len(found) - len(shown),
    )


def _describe_ranking(found: tuple[AuthorResults, ...], mine: AuthorResults | None) -> tuple[str, ...]:
    first, best = found[0], found[0].best
    people, runs = pluralize(len(found), "person", "people"), sum(one.num_runs for one in found)
    start = f"{people} trained {pluralize(runs, 'run')} on these images."
    if best is None:
        return (f"{start} No setting has finished with all its seeds.",)
    leader = f"{start} {first.name} leads with {_describe_setting(best)}."
    if mine is None or mine.best is None:
        return (leader,)
    worse, tried = count_worse_settings(mine.best, [one for one in found if one is not mine])
    place = f"This loss is lower than that of {worse} of the other authors’ {tried} settings." if tried else ""
    if mine is first:
        return (f"{leader} {place}".rstrip(),)
    behind = mine.best.val_loss - best.val_loss
    standing = (
        f"{mine.name} has rank {found.index(mine) + 1} of {len(found)} with {_describe_setting(mine.best)}, "
        f"{format_number(behind)} behind {first.name}."
    )
    return leader, " ".join(filter(None, (standing, place, _describe_doubt(mine.best, best))))


def _describe_doubt(mine: SettingResult, best: SettingResult) -> str:
    """Explain why the difference between two settings may be chance; the text is empty if nothing suggests it."""
    if mine.val_loss_sd is None or best.val_loss_sd is None:
        return "A single seed cannot rank settings: another seed may reverse the order."
    sd = max(mine.val_loss_sd, best.val_loss_sd)
    if mine.val_loss - best.val_loss < sd:
        return f"The difference is less than the standard deviation over seeds of one setting ({format_number(sd)})."
    return ""


def _describe_setting(best: SettingResult) -> str:
    loss = format_spread(best.val_loss, best.val_loss_sd)
    seeds = pluralize(best.seeds, "seed")
    return f"{best.variant} at learning rate {best.learning_rate} and a loss of {loss} ({seeds})"
