"""The grid as heat maps: variants by learning rates."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.comparison import RateRow, Selection
from pipeline.report import view, wording

Place = tuple[str, float]  # variant, learning rate
MAPS = (("Validation loss", "val_loss_mean", "val_loss_sd"), ("Gap", "gap_mean", "gap_sd"))


def heat_maps(rates: Sequence[RateRow], best: Selection | None) -> tuple[view.HeatMap, ...]:
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
        maps.append(view.HeatMap(title, tuple(wording.rate(rate) for rate in columns), rows))
    return tuple(maps)


def _cells(values: dict[Place, tuple[float, float | None]], lowest: Place | None) -> dict[Place, view.HeatCell]:
    means = [mean for mean, _ in values.values()]
    low, span = min(means), max(means) - min(means)
    return {
        place: view.HeatCell(
            mean=wording.number(mean),
            spread="" if sd is None else f"± {wording.number(sd)}",
            share=f"{(mean - low) / span if span else 0:.2f}",
            best=place == lowest,
        )
        for place, (mean, sd) in values.items()
    }
