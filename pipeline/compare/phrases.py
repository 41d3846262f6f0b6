"""Rows of the comparison, and their numbers as the findings word them."""

from __future__ import annotations

from pipeline.comparison import RateRow, RunRow, Selection, Summary


def losses_of(summary: Summary, rate: RateRow) -> dict[int, float]:
    """The validation loss by seed at a variant and rate."""
    return {row.seed: row.val_loss for row in rows_of(summary, rate) if row.val_loss is not None}


def runs_of(summary: Summary, rate: RateRow) -> tuple[str, ...]:
    """The names of the runs at a variant and rate."""
    return tuple(row.run for row in rows_of(summary, rate))


def rows_of(summary: Summary, rate: RateRow | Selection) -> list[RunRow]:
    """The runs at a variant and rate."""
    return [row for row in summary.runs if (row.variant, row.learning_rate) == (rate.variant, rate.learning_rate)]


def rate_of(summary: Summary, variant: str, learning_rate: float) -> RateRow:
    """The row of a variant at a rate of the grid."""
    return next(row for row in summary.rates if (row.variant, row.learning_rate) == (variant, learning_rate))


def number(value: float | None) -> float:
    """A number that a ranked rate has."""
    assert value is not None, "ranked rates have all their numbers"
    return value


def with_spread(mean: float | None, sd: float | None) -> str:
    """Mean ± standard deviation; the mean alone where one seed gives none."""
    return f"{number(mean):.3f}" + (f" ± {sd:.3f}" if sd is not None else "")


def signed(value: float | None) -> str:
    """A number with its sign."""
    return f"{number(value):+.3f}"


def seeds(count: int) -> str:
    """A count of seeds."""
    return f"{count} seed" + ("" if count == 1 else "s")
