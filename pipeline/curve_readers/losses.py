"""Select the training and validation losses among the metrics of a run."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.curve_readers.logged_run import LoggedRun, LoggedValue, RunCurves
from pipeline.curve_readers.pairing import Point, pair_losses
from pipeline.curve_readers.parsing import is_missing, parse_number
from pipeline.errors import PipelineError
from pipeline.wording import join_names

# Normalized names in order of preference: Lightning's mean over an epoch comes before the value of a step.
TRAIN_NAMES = (
    *("train_loss_epoch", "epoch_train_loss", "train_epoch_loss", "train_loss", "loss_train", "training_loss"),
    *("loss_training", "train_losses", "train_total_loss", "train_loss_total", "loss_epoch", "loss", "total_loss"),
    *("train_loss_step", "loss_step"),
)
VAL_NAMES = (
    *("val_loss_epoch", "epoch_val_loss", "val_epoch_loss", "val_loss", "loss_val", "validation_loss"),
    *("loss_validation", "valid_loss", "loss_valid", "val_losses", "eval_loss", "loss_eval", "val_total_loss"),
    *("val_loss_total", "valid_total_loss"),
)
MAX_LOSS = 1e100  # of a run that has not diverged; the squares of higher losses cannot be computed
_SUFFIXES = ("_epoch", "_step")  # of the names under which Lightning logs the same loss
_PART = re.compile(r"(train|val(?:id|idation)?|eval)_(?=\w*loss)(\w+)")  # Ultralytics: train/box_loss


@dataclass(frozen=True)
class SelectedLoss:
    """The metrics with a loss, or with a part of it."""

    part: str  # empty for the whole loss
    train: tuple[str, ...]  # names of the metrics to sum
    val: tuple[str, ...]


def normalize_name(name: str) -> str:
    """Write a metric's name in lower case with underscores, so that `Loss/train` becomes `loss_train`."""
    return re.sub(r"[^0-9a-z]+", "_", name.lower()).strip("_")


def find_name(names: Iterable[str], candidates: Sequence[str]) -> str | None:
    """Find the name that matches the first possible of the normalized candidates; None if none does."""
    by_normalized: dict[str, str] = {}
    for name in names:
        by_normalized.setdefault(normalize_name(name), name)
    return next((by_normalized[candidate] for candidate in candidates if candidate in by_normalized), None)


def is_loss_name(name: str) -> bool:
    """Return whether a metric may be a loss or a part of it."""
    return "loss" in name.lower()


def select_losses(names: Collection[str]) -> tuple[list[SelectedLoss], list[str]]:
    """Select the training and validation loss among the names of a run's metrics.

    If a run has only parts of the loss, as Ultralytics writes, their sum and every part are selected.

    Returns:
        The selected losses, none if a loss is missing; and notes about the choice.
    """
    train, val = find_name(names, TRAIN_NAMES), find_name(names, VAL_NAMES)
    if train and val:
        notes = [*_list_ignored(names, train, TRAIN_NAMES), *_list_ignored(names, val, VAL_NAMES)]
        return [SelectedLoss("", (train,), (val,))], notes
    parts: dict[str, dict[str, str]] = {}
    for name in names:
        if match := _PART.fullmatch(normalize_name(name)):
            parts.setdefault(match[2], {}).setdefault("train" if match[1] == "train" else "val", name)
    pairs = {part: sides for part, sides in parts.items() if len(sides) == 2}
    if not pairs or train or val:
        return [], []
    total = SelectedLoss(
        "", tuple(sides["train"] for sides in pairs.values()), tuple(sides["val"] for sides in pairs.values())
    )
    single = [SelectedLoss(part, (sides["train"],), (sides["val"],)) for part, sides in pairs.items()]
    unpaired = [name for part, sides in parts.items() if part not in pairs for name in sides.values()]
    notes = [f"Parts of the loss that only one side has were not used: {join_names(unpaired)}."] if unpaired else []
    if len(pairs) == 1:
        return [total], [f"The losses are {total.train[0]} and {total.val[0]}.", *notes]
    note = f"The log has no whole loss, so its parts were added with equal weights: {join_names(pairs)}."
    return [total, *single], [note, *notes]


