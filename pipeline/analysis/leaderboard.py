"""Leaderboard of several authors who trained on the same data, with each author's settings averaged over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.analysis.ranked_metric import RankedMetric
from pipeline.analysis.seed_statistics import compute_mean_and_sd


@dataclass(frozen=True)
class SeedResult:
    """Result of one run at its best epoch."""

    author: str
    setting: str  # the same for runs that differ only in their seed
    variant: str
    learning_rate: float
    seed: int
    value: float | None  # of the metric that settings are ranked by, on validation; None if the run diverged
    gap: float | None  # validation minus training loss, nats per pixel; None if unknown
    val_mean_iou: float | None  # 0 to 1; None if unknown


@dataclass(frozen=True)
class TeamResults:
    """The results of all users' runs on the same data."""

    results: tuple[SeedResult, ...]  # oldest first
    reader: str  # the user who renders the report
    left_out: tuple[str, ...] = ()  # sentences on finished runs that cannot be compared


@dataclass(frozen=True)
class SettingResult:
    """Means of a setting over its seeds; `sd` is the sample standard deviation of `value`, None for one seed."""

    variant: str
    learning_rate: float
    seeds: int
    value: float
    sd: float | None
    gap: float | None
    val_mean_iou: float | None


@dataclass(frozen=True)
class AuthorResults:
    """All results of an author."""

    name: str
    settings: tuple[SettingResult, ...]  # best first; a setting with a diverged seed is excluded, as in a grid
    values: tuple[float, ...]  # of all finished runs, best first
    num_diverged: int  # runs without a value

    @property
    def num_runs(self) -> int:
        """Number of runs, finished or diverged."""
        return len(self.values) + self.num_diverged

    @property
    def best(self) -> SettingResult | None:
        """Setting with the best mean; None if every setting has a diverged seed."""
        return self.settings[0] if self.settings else None


def rank_authors(results: Iterable[SeedResult], metric: RankedMetric) -> tuple[AuthorResults, ...]:
    """Group results by author and rank the authors by the mean of their best setting.

    Authors without a ranked setting come last; ties are ordered by name.
    """
    runs_by_author: dict[str, dict[str, list[SeedResult]]] = {}
    for result in results:
        runs_by_author.setdefault(result.author, {}).setdefault(result.setting, []).append(result)
    authors = [_summarize_author(name, list(settings.values()), metric) for name, settings in runs_by_author.items()]

    def get_order(author: AuthorResults) -> tuple[bool, float, str]:
        return author.best is None, metric.orient(author.best.value) if author.best else 0.0, author.name

    return tuple(sorted(authors, key=get_order))


def count_worse_settings(best: SettingResult, others: Iterable[AuthorResults], metric: RankedMetric) -> tuple[int, int]:
    """Count the other authors' settings that are worse than `best`, and all their settings."""
    values = [metric.orient(setting.value) for other in others for setting in other.settings]
    return sum(value > metric.orient(best.value) for value in values), len(values)


def _summarize_author(name: str, settings: Sequence[Sequence[SeedResult]], metric: RankedMetric) -> AuthorResults:
    ranked = [result for runs in settings if (result := _summarize_setting(runs)) is not None]
    ranked.sort(key=lambda result: (metric.orient(result.value), result.variant, result.learning_rate))
    values = [run.value for runs in settings for run in runs]
    finished = sorted((value for value in values if value is not None), key=metric.orient)
    return AuthorResults(
        name=name, settings=tuple(ranked), values=tuple(finished), num_diverged=len(values) - len(finished)
    )


def _summarize_setting(runs: Sequence[SeedResult]) -> SettingResult | None:
    values = [run.value for run in runs if run.value is not None]
    if len(values) < len(runs):
        return None
    mean, sd = compute_mean_and_sd(values)
    assert mean is not None  # a setting has at least one run
    return SettingResult(
        variant=runs[0].variant,
        learning_rate=runs[0].learning_rate,
        seeds=len(runs),
        value=mean,
        sd=sd,
        gap=compute_mean_and_sd(run.gap for run in runs)[0],
        val_mean_iou=compute_mean_and_sd(run.val_mean_iou for run in runs)[0],
    )
