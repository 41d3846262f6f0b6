"""Results of several people on the same data: each one's best setting, and who stands where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.analysis.seeds import spread


@dataclass(frozen=True)
class SeedResult:
    """What one run came to."""

    author: str
    setting: str  # equal for runs that differ in nothing but their seed
    variant: str
    learning_rate: float
    seed: int
    val_loss: float | None  # at its best epoch, as what follows; None of a diverged run
    gap: float | None
    val_mean_iou: float | None


@dataclass(frozen=True)
class SettingResult:
    """A variant at a learning rate, over its seeds; sd is the sample standard deviation, None of one seed."""

    variant: str
    learning_rate: float
    seeds: int
    val_loss: float
    val_loss_sd: float | None
    gap: float | None
    val_mean_iou: float | None


@dataclass(frozen=True)
class Author:
    """Somebody's results, settings from the best on; one with a diverged seed is out, as in a grid."""

    name: str
    settings: tuple[SettingResult, ...]
    losses: tuple[float, ...]  # of every run that finished
    diverged: int

    @property
    def best(self) -> SettingResult | None:
        """The setting with the lowest mean loss on validation; None where every setting has a diverged seed."""
        return self.settings[0] if self.settings else None


def by_author(results: Iterable[SeedResult]) -> tuple[Author, ...]:
    """Sort results by whose they are: the best author first, those without a ranked setting last, else by name."""
    grouped: dict[str, dict[str, list[SeedResult]]] = {}
    for result in results:
        grouped.setdefault(result.author, {}).setdefault(result.setting, []).append(result)
    authors = [_author(name, list(settings.values())) for name, settings in grouped.items()]
    return tuple(sorted(authors, key=lambda one: (one.best is None, one.best.val_loss if one.best else 0.0, one.name)))


def beaten(best: SettingResult, others: Iterable[Author]) -> tuple[int, int]:
    """How many of the others' settings are worse than somebody's best, and how many there are."""
    losses = [setting.val_loss for other in others for setting in other.settings]
    return sum(loss > best.val_loss for loss in losses), len(losses)


def _author(name: str, settings: list[list[SeedResult]]) -> Author:
    ranked = [found for seeds in settings if (found := _setting(seeds)) is not None]
    runs = [run for seeds in settings for run in seeds]
    return Author(
        name=name,
        settings=tuple(sorted(ranked, key=lambda one: (one.val_loss, one.variant, one.learning_rate))),
        losses=tuple(sorted(run.val_loss for run in runs if run.val_loss is not None)),
        diverged=sum(run.val_loss is None for run in runs),
    )


def _setting(seeds: list[SeedResult]) -> SettingResult | None:
    losses = [run.val_loss for run in seeds if run.val_loss is not None]
    if len(losses) < len(seeds):
        return None
    mean, sd = spread(losses)
    assert mean is not None  # a setting has a run
    return SettingResult(
        variant=seeds[0].variant,
        learning_rate=seeds[0].learning_rate,
        seeds=len(seeds),
        val_loss=mean,
        val_loss_sd=sd,
        gap=spread([run.gap for run in seeds if run.gap is not None])[0],
        val_mean_iou=spread([run.val_mean_iou for run in seeds if run.val_mean_iou is not None])[0],
    )