def create_curves(run: LoggedRun, source: str, advice: str = "") -> list[RunCurves]:
    """Create the loss curves of a run: of its whole loss, then of its parts if it was logged by part.

    Args:
        run: The run as logged.
        source: The file or folder, for messages.
        advice: Sentence that says how to add a missing loss.

    Raises:
        PipelineError: A loss is missing or not a number, or the losses cannot be paired.
    """
    names = [name for name, values in run.metrics.items() if any(not is_missing(value.value) for value in values)]
    selected, notes = select_losses(names)
    if not selected:
        raise PipelineError(_describe_missing(run.name, names, source, advice))
    curves = []
    for loss in selected:
        train, val = _sum_parts(run, loss.train), _sum_parts(run, loss.val)
        own_notes = [*run.notes, *notes] if not loss.part else []
        if len(selected) > 1:
            if not any(point.loss for point in (*train, *val)):
                continue  # a part that the task does not use, such as the class loss with a single class
            val, zeros = _leave_out_zeros(train, val)
            if not val:
                raise PipelineError(
                    f"{source}: run {run.name} has only zeros as validation losses, because validation was switched "
                    f"off. Train with validation (val=True)."
                )
            own_notes += zeros if not loss.part else []
        paired = pair_losses(train, val, run.name, source)
        curves.append(RunCurves(run.name, paired.curves, (*own_notes, *paired.notes), loss.part))
    return curves


def _list_ignored(names: Collection[str], selected: str, candidates: Sequence[str]) -> Iterator[str]:
    """Yield a note about metrics that could also have been the selected loss."""
    stem = _strip_suffix(selected)
    others = [
        name
        for name in names
        if name != selected and normalize_name(name) in candidates and _strip_suffix(name) != stem
    ]
    if others:
        side = "training" if candidates is TRAIN_NAMES else "validation"
        yield f"The {side} loss is {selected}; {join_names(others)} was not used."


def _strip_suffix(name: str) -> str:
    normalized = normalize_name(name)
    return next((normalized.removesuffix(suffix) for suffix in _SUFFIXES if normalized.endswith(suffix)), normalized)


def _describe_missing(run: str, names: Sequence[str], source: str, advice: str) -> str:
    losses = [name for name in names if is_loss_name(name)]
    train, val = find_name(names, TRAIN_NAMES), find_name(names, VAL_NAMES)
    found = f"has the metrics {join_names(losses or names)}" if names else "has no metrics"
    if train and not val:
        found = f"has a training loss ({train}) but no validation loss"
    elif val and not train:
        found = f"has a validation loss ({val}) but no training loss"
    advice = advice or "Log both losses, for example as train_loss and val_loss."
    tests = [name for name in losses if "test" in name.lower()] if train and not val else []
    if tests:
        advice += f" If {tests[0]} was measured on the validation images, rename it to val_loss."
    return f"{source}: run {run} {found}; a verdict requires a training and a validation loss. {advice}"


def _parse_points(values: Iterable[LoggedValue], name: str) -> list[Point]:
    points = []
    for value in values:
        if is_missing(value.value):
            continue
        epoch, step, time = (
            None if is_missing(number) else parse_number(number, value.location, label)
            for number, label in ((value.epoch, "the epoch"), (value.step, "the step"), (value.time, "the time"))
        )
        loss = parse_number(value.value, value.location, name)
        loss = math.copysign(math.inf, loss) if abs(loss) > MAX_LOSS else loss
        points.append(Point(loss, value.location, epoch, step, time))
    return points


def _sum_parts(run: LoggedRun, names: Sequence[str]) -> list[Point]:
    """Sum the parts of a loss at the epochs or steps at which all of them were logged."""
    first, *others = (_parse_points(run.metrics[name], name) for name in names)
    for part in others:
        by_position: dict[tuple[float | None, float | None], list[float]] = {}
        for point in part:
            by_position.setdefault((point.epoch, point.step), []).append(point.loss)
        first = [
            point._replace(loss=point.loss + losses.pop(0))
            for point in first
            if (losses := by_position.get((point.epoch, point.step)))
        ]
    return first


def _leave_out_zeros(train: Sequence[Point], val: list[Point]) -> tuple[list[Point], list[str]]:
    """Leave out validation losses of exactly 0, which Ultralytics writes for epochs without validation."""
    if not any(point.loss for point in train):
        return val, []
    measured = [point for point in val if point.loss]
    notes = ["Validation losses of exactly 0 were not measured and were left out."] if len(measured) < len(val) else []
    return measured, notes
