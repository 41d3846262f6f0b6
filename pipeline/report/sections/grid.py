"""The grid at a glance: variants by learning rates as heat maps, and the same as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.analysis.one_class import LABEL
from pipeline.comparison import RateRow, RunRow, Selection, Summary
from pipeline.report import wording
from pipeline.report.material import Material
from pipeline.report.selection import Chosen
from pipeline.runs import MIN_CLASS_IOU


@dataclass(frozen=True)
class RateLine:
    """A variant at a learning rate."""

    rate: str
    val_loss: str
    gap: str
    mean_iou: str
    seeds: str
    mark: str  # what it is the best of, or why it is not ranked
    warning: str  # that its seeds do no better than predicting one class everywhere, or miss classes; else empty
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
    share: str  # per cent of the way from the lowest to the highest of the map
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
    warnings: bool  # whether a line has one
    missed_below: float  # IoU


Place = tuple[str, float]  # variant, learning rate
UNFINISHED = ("diverged", "failed", "killed", "missing")
MAPS = (("Validation loss", "val_loss_mean", "val_loss_sd"), ("Gap", "gap_mean", "gap_sd"))


def glance(material: Material, chosen: Chosen) -> Glance:
    """A line a variant and rate, over seeds, for the rates that a chosen run belongs to."""
    summary = material.summary
    shown = {(row.variant, row.learning_rate) for row in chosen.rows}
    rates = [row for row in summary.rates if (row.variant, row.learning_rate) in shown]
    variants = dict.fromkeys(row.variant for row in rates)
    return Glance(
        maps=_heat_maps(rates, summary.best),
        groups=tuple(
            VariantLines(variant, tuple(_rate_line(summary, row, chosen) for row in rates if row.variant == variant))
            for variant in variants
        ),
        baseline_loss=wording.number(summary.baseline.loss),
        baseline_iou=wording.number(summary.baseline.mean_iou),
        warnings=any(_warning(row) for row in rates),
        missed_below=MIN_CLASS_IOU,
    )


def _heat_maps(rates: Sequence[RateRow], best: Selection | None) -> tuple[HeatMap, ...]:
    """Yardstick and gap over the seeds; none where a map would be a single row or column, or nothing is ranked."""
    variants = tuple(dict.fromkeys(row.variant for row in rates))
    columns = tuple(sorted({row.learning_rate for row in rates}, reverse=True))
    ranked = {(row.variant, row.learning_rate): row for row in rates if row.ranked}
    if len(variants) < 2 or len(columns) < 2 or not ranked:
        return ()
    lowest = (best.variant, best.learning_rate) if best else None
    maps = []
    for title, mean, sd in MAPS:
        cells = _cells({place: (getattr(row, mean), getattr(row, sd)) for place, row in ranked.items()}, lowest)
        rows = tuple((variant, tuple(cells.get((variant, rate)) for rate in columns)) for variant in variants)
        maps.append(HeatMap(title, tuple(wording.rate(rate) for rate in columns), rows))
    return tuple(maps)


def _cells(values: dict[Place, tuple[float, float | None]], lowest: Place | None) -> dict[Place, HeatCell]:
    means = [mean for mean, _ in values.values()]
    low, span = min(means), max(means) - min(means)
    return {
        place: HeatCell(
            mean=wording.number(mean),
            spread="" if sd is None else f"± {wording.number(sd)}",
            share=f"{(mean - low) / span if span else 0:.0%}",
            best=place == lowest,
        )
        for place, (mean, sd) in values.items()
    }


def _rate_line(summary: Summary, row: RateRow, chosen: Chosen) -> RateLine:
    here = (row.variant, row.learning_rate)
    of_grid = summary.best is not None and here == (summary.best.variant, summary.best.learning_rate)
    best = any(here == (item.variant, item.learning_rate) for item in summary.best_of_variant)
    grid = "lowest loss of these" if chosen.origin else "lowest loss of the grid"
    return RateLine(
        rate=wording.rate(row.learning_rate),
        val_loss=wording.spread(row.val_loss_mean, row.val_loss_sd),
        gap=wording.spread(row.gap_mean, row.gap_sd),
        mean_iou=wording.spread(row.val_mean_iou_mean, row.val_mean_iou_sd),
        seeds=str(row.seeds) if row.ranked else f"{row.finished} of {row.seeds}",
        mark=grid if of_grid else f"lowest loss of {row.variant}" if best else _unranked(summary, row),
        warning=_warning(row),
        best=best or of_grid,
        best_of_grid=of_grid,
    )


def _warning(row: RateRow) -> str:
    warnings = []
    if row.beats_baseline is not None and row.beats_baseline < 1:
        warnings.append(LABEL if row.beats_baseline == 0 else f"some seeds {LABEL}")
    if row.missed_classes:
        mean = "on average " if row.finished > 1 else ""
        number = f"{row.missed_classes:.3g}"
        warnings.append(f"misses {mean}{number} {'class' if number == '1' else 'classes'}")
    return "; ".join(warnings)


def _unranked(summary: Summary, row: RateRow) -> str:
    if row.ranked:
        return ""
    cells = [r for r in summary.runs if (r.variant, r.learning_rate) == (row.variant, row.learning_rate)]
    words = [f"{count} {status}" for status in UNFINISHED if (count := _count(cells, status))]
    return f"not ranked: {wording.listing(words)}" if words else "not ranked"


def _count(rows: list[RunRow], status: str) -> int:
    return sum(row.status == status for row in rows)
