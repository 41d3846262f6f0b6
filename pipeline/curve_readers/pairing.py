"""Pair the training and validation losses of a run by epoch.

Some tools log both losses once per epoch. Others log the training loss every few steps, and the validation loss once or
several times per epoch. Training losses are then averaged from one validation to the next, or interpolated if they were
logged less often.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterable, Sequence
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
    has_epochs = all(point.epoch is not None and point.epoch == int(point.epoch) for point in (*train, *val))
    if has_epochs and not _trains_between_validations(train, val):
        return _pair_epochs(train, val, run, source)
    position, notes = _choose_position(train, val, run, source)
    train, val = sorted(train, key=position), sorted(val, key=position)
    val, merge_notes = _merge_duplicates(val, position, "validation")
    match = _average_between if len(train) >= DENSE_FACTOR * len(val) else _match_single
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


def _trains_between_validations(train: Sequence[Point], val: Sequence[Point]) -> bool:
    """Return whether training continued between validations of the same epoch, so that steps have to order the losses.

    The batches of a single validation may also have steps of their own. Steps that start again in every epoch cannot
    order the losses.
    """
    if any(point.step is None for point in (*train, *val)):
        return False
    epochs = [point.epoch or 0.0 for point in sorted((*train, *val), key=lambda point: (point.step, point.epoch))]
    if epochs != sorted(epochs):
        return False
    steps = sorted(map(_get_step, train))
    return any(
        first.epoch == second.epoch and bisect.bisect(steps, _get_step(first)) < bisect.bisect(steps, _get_step(second))
        for first, second in pairwise(sorted(val, key=_get_step))
    )


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


def _pair_epochs(train: Sequence[Point], val: Sequence[Point], run: str, source: str) -> PairedLosses:
    """Pair the losses of the same epoch; several losses of one epoch are averaged."""
    sides = [_group(points, _get_epoch) for points in (train, val)]
    epochs = sorted(sides[0].keys() & sides[1].keys())
    if not epochs:
        raise PipelineError(_describe_unpaired(train, val, run, source))
    notes = []
    if incomplete := sorted((sides[0].keys() | sides[1].keys()) - set(epochs)):
        notes.append(f"Epochs with only one of the losses were left out: {_join_numbers(incomplete)}.")
    if averaged := [epoch for epoch in epochs if len(sides[0][epoch]) > 1 or len(sides[1][epoch]) > 1]:
        notes.append(f"Epochs with several values were averaged: {_join_numbers(averaged)}.")
    train_means, val_means = ([_average(side[epoch]) for epoch in epochs] for side in sides)
    return _label([point.loss for point in train_means], val_means, notes)


def _group(points: Iterable[Point], position: Callable[[Point], float]) -> dict[float, list[Point]]:
    """Group losses by their position."""
    groups: dict[float, list[Point]] = {}
    for point in points:
        groups.setdefault(position(point), []).append(point)
    return groups


def _average(points: Sequence[Point]) -> Point:
    """Average several losses with the same position."""
    return points[-1]._replace(loss=_compute_mean([point.loss for point in points]))


def _compute_mean(losses: Sequence[float] | npt.NDArray[np.float64]) -> float:
    """Compute a mean, which is NaN or infinite for a diverged run."""
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.mean(losses))


def _join_numbers(numbers: Sequence[float]) -> str:
    return join_names([f"{number:.10g}" for number in numbers], 5)


def _merge_duplicates(
    points: Sequence[Point], position: Callable[[Point], float], side: Literal["training", "validation"]
) -> tuple[list[Point], list[str]]:
    """Average losses with the same position."""
    groups = _group(points, position)
    repeated = [number for number, group in groups.items() if len(group) > 1]
    notes = [f"Several {side} losses at one position were averaged: {_join_numbers(repeated)}."] if repeated else []
    return [_average(group) for group in groups.values()], notes


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


def _match_single(
    train: Sequence[Point], val: Sequence[Point], position: Callable[[Point], float]
) -> tuple[list[tuple[float, Point]], list[str]]:
    """Pair each validation loss with a single training loss; both losses are sorted by position.

    This is the nearest training loss if every validation has one nearby. Otherwise, training losses are interpolated.
    """
    train, notes = _merge_duplicates(train, position, "training")
    positions, losses = np.array([position(point) for point in train]), np.array([point.loss for point in train])
    spacing, interval = (
        float(np.median(np.diff(numbers))) if len(numbers) > 1 else 0.0
        for numbers in ([position(point) for point in val], positions)
    )
    reach = NEAREST_SHARE * spacing
    end = positions[-1] + max(reach, interval)  # training ends between two of its losses
    covered = [point for point in val if positions[0] - reach <= position(point) <= end]
    targets = np.array([position(point) for point in covered])
    after = np.searchsorted(positions, targets).clip(max=len(positions) - 1)
    before = (after - 1).clip(min=0)
    nearest = np.where(targets - positions[before] <= np.abs(positions[after] - targets), before, after)
    distances = np.abs(positions[nearest] - targets)
    is_near = len(np.unique(nearest)) == len(covered) and bool((distances <= reach).all())
    matched = losses[nearest] if is_near else np.interp(targets, positions, losses)
    if is_near and distances.any():
        notes.append("Each validation loss was paired with the training loss that was logged nearest to it.")
    if not is_near:
        count = np.count_nonzero(distances)
        notes.append(f"Training losses were interpolated for {count} of {len(covered)} validations.")
    if len(covered) < len(val):
        notes.append(f"Validation losses without a training loss nearby were left out: {len(val) - len(covered)}.")
    return list(zip(matched.tolist(), covered, strict=True)), notes


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
