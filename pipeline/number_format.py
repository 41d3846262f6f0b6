"""Format numbers for people: in findings, tables, figures and on pages."""

from __future__ import annotations

import math

MISSING = "–"
MORE_DIGITS = 2


def format_number(value: float | None, digits: int = 3) -> str:
    """Format a number with fixed decimals and a typographic minus sign.

    A number that is missing or not finite becomes a dash.
    """
    if value is None or not math.isfinite(value):
        return MISSING
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def format_spread(mean: float | None, sd: float | None, digits: int = 3) -> str:
    """Format a mean ± its standard deviation, or the mean alone if the standard deviation is missing.

    If the standard deviation would become zero, both have up to `MORE_DIGITS` more decimals: 0.1998 ± 0.0005.
    """
    if mean is None or sd is None or not math.isfinite(sd):
        return format_number(mean, digits)
    shown = next((count for count in range(digits, digits + MORE_DIGITS + 1) if round(sd, count)), digits)
    return f"{format_number(mean, shown)}\u00a0±\u00a0{format_number(sd, shown)}"


def format_millions(count: int | None) -> str:
    """Format a count in millions, with one decimal below ten millions; a missing count becomes a dash."""
    if count is None:
        return MISSING
    return format_number(count / 1e6, 1) if count < 10_000_000 else f"{round(count / 1e6):,}"
