"""Parse numbers of log files."""

from __future__ import annotations

from pipeline.errors import PipelineError
from pipeline.wording import escape_unprintable

MISSING = {"", "na", "n/a", "none", "null", "-"}  # Keras writes NA and fastai None for a loss that was not measured


def is_missing(value: object) -> bool:
    """Return whether a cell has no value. NaN is a value: the loss of a diverged run."""
    return value is None or (isinstance(value, str) and value.strip().lower() in MISSING)


def to_float(value: object) -> float | None:
    """Convert a number or its text to a float; None if it is neither."""
    try:
        return float(value) if isinstance(value, (int, float, str)) else None
    except (ValueError, OverflowError):
        return None


def parse_number(value: object, location: str, name: str) -> float:
    """Parse a number; NaN and infinity are numbers.

    Raises:
        PipelineError: The value is not a number. The message states the location and the name of the value.
    """
    number = to_float(value)
    if number is not None and not isinstance(value, bool):
        return number
    text = escape_unprintable(str(value))
    text = text if len(text) <= 60 else f"{text[:60]}…"
    raise PipelineError(f"{location}: {name} must be a number such as 0.25, but is '{text}'.")
