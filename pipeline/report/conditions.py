"""Runs chosen by what they are: `variant=unet,learning_rate<=1e-3`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.comparison import RunRow
from pipeline.errors import PipelineError
from pipeline.report import wording

_PART = re.compile(r"\s*(?P<field>\w+)\s*(?P<sign><=|>=|!=|=|<|>)\s*(?P<value>[^\s<>=!]+)\s*")
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
WORDS = ("run", "variant", "status", "verdict")
NUMBERS = (
    "learning_rate",
    "seed",
    "epochs",
    "best_epoch",
    "train_loss",
    "val_loss",
    "gap",
    "val_mean_iou",
    "val_foreground_iou",
    "val_object_iou",
    "showcase_iou",
    "showcase_mean_iou",
)


@dataclass(frozen=True)
class Condition:
    """One comparison of a run's word or number."""

    field: str
    sign: str
    value: str | float

    def holds(self, row: RunRow) -> bool:
        """Whether it is true of a run; of a number that a run does not have it is not."""
        if self.field == "verdict":
            found: Any = row.judgement.verdict if row.judgement else None
        else:
            found = getattr(row, self.field)
        return found is not None and _SIGNS[self.sign](found, self.value)


def are_conditions(selection: str) -> bool:
    """Whether a selection is made of comparisons; no run's name holds their signs."""
    return any(sign in selection for sign in "=<>")


def conditions(selection: str) -> list[Condition]:
    """Read comparisons with commas between, all of which must hold; raises `PipelineError` on what is none."""
    return [_condition(part) for part in selection.split(",")]


def _condition(part: str) -> Condition:
    match = _PART.fullmatch(part)
    if match is None:
        raise PipelineError(f"'{part.strip()}' is no comparison; write such as variant=unet or learning_rate<=1e-3.")
    field, sign, text = match["field"], match["sign"], match["value"]
    if field in WORDS:
        if sign not in ("=", "!="):
            raise PipelineError(f"'{part.strip()}': {field} is a word, and words are compared with = or != only.")
        return Condition(field, sign, text)
    if field not in NUMBERS:
        raise PipelineError(f"'{part.strip()}': runs have no {field}; {wording.nearest(field, (*WORDS, *NUMBERS))}")
    try:
        return Condition(field, sign, float(text))
    except ValueError:
        raise PipelineError(f"'{part.strip()}': {field} is a number, but is compared with '{text}'.") from None
