"""Parse numbers of log files."""

from __future__ import annotations

from pipeline.errors import PipelineError
from pipeline.wording import escape_unprintable

MISSING = {"", "na", "n/a", "none", "null", "-"}  # Keras writes NA and fastai None for a loss that was not measured


def is_missing(value: object) -> bool:
    """Return whether a cell has no value. NaN is a value: the loss of a diverged run."""
    return value is None or (isinstance(value, str) and value.strip().lower() in MISSING)


def parse_number(value: object, location: str, name: str) -> float:
    """Parse a number; NaN and infinity are numbers.

    Raises:
        PipelineError: The value is not a number. The message states the location and the name of the value.
    """
    try:
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            return float(value)
    except (ValueError, OverflowError):
        pass
    text = escape_unprintable(str(value))
    text = text if len(text) <= 60 else f"{text[:60]}…"
    raise PipelineError(f"{location}: {name} must be a number such as 0.25, but is '{text}'.")
