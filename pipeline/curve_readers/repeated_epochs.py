"""Tables that repeat epochs: with several runs, or of a training that was resumed and logged to the same file.

Keras' `CSVLogger(append=True)` and Ultralytics append the rows of a resumed training, without a mark between both.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

MAX_ATTEMPTS = 20  # beyond this number, the rows are not in the order of the log
MIN_EPOCHS = 2  # of an attempt; a single repeated epoch may be an evaluation of the best checkpoint

Position = tuple[float, float | None, str]  # epoch, step and column of a loss


@dataclass(frozen=True)
class LossRow:
    """A row of a table, in the order of the log."""

    epoch: float  # or step
    losses: Mapping[str, float]  # by column, only of the losses that are judged
    step: float | None = None  # None if the table has no steps in addition to epochs


def find_run_columns(
    attempts: Sequence[Sequence[LossRow]], values: Sequence[Mapping[str, object]], names: Iterable[str]
) -> list[str]:
    """Find the columns that say to which of several runs a row belongs; none if epochs are not repeated.

    The runs begin at the same epoch, no run repeats an epoch, and at least two have all losses and several epochs.
    Columns with a metric or the number of a batch do not separate such runs. Attempts that all continue each other are
    those of one run, even if they differ in a learning rate or stage.

    Args:
        attempts: Rows of a table, as `split_attempts` returns them.
        values: Values of all columns, for every row.
        names: Columns that may name runs.
    """
    if len(attempts) > 1 and all(_continues(earlier, later) for earlier, later in pairwise(attempts)):
        return []
    positions = [
        {(row.epoch, row.step, column) for column in _list_finite(row)} for attempt in attempts for row in attempt
    ]
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
    epochs = [{epoch for epoch, _, _ in positions} for positions in found]
    losses = [{column for _, _, column in positions} for positions in found]
    long = [names for names, numbers in zip(losses, epochs, strict=True) if len(numbers) >= MIN_EPOCHS]
    return (
        long.count(set().union(*losses)) >= 2
        and len({min(numbers) for numbers in epochs}) == 1
        and all(len(set(positions)) == len(positions) for positions in found)
    )


def _list_finite(row: LossRow) -> dict[str, float]:
    """Return the losses that are finite, because NaN may mark a loss that was not logged."""
    return {column: loss for column, loss in row.losses.items() if math.isfinite(loss)}


def split_attempts(rows: Sequence[LossRow], train: Collection[str]) -> list[list[LossRow]]:
    """Split the rows of a training where its epochs go back, because it was resumed or started again.

    Args:
        rows: Rows of a single run, in the order of the log.
        train: Columns of the training loss; the other ones are those of the validation loss.

    Returns:
        The rows of each attempt. They are not split if a part has too few epochs with both losses, begins without a
        training loss, or only repeats the last epoch, because epochs may then be repeated for another reason.
    """
    attempts: list[list[LossRow]] = [[]]
    highest: dict[str, tuple[float, float]] = {}  # epoch and step of each loss in the last attempt
    seen = set[tuple[str, float]]()
    for row in rows:
        position = (row.epoch, -math.inf if row.step is None else row.step)
        losses = _list_finite(row)
        if any((name, row.epoch) in seen and position <= highest.get(name, (-math.inf, 0.0)) for name in losses):
            attempts.append([])
            highest = {}
        attempts[-1].append(row)
        for name in losses:
            highest[name] = max(position, highest.get(name, position))
            seen.add((name, row.epoch))
    are_clear = (
        len(attempts) <= MAX_ATTEMPTS
        and all(_is_attempt(attempt, train) for attempt in attempts)
        and all(_list_epochs(later)[0] < _list_epochs(earlier)[-1] for earlier, later in pairwise(attempts))
    )
    return attempts if are_clear else [list(rows)]


def _list_epochs(rows: Sequence[LossRow]) -> list[float]:
    return sorted(row.epoch for row in rows)


def _is_attempt(rows: Sequence[LossRow], train: Collection[str]) -> bool:
    logged = [(row.epoch, name in train) for row in rows for name in _list_finite(row)]
    train_epochs, val_epochs = ({epoch for epoch, is_train in logged if is_train == side} for side in (True, False))
    return len(train_epochs & val_epochs) >= MIN_EPOCHS and min(train_epochs) <= min(val_epochs)


def renumber_attempts(attempts: Sequence[Sequence[LossRow]], unit: str) -> tuple[list[float | None], list[str]]:
    """Number the epochs of a training that was resumed.

    If the epochs go back, the training was resumed at a checkpoint, and its losses replace the earlier ones. If they go
    back to the first epoch while the losses continue, as in a second call of Keras' `fit`, they are renumbered.

    Args:
        attempts: Rows of a single run, as `split_attempts` returns them.
        unit: What the rows are numbered by, for notes: epoch or step.

    Returns:
        The number of every row, None for a row that was replaced; and notes about changed rows.
    """
    numbers: list[float | None] = []
    replaced: list[float] = []
    num_continued = 0
    shift = 0.0
    fit: list[LossRow] = []  # rows of the last call that are kept
    for attempt in attempts:
        start = min(row.epoch for row in attempt)
        if fit and _continues(fit, attempt):
            num_continued += 1
            shift += max(row.epoch for row in fit) + 1 - start
            fit = []
        else:
            number = start + shift
            replaced += [earlier for earlier in numbers if earlier is not None and earlier >= number]
            numbers = [None if earlier is None or earlier >= number else earlier for earlier in numbers]
        fit = [*(row for row in fit if row.epoch < start), *attempt]
        numbers += [row.epoch + shift for row in attempt]
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


def _continues(earlier: Sequence[LossRow], later: Sequence[LossRow]) -> bool:
    """Return whether rows start again at the first epoch, but with losses nearer to the last than to the first ones."""
    if min(row.epoch for row in later) > min(row.epoch for row in earlier):
        return False
    first, last, following = _find_first(earlier), _find_first(earlier[::-1]), _find_first(later)
    shared = first.keys() & following.keys()
    to_last, to_first = (sum(abs(following[name] - losses[name]) for name in shared) for losses in (last, first))
    return to_last < to_first


def _find_first(rows: Sequence[LossRow]) -> dict[str, float]:
    """Return the first finite value of each loss."""
    return {name: loss for row in reversed(rows) for name, loss in _list_finite(row).items()}
