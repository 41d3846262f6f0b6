"""Tables that repeat epochs: with several runs, or of a training that was resumed and logged to the same file.

Keras' `CSVLogger(append=True)` and Ultralytics append the rows of a resumed training, without a mark between both.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

MAX_RESUMES = 20  # beyond this number, the rows are not in the order of the log

Position = tuple[float, float | None, str]  # epoch, step and column of a loss


@dataclass(frozen=True)
class LossRow:
    """A row of a table, in the order of the log."""

    epoch: float  # or step
    losses: Mapping[str, float]  # by column
    step: float | None = None  # None if the table has no steps in addition to epochs


def find_run_columns(
    rows: Sequence[LossRow], values: Sequence[Mapping[str, object]], names: Iterable[str]
) -> list[str]:
    """Find the columns that say to which of several runs a row belongs; none if epochs are not repeated.

    The runs begin at the same epoch, no run repeats an epoch, and at least two have all losses. Columns with a metric
    or the number of a batch do not separate such runs.

    Args:
        rows: Rows of a table.
        values: Values of all columns, for every row.
        names: Columns that may name runs.
    """
    positions = [{(row.epoch, row.step, column) for column in _list_finite(row)} for row in rows]
    most = max(Counter(position for found in positions for position in found).values(), default=0)
    if most < 2:
        return []
    used = [index for index, found in enumerate(positions) if found]
    names = [name for name in names if 2 <= len({str(values[index].get(name)) for index in used}) <= most]
    for candidate in [*([name] for name in names), names]:
        groups: dict[tuple[str, ...], list[int]] = {}
        for index in used:
            groups.setdefault(tuple(str(values[index].get(name)) for name in candidate), []).append(index)
        if _are_runs([[positions[index] for index in group] for group in groups.values()]):
            return candidate
    return []


def _are_runs(groups: Sequence[Sequence[set[Position]]]) -> bool:
    """Return whether groups of rows may be separate runs."""
    found = [[position for positions in group for position in positions] for group in groups]
    losses = [{column for _, _, column in positions} for positions in found]
    return (
        losses.count(set().union(*losses)) >= 2
        and len({min(epoch for epoch, _, _ in positions) for positions in found}) == 1
        and all(len(set(positions)) == len(positions) for positions in found)
    )


def _list_finite(row: LossRow) -> dict[str, float]:
    """Return the losses that are finite, because NaN may mark a loss that was not logged."""
    return {column: loss for column, loss in row.losses.items() if math.isfinite(loss)}


def renumber_attempts(rows: Sequence[LossRow], unit: str) -> tuple[list[float | None], list[str]]:
    """Number the epochs of a training that was resumed.

    If the epochs go back, the training was resumed at a checkpoint, and its losses replace the earlier ones. If they go
    back to the first epoch while the losses continue, as in a second call of Keras' `fit`, they are renumbered.

    Args:
        rows: Rows of a single run, in the order of the log.
        unit: What the rows are numbered by, for notes: epoch or step.

    Returns:
        The number of every row, None for a row that was replaced; and notes about changed rows.
    """
    numbers: list[float | None] = []
    replaced: list[float] = []
    num_resumes = num_continued = 0
    shift, end = 0.0, -math.inf  # the end is the highest number of the rows that are kept
    begin, highest = math.inf, -math.inf  # as logged
    seen = set[tuple[str, float]]()
    first, last = dict[str, float](), dict[str, float]()  # losses since `begin`
    for row in rows:
        losses = _list_finite(row)
        logged = {(column, row.epoch) for column in losses}
        if row.epoch < highest and logged & seen:
            starts_again = row.epoch <= begin
            if starts_again and _continues(losses, first, last):
                num_continued += 1
                shift = end + 1 - row.epoch
            else:
                num_resumes += 1
                start = row.epoch + shift
                replaced += [number for number in numbers if number is not None and number >= start]
                numbers = [None if number is None or number >= start else number for number in numbers]
                end = start
            highest = -math.inf
            first = {} if starts_again else first
            if num_resumes > MAX_RESUMES:
                return [row.epoch for row in rows], []
        begin, highest = (begin if first else row.epoch), max(highest, row.epoch)
        seen |= logged
        first, last = losses | first, last | losses
        numbers.append(row.epoch + shift)
        end = max(end, row.epoch + shift)
    notes = []
    if num_continued:
        notes.append(
            f"The {unit}s start again while the losses continue, so they were renumbered as those of one training."
        )
    if replaced:
        notes.append(
            f"The run was continued from {unit} {min(replaced):g}: the earlier losses of {unit}s {min(replaced):g} to "
            f"{max(replaced):g} are not used."
        )
    return numbers, notes


def _continues(losses: Mapping[str, float], first: Mapping[str, float], last: Mapping[str, float]) -> bool:
    """Return whether losses are nearer to the last ones than to the first ones."""
    shared = losses.keys() & first.keys()
    to_last, to_first = (sum(abs(losses[name] - others[name]) for name in shared) for others in (last, first))
    return to_last < to_first
