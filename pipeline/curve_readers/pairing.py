"""Pair the training and validation losses of a run by epoch.

Some tools log both losses once per epoch. Others log the training loss every few steps and the validation loss once per
epoch. Training losses are then averaged from one validation to the next.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.analysis.curves import LossCurves
from pipeline.errors import PipelineError
from pipeline.wording import join_names

MAX_EPOCH_DEVIATION = 0.25  # of a fractional epoch at validation from the whole number that it is rounded to
NEAREST_SHARE = 0.25  # maximum distance of a training loss from its validation, as a share of that between validations
DENSE_FACTOR = 2  # from this number of training losses per validation loss on, they are averaged

Unit = Literal["epoch", "step"]


class Point(NamedTuple):
    """A loss, and when it was logged."""

    loss: float  # may be NaN or infinite
    location: str
    epoch: float | None
    step: float | None
    time: float | None


@dataclass(frozen=True)
class PairedLosses:
    """Loss curves, and notes about how they were paired."""

    curves: LossCurves
    notes: tuple[str, ...]


def pair_losses(train: Sequence[Point], val: Sequence[Point], run: str, source: str) -> PairedLosses:
    """Pair the losses of a run.

    Args:
        train: Training losses in any order.
        val: Validation losses in any order.
        run: Name of the run, for messages.
        source: The file or folder, for messages.

    Raises:
        PipelineError: The losses have no epochs, steps or times in common, or one of these numbers is invalid.
    """
    for point in (*train, *val):
        _check_finite(point)
    if not train or not val:
        raise PipelineError(_describe_unpaired(train, val, run, source))
    if all(point.epoch is not None and point.epoch == int(point.epoch) for point in (*train, *val)):
        return _pair_equal(train, val, _get_epoch, run, source)
    position, notes = _choose_position(train, val, run, source)
    train, val = sorted(train, key=position), sorted(val, key=position)
    if len(train) < DENSE_FACTOR * len(val) and {*map(position, train)} & {*map(position, val)}:
        return _pair_equal(train, val, position, run, source)
    val, merge_notes = _merge_duplicates(val, position)
    match = _average_between if len(train) >= DENSE_FACTOR * len(val) else _match_nearest
    pairs, match_notes = match(train, val, position)
    if not pairs:
        raise PipelineError(_describe_unpaired(train, val, run, source))
    return _label([loss for loss, _ in pairs], [point for _, point in pairs], [*notes, *merge_notes, *match_notes])


def _check_finite(point: Point) -> None:
    for name, number in (("epoch", point.epoch), ("step", point.step), ("time", point.time)):
        if number is not None and not math.isfinite(number):
            raise PipelineError(f"{point.location}: the {name} must be a whole number, but is '{number:g}'.")


def _get_epoch(point: Point) -> float:
    return point.epoch or 0.0


def _get_step(point: Point) -> float:
    return point.step or 0.0


def _get_time(point: Point) -> float:
    return point.time or 0.0


def _choose_position(
    train: Sequence[Point], val: Sequence[Point], run: str, source: str
) -> tuple[Callable[[Point], float], list[str]]:
    """Choose the number that orders the losses: step, fractional epoch or time; and notes about the choice."""
    points = (*train, *val)
    has_times = all(point.time is not None for point in points)
    if all(point.step is not None for point in points):
        position, name = _get_step, "steps"
    elif all(point.epoch is not None for point in points):
        position, name = _get_epoch, "epochs"
    elif has_times:
        return _get_time, ["The losses were paired by the time at which they were logged."]
    else:
        without = next(point for point in points if point.epoch is None)
        raise PipelineError(f"{without.location}: the epoch must be a whole number, but is ''.")
    train_positions, val_positions = ([position(point) for point in side] for side in (train, val))
    if _cover_same_range(train_positions, val_positions):
        return position, []
    differ = (
        f"training losses at {name} {min(train_positions):g} to {max(train_positions):g} and validation losses at "
        f"{name} {min(val_positions):g} to {max(val_positions):g}"
    )
    if not has_times:
        raise PipelineError(
            f"{source}: run {run} has {differ}. These are probably different counters. Log both losses with the same "
            f"counter."
        )
    return _get_time, [
        f"The log has {differ}, which are different counters, so the losses were paired by the time at which they "
        f"were logged."
    ]


def _cover_same_range(train: Sequence[float], val: Sequence[float]) -> bool:
    """Return whether both losses end at about the same position, apart from losses after the last validation."""
    last_train, last_val = max(train), max(val)
    shorter = train if last_train < last_val else val
    ends = [min(*train, *val) - 1, *sorted(set(shorter))]
    return abs(last_train - last_val) <= 2 * max(after - before for before, after in pairwise(ends))


def _pair_equal(
    train: Sequence[Point], val: Sequence[Point], position: Callable[[Point], float], run: str, source: str
) -> PairedLosses:
    """Pair the losses with the same epoch or step; several losses of one epoch are averaged."""
    sides: list[dict[float, list[Point]]] = [{}, {}]
    for side, points in zip(sides, (train, val), strict=True):
        for point in points:
            side.setdefault(position(point), []).append(point)
    numbers = sorted(sides[0].keys() & sides[1].keys())
    if not numbers:
        raise PipelineError(_describe_unpaired(train, val, run, source))
    name, notes = "Steps" if position is _get_step else "Epochs", []
    if incomplete := sorted((sides[0].keys() | sides[1].keys()) - set(numbers)):
        notes.append(f"{name} with only one of the losses were left out: {_join_numbers(incomplete)}.")
    if averaged := [number for number in numbers if len(sides[0][number]) > 1 or len(sides[1][number]) > 1]:
        notes.append(f"{name} with several values were averaged: {_join_numbers(averaged)}.")
    train_means, val_means = ([_average(side[number]) for number in numbers] for side in sides)
    return _label([point.loss for point in train_means], val_means, notes)


def _average(points: Sequence[Point]) -> Point:
    """Average several losses with the same position."""
    return points[-1]._replace(loss=_compute_mean([point.loss for point in points]))


def _compute_mean(losses: Sequence[float] | npt.NDArray[np.float64]) -> float:
    """Compute a mean, which is NaN or infinite for a diverged run."""
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.mean(losses))


def _join_numbers(numbers: Sequence[float]) -> str:
    return join_names([f"{number:.10g}" for number in numbers], 5)


def _merge_duplicates(val: Sequence[Point], position: Callable[[Point], float]) -> tuple[list[Point], list[str]]:
    """Average validation losses with the same position."""
    groups: dict[float, list[Point]] = {}
    for point in val:
        groups.setdefault(position(point), []).append(point)
    repeated = [number for number, points in groups.items() if len(points) > 1]
    notes = [f"Several validation losses at one position were averaged: {_join_numbers(repeated)}."] if repeated else []
    return [_average(points) for points in groups.values()], notes


def _average_between(
    train: Sequence[Point], val: Sequence[Point], position: Callable[[Point], float]
) -> tuple[list[tuple[float, Point]], list[str]]:
    """Average the training losses since the previous validation; both losses are sorted by position.

    A training loss at the position of a validation belongs to the next interval if it was logged after the validation.
    """
    positions = [(position(point), -math.inf if point.time is None else point.time) for point in train]
    losses = np.array([point.loss for point in train])
    order = sorted(range(len(train)), key=positions.__getitem__)
    positions, losses = [positions[index] for index in order], losses[order]
    limits = [(position(point), math.inf if point.time is None else point.time) for point in val]
    ends = [bisect.bisect_right(positions, limit) for limit in limits]
    pairs = []
    for start, end, point in zip([0, *ends[:-1]], ends, val, strict=True):
        if end > start:
            pairs.append((_compute_mean(losses[start:end]), point))
    notes = ["Training losses were averaged from one validation to the next."]
    if len(pairs) < len(val):
        left_out = len(val) - len(pairs)
        notes.append(f"Validation losses without a training loss since the previous one were left out: {left_out}.")
    return pairs, notes


def _match_nearest(
    train: Sequence[Point], val: Sequence[Point], position: Callable[[Point], float]
) -> tuple[list[tuple[float, Point]], list[str]]:
    """Pair each validation loss with the nearest training loss; both losses are sorted by position."""
    spacing = float(np.median(np.diff([position(point) for point in val]))) if len(val) > 1 else 0.0
    positions = np.array([position(point) for point in train])
    pairs, used = [], set[int]()
    for point in val:
        nearest = int(np.abs(positions - position(point)).argmin())
        if nearest not in used and abs(positions[nearest] - position(point)) <= NEAREST_SHARE * spacing:
            used.add(nearest)
            pairs.append((train[nearest].loss, point))
    notes = ["Each validation loss was paired with the training loss that was logged nearest to it."]
    if len(pairs) < len(val):
        notes.append(f"Validation losses without a training loss nearby were left out: {len(val) - len(pairs)}.")
    return pairs, notes


def _label(train: Sequence[float], val: Sequence[Point], notes: Sequence[str]) -> PairedLosses:
    """Create the curves, and decide whether they are counted in epochs or steps.

    Raises:
        PipelineError: The validation losses have fractional epochs and no steps.
    """
    numbers, unit, rounded = _count_epochs(val)
    losses = np.array([point.loss for point in val], dtype=np.float64)
    curves = LossCurves(tuple(numbers), np.array(train, dtype=np.float64), losses, unit=unit)
    return PairedLosses(curves, (*notes, *rounded))


def _count_epochs(val: Sequence[Point]) -> tuple[list[int], Unit, list[str]]:
    """Return the epochs or steps of validation losses in order, the unit, and a note if epochs were rounded."""
    epochs = [point.epoch for point in val if point.epoch is not None]
    if len(epochs) == len(val):
        whole = [round(epoch) for epoch in epochs]
        deviation = max(abs(epoch - number) for epoch, number in zip(epochs, whole, strict=True))
        if deviation <= MAX_EPOCH_DEVIATION and all(after > before for before, after in pairwise(whole)):
            example = next((epoch for epoch, number in zip(epochs, whole, strict=True) if epoch != number), None)
            return whole, "epoch", [f"Fractional epochs such as {example:g} were rounded."] if example else []
    steps = [point.step for point in val if point.step is not None]
    if len(steps) < len(val) or any(step != int(step) for step in steps):
        point = next((point for point in val if point.epoch is not None and point.epoch != int(point.epoch)), val[0])
        number = point.step if point.epoch is None else point.epoch
        shown = "" if number is None else f"{number:g}"
        raise PipelineError(f"{point.location}: the epoch must be a whole number, but is '{shown}'.")
    numbers = [int(step) for step in steps]
    if any(after <= before for before, after in pairwise(numbers)):
        raise PipelineError(f"{val[0].location}: the steps of the validation losses do not increase.")
    # Many tools count epochs as steps. Consecutive numbers are epochs, because validation after every step is rare.
    consecutive = all(after - before == 1 for before, after in pairwise(numbers)) and (len(val) > 1 or numbers[0] <= 1)
    return numbers, "epoch" if consecutive else "step", []


def _describe_unpaired(train: Sequence[Point], val: Sequence[Point], run: str, source: str) -> str:
    counts = [len({(point.epoch, point.step) for point in side}) for side in (train, val)]
    return (
        f"{source}: run {run} has a training loss in {counts[0]} epochs and a validation loss in {counts[1]}, but no "
        f"epoch has both. Log both at the end of an epoch."
    )
