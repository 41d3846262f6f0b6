"""Which runs the page shows, and the file it is written to."""

from __future__ import annotations

import difflib
import fnmatch
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline import runs
from pipeline.comparison import RunRow, Summary
from pipeline.errors import PipelineError
from pipeline.report.conditions import are_conditions, conditions

LONGEST_NAME = 100  # characters of a file's stem; beyond it a hash stands for the rest
LISTED = 12  # names in a complaint; a grid can have hundreds


@dataclass(frozen=True)
class Chosen:
    """The runs of a page, in the grid's order."""

    kind: Literal["all", "best", "named"]
    rows: tuple[RunRow, ...]
    out: Path  # relative to the project's folder
    origin: str = ""  # where the runs come from, where it is not this grid
    notices: tuple[str, ...] = ()  # sentences on runs that were left out

    @property
    def names(self) -> tuple[str, ...]:
        """The runs' names."""
        return tuple(row.run for row in self.rows)


def leading(summary: Summary, chosen: Chosen) -> str | None:
    """The run that stands for a page: the grid's best where it is shown, else the shown one with the lowest loss."""
    if summary.best is not None and summary.best.run in chosen.names:
        return summary.best.run
    finished = [(row.val_loss, row.run) for row in chosen.rows if row.val_loss is not None]
    return min(finished)[1] if finished else None


def choose(summary: Summary, selection: str | None) -> Chosen:
    """Read a selection.

    Args:
        summary: the comparison.
        selection: None for the grid's own page; `all`; `best`, the run that validation chose; `best:3`, the median-seed
            runs of the three best rates; comparisons that must all hold, such as `variant=unet,learning_rate<=1e-3`; or
            names of runs with commas between, in which `*` and `?` stand for any characters or one.

    Raises:
        PipelineError: It is none of these, or no run is meant.
    """
    if not summary.runs:
        raise PipelineError("The comparison holds no runs. Train some with `make report`.")
    if selection is None:
        return Chosen("all", summary.runs, runs.REPORT)
    if selection.strip() == "all":
        return Chosen("all", summary.runs, runs.REPORTS / "all.html")
    if match := re.fullmatch(r"best(?::(.*))?", selection.strip()):
        return _best(summary, match[1])
    if are_conditions(selection):
        return _meeting(summary, selection)
    return _named(summary, selection)


def _best(summary: Summary, count: str | None) -> Chosen:
    if summary.best is None:
        raise PipelineError(
            "No run is the best: no learning rate finished all its seeds. Name runs instead; "
            + _available([row.run for row in summary.runs])
        )
    if count is None:
        best = summary.best.run
        return Chosen("best", tuple(row for row in summary.runs if row.run == best), runs.REPORTS / "best.html")
    if not re.fullmatch(r"[1-9]\d*", count):
        raise PipelineError(f"'best:{count}' must have a whole number from 1 on behind the colon, such as best:3.")
    ranked = sorted((rate.val_loss_mean, rate.run) for rate in summary.rates if rate.run and rate.val_loss_mean)
    wanted = {run for _, run in ranked[: int(count)]}
    rows = tuple(row for row in summary.runs if row.run in wanted)
    return Chosen("named", rows, runs.REPORTS / f"best-{len(rows)}.html")


def _meeting(summary: Summary, selection: str) -> Chosen:
    wanted = conditions(selection)
    rows = tuple(row for row in summary.runs if all(condition.holds(row) for condition in wanted))
    if not rows:
        raise PipelineError(f"No run has {selection.strip()}; " + _available([row.run for row in summary.runs]))
    return Chosen("named", rows, runs.REPORTS / f"{stem([row.run for row in rows])}.html")


def _named(summary: Summary, selection: str) -> Chosen:
    known = [row.run for row in summary.runs]
    patterns = {name.strip() for name in selection.split(",")} - {""}
    if not patterns:
        raise PipelineError("The selection names no run. Give all, best, or names with commas; " + _available(known))
    wanted = {name for pattern in patterns for name in fnmatch.filter(known, pattern) or [pattern]}
    if unknown := sorted(wanted - set(known)):
        nearest = sorted(known, key=lambda name: -difflib.SequenceMatcher(None, unknown[0], name).ratio())
        noun = "run" if len(unknown) == 1 else "runs"
        quoted = ", ".join(f"'{name}'" for name in unknown)
        raise PipelineError(f"The comparison has no {noun} {quoted}. Give all, best, or names; " + _available(nearest))
    rows = tuple(row for row in summary.runs if row.run in wanted)
    return Chosen("named", rows, runs.REPORTS / f"{stem([row.run for row in rows])}.html")


def _available(names: list[str]) -> str:
    rest = len(names) - LISTED
    return "there is " + ", ".join(names[:LISTED]) + (f" and {rest} more." if rest > 0 else ".")


def stem(names: list[str]) -> str:
    """A file's name for some runs: theirs, with a hash for the rest where they are many."""
    joined = "+".join(names)
    if len(joined) <= LONGEST_NAME:
        return joined
    digest = hashlib.sha256(joined.encode()).hexdigest()[:12]
    return f"{joined[: LONGEST_NAME - len(digest) - 1]}-{digest}"
