"""Leaderboard of several authors who trained on the same data, with each author's settings averaged over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.analysis.seed_statistics import compute_mean_and_sd


@dataclass(frozen=True)
class SeedResult:
    """Result of one run at its best epoch."""

    author: str
    setting: str  # the same for runs that differ only in their seed
    variant: str
    learning_rate: float
    seed: int
    val_loss: float | None  # nats per pixel; None if the run diverged
    gap: float | None  # validation minus training loss, nats per pixel; None if unknown
    val_mean_iou: float | None  # 0 to 1; None if unknown


@dataclass(frozen=True)
class SettingResult:
    """Means of a setting over its seeds; `val_loss_sd` is the sample standard deviation, None for one seed."""

    variant: str
    learning_rate: float
    seeds: int
    val_loss: float
    val_loss_sd: float | None
    gap: float | None
    val_mean_iou: float | None


@dataclass(frozen=True)
class AuthorResults:
    """All results of an author."""

    name: str
    settings: tuple[SettingResult, ...]  # best first; a setting with a diverged seed is excluded, as in a grid
    losses: tuple[float, ...]  # validation losses of all finished runs, ascending
    num_diverged: int  # runs without a loss

    @property
    def num_runs(self) -> int:
        """Number of runs, finished or diverged."""
        return len(self.losses) + self.num_diverged

    @property
    def best(self) -> SettingResult | None:
        """Setting with the lowest mean validation loss; None if every setting has a diverged seed."""
        return self.settings[0] if self.settings else None


def rank_authors(results: Iterable[SeedResult]) -> tuple[AuthorResults, ...]:
    """Group results by author and rank the authors by the mean validation loss of their best setting.

    Authors without a ranked setting come last; ties are ordered by name.
    """
    runs_by_author: dict[str, dict[str, list[SeedResult]]] = {}
    for result in results:
        runs_by_author.setdefault(result.author, {}).setdefault(result.setting, []).append(result)
    authors = [_summarize_author(name, list(settings.values())) for name, settings in runs_by_author.items()]
    return tuple(
        sorted(
            authors,
            key=lambda author: (author.best is None, author.best.val_loss if author.best else 0.0, author.name),
        )
    )


def count_worse_settings(best: SettingResult, others: Iterable[AuthorResults]) -> tuple[int, int]:
    """Count the other authors' settings that have a higher validation loss than `best`, and all their settings."""
    losses = [setting.val_loss for other in others for setting in other.settings]
    return sum(loss > best.val_loss for loss in losses), len(losses)


def _summarize_author(name: str, settings: Sequence[Sequence[SeedResult]]) -> AuthorResults:
    ranked = [result for runs in settings if (result := _summarize_setting(runs)) is not None]
    losses = [run.val_loss for runs in settings for run in runs]
    finished = sorted(loss for loss in losses if loss is not None)
    return AuthorResults(
        name=name,
        settings=tuple(sorted(ranked, key=lambda result: (result.val_loss, result.variant, result.learning_rate))),
        losses=tuple(finished),
        num_diverged=len(losses) - len(finished),
    )


def _summarize_setting(runs: Sequence[SeedResult]) -> SettingResult | None:
    losses = [run.val_loss for run in runs if run.val_loss is not None]
    if len(losses) < len(runs):
        return None
    mean, sd = compute_mean_and_sd(losses)
    assert mean is not None  # a setting has at least one run
    return SettingResult(
        variant=runs[0].variant,
        learning_rate=runs[0].learning_rate,
        seeds=len(runs),
        val_loss=mean,
        val_loss_sd=sd,
        gap=compute_mean_and_sd(run.gap for run in runs)[0],
        val_mean_iou=compute_mean_and_sd(run.val_mean_iou for run in runs)[0],
    )
