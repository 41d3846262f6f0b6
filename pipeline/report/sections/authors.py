"""Results of several authors on the same data: their distribution, the ranking, and the reader's rank."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from pipeline.analysis.leaderboard import AuthorResults, SettingResult, TeamResults, count_worse_settings, rank_authors
from pipeline.analysis.ranked_metric import RankedMetric, get_ranked_metric
from pipeline.number_format import format_number, format_spread
from pipeline.report.context import ReportContext
from pipeline.report.figures.strip_plot import draw_strip_plot
from pipeline.wording import pluralize

MAX_AUTHORS = 40  # rows of the figure and of the table; other authors are counted


@dataclass(frozen=True)
class Authors:
    """The ranking of several authors on the same data."""

    metric: RankedMetric
    sentences: tuple[str, ...]
    figure: Markup | None  # None if no run finished
    ranking: tuple[tuple[int, AuthorResults], ...]  # rank and author
    reader: str
    num_omitted: int  # authors that are not shown


def build_authors(team: TeamResults, context: ReportContext) -> Authors | None:
    """Build the ranking of the authors and the figure of their results; None for a single author."""
    metric = get_ranked_metric(context.summary)
    found = rank_authors(team.results, metric)
    if len(found) < 2:
        return None
    mine = next((one for one in found if one.name == team.reader), None)
    shown = [one for place, one in enumerate(found) if place < MAX_AUTHORS or one is mine]
    drawn = [one for one in shown if one.values]
    baseline = context.summary.baseline_loss if metric.name == "val_loss" else 0.0
    return Authors(
        metric=metric,
        sentences=(*_describe_ranking(found, mine, metric), *team.left_out),
        figure=draw_strip_plot(drawn, team.reader, metric, baseline, context.project) if drawn else None,
        ranking=tuple((found.index(one) + 1, one) for one in shown),
        reader=team.reader,
        num_omitted=len(found) - len(shown),
    )


def _describe_ranking(
    found: tuple[AuthorResults, ...], mine: AuthorResults | None, metric: RankedMetric
) -> tuple[str, ...]:
    first, best = found[0], found[0].best
    people, runs = pluralize(len(found), "person", "people"), sum(one.num_runs for one in found)
    start = f"{people} trained {pluralize(runs, 'run')} on these images."
    if best is None:
        return (f"{start} No setting has finished with all its seeds.",)
    leader = f"{start} {first.name} leads with {_describe_setting(best, metric)}."
    if mine is None or mine.best is None:
        return (leader,)
    worse, tried = count_worse_settings(mine.best, [one for one in found if one is not mine], metric)
    title = metric.short_title
    place = f"This {title} is {metric.better} than that of {worse} of the other authors’ {tried} settings."
    place = place if tried else ""
    if mine is first:
        return (f"{leader} {place}".rstrip(),)
    behind = abs(mine.best.value - best.value)
    standing = (
        f"{mine.name} has rank {found.index(mine) + 1} of {len(found)} with {_describe_setting(mine.best, metric)}, "
        f"{format_number(behind, metric.digits)} behind {first.name}."
    )
    return leader, " ".join(filter(None, (standing, place, _describe_doubt(mine.best, best, metric))))


def _describe_doubt(mine: SettingResult, best: SettingResult, metric: RankedMetric) -> str:
    """Explain why the difference between two settings may be chance; the text is empty if nothing suggests it."""
    if mine.sd is None or best.sd is None:
        return "A single seed cannot rank settings: another seed may reverse the order."
    sd = max(mine.sd, best.sd)
    if abs(mine.value - best.value) < sd:
        number = format_number(sd, metric.digits)
        return f"The difference is less than the standard deviation over seeds of one setting ({number})."
    return ""


def _describe_setting(best: SettingResult, metric: RankedMetric) -> str:
    value = format_spread(best.value, best.sd, metric.digits)
    title = "a loss" if metric.name == "val_loss" else metric.title_with_article
    seeds = pluralize(best.seeds, "seed")
    return f"{best.variant} at learning rate {best.learning_rate} and {title} of {value} ({seeds})"
