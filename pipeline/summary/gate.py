"""Conditions on the best setting, such as `best.gap > 0.1`, with which CI rejects a change."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pipeline.analysis.best_setting import NAMES, TEXT_NAMES, Value
from pipeline.analysis.verdict import VerdictWord
from pipeline.errors import PipelineError
from pipeline.wording import suggest_closest

PREFIX = "best."
_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_CONDITION = re.compile(rf"\s*([\w.]+)\s*({'|'.join(_OPERATORS)})\s*(.+?)\s*")


@dataclass(frozen=True)
class Condition:
    """A comparison of a value of the best setting with a constant."""

    name: str  # without the prefix
    operator: str
    constant: str | float

    def __str__(self) -> str:
        """Return the condition as text."""
        return f"{PREFIX}{self.name} {self.operator} {self.constant}"

    def explain_failure(self, best: Mapping[str, Value]) -> str | None:
        """Explain why the condition holds or cannot be checked; None if it does not hold."""
        value = best[self.name]
        if value is None:
            return f"{PREFIX}{self.name} is undefined, so '{self}' cannot be checked"
        if _OPERATORS[self.operator](value, self.constant):
            return f"{self} ({PREFIX}{self.name} is {value:.4g})" if isinstance(value, float) else f"{self} ({value})"
        return None


def parse_condition(text: str) -> Condition:
    """Parse a condition on one of `NAMES`.

    Raises:
        PipelineError: The text is not a condition, its name is unknown, or its constant has the wrong type.
    """
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise PipelineError(f"'{text}' is not a condition such as 'best.gap > 0.1' or 'best.verdict != learning'.")
    name, symbol, constant = match[1].removeprefix(PREFIX), match[2], match[3].strip("'\"")
    if not match[1].startswith(PREFIX) or name not in NAMES:
        known = [PREFIX + known for known in NAMES]
        hint = suggest_closest(match[1], known, f"known names: {', '.join(known)}.")
        raise PipelineError(f"'{text}': {match[1]} is unknown; {hint}")
    if name in TEXT_NAMES:
        if symbol not in ("==", "!="):
            raise PipelineError(f"'{text}': {match[1]} is text; compare it with == or !=.")
        words = get_args(VerdictWord)
        if name == "verdict" and constant not in words:
            hint = suggest_closest(constant, words, f"known verdicts: {', '.join(words)}.")
            raise PipelineError(f"'{text}': unknown verdict '{constant}'; {hint}")
        return Condition(name, symbol, constant)
    try:
        number = float(constant)
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise PipelineError(f"'{text}': {match[1]} is a number, but '{constant}' is not.")
    return Condition(name, symbol, number)
