"""Format numbers, names and parameters for the page."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup, escape

from pipeline import wording

MISSING = "–"
SPLIT_NAMES = {"train": "training", "validation": "validation", "test": "test", "showcase": "the showcase"}


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
    """Format a mean ± its standard deviation, or the mean alone if the standard deviation is missing."""
    if mean is None or sd is None or not math.isfinite(sd):
        return format_number(mean, digits)
    return f"{format_number(mean, digits)}\u00a0±\u00a0{format_number(sd, digits)}"


def format_percent(fraction: float) -> str:
    """Format a fraction as a percentage."""
    return f"{100 * fraction:.1f} %"


def format_count(count: int) -> str:
    """Format a count with spaces between groups of three digits."""
    return f"{count:,}".replace(",", "\u00a0")


def format_millions(count: int | None) -> str:
    """Format a count in millions, with one decimal below ten millions; a missing count becomes a dash."""
    if count is None:
        return MISSING
    return format_number(count / 1e6, 1) if count < 10_000_000 else format_count(round(count / 1e6))


def pluralize(count: int, singular: str, plural: str | None = None) -> str:
    """Format a count with its noun in the singular or plural, and with the digit grouping of `format_count`."""
    return wording.pluralize(count, singular, plural).replace(",", "\u00a0")


def mark_code(text: str) -> Markup:
    """Escape text for HTML, and mark passages in `backticks` as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def flatten_parameters(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Flatten nested parameters to dotted names and values, spelled as in `params.yaml`."""
    found: list[tuple[str, str]] = []
    for key, value in content.items():
        if isinstance(value, list) and any(isinstance(item, dict) for item in value):
            found += flatten_parameters({str(place): item for place, item in enumerate(value)}, f"{prefix}{key}.")
        elif isinstance(value, dict):
            found += flatten_parameters(value, f"{prefix}{key}.")
        elif not (key == "precision" and prefix):  # listed separately, with its resolved value
            found.append((f"{prefix}{key}", _spell(value)))
    return found


def _spell(value: object) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
