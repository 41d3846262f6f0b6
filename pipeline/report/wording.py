"""Numbers, names and parameters as the page prints them."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

NONE = "–"
SPLITS = {"train": "training", "validation": "validation", "test": "test", "showcase": "the showcase"}


def number(value: float | None, digits: int = 3) -> str:
    """A number with a fixed count of decimals and a true minus sign; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return NONE
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def spread(mean: float | None, sd: float | None, digits: int = 3) -> str:
    """Mean ± standard deviation; the mean alone where one seed gives no deviation."""
    if mean is None or sd is None or not math.isfinite(sd):
        return number(mean, digits)
    return f"{number(mean, digits)}\u00a0±\u00a0{number(sd, digits)}"


def rate(value: float) -> str:
    """A learning rate, spelled as in the run's name, so that it can be found there."""
    return str(value)


def percent(share: float) -> str:
    """A share of one as per cent."""
    return f"{100 * share:.1f} %"


def whole(count: int) -> str:
    """A count in groups of three digits."""
    return f"{count:,}".replace(",", "\u00a0")


def plural(count: int, singular: str, more: str | None = None) -> str:
    """A count with its noun."""
    return f"{whole(count)} {singular if count == 1 else more or singular + 's'}"


def listing(items: Sequence[str]) -> str:
    """Words in a row: a, b and c."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def nearest(name: str, known: Iterable[str]) -> str:
    """How a complaint of an unknown name ends: with the known one that is meant, or with some of them."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    return f"did you mean {near[0]}?" if near else f"there is {listing(sorted(names)[:8])}."


def coded(text: str) -> Markup:
    """Text from anywhere, made safe, with what stands in `backticks` as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def parameters(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested parameters as dotted names with their values, spelled as in `params.yaml`."""
    found: list[tuple[str, str]] = []
    for key, value in content.items():
        if isinstance(value, list) and any(isinstance(item, dict) for item in value):
            found += parameters({str(place): item for place, item in enumerate(value)}, f"{prefix}{key}.")
        elif isinstance(value, dict):
            found += parameters(value, f"{prefix}{key}.")
        elif not (key == "precision" and prefix):  # `auto` would stand beside what it was resolved to
            found.append((f"{prefix}{key}", _spelled(value)))
    return found


def _spelled(value: object) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
