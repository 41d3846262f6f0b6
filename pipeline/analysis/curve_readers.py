"""Read loss curves written by other tools, and tables of external results.

Supported formats:

- Tables with one row per epoch and the columns `epoch`, `train_loss`, `val_loss` and optionally `run`. Tables written
  by Keras' `CSVLogger` and Lightning's `metrics.csv`, in which each row has only one of the losses, are also supported.
- Tables with one row per value and the columns `key`, `value`, `step` and optionally `run_id`, as in MLflow's metric
  histories.
- DVCLive folders, which have one table per metric.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.analysis.curves import LossCurves, compute_gaps
from pipeline.errors import PipelineError
from pipeline.wording import join_names

# Column names in order of preference: Lightning's mean over an epoch comes before the value of a step.
TRAIN_NAMES = ("train_loss_epoch", "train_loss", "train/loss", "loss/train", "training_loss", "loss")
VAL_NAMES = (
    *("val_loss_epoch", "val_loss", "val/loss", "loss/val"),
    *("validation_loss", "valid_loss", "eval_loss", "eval/loss"),
)
EPOCH_NAMES = ("epoch", "step")
RUN_NAMES = ("run", "run_name", "run_id")
KEY_NAMES, VALUE_NAMES = ("key", "metric"), ("value",)

RESULT_NAMES = ("name", *RUN_NAMES)
NUMBER_NAMES = {
    "train_loss": TRAIN_NAMES,
    "val_loss": VAL_NAMES,
    "mean_iou": ("mean_iou",),
    "foreground_iou": ("foreground_iou",),
}

EXPECTED = "expected the columns epoch, train_loss and val_loss, or those of Keras, Lightning, MLflow or DVCLive"


@dataclass
class _LossesByEpoch:
    """Losses of one run by epoch; an epoch may have several values."""

    train: dict[int, list[float]] = field(default_factory=dict)
    val: dict[int, list[float]] = field(default_factory=dict)

    def add(self, side: str, row: dict[str, str], epoch: str, column: str, location: str) -> None:
        """Add a row's loss to the curve of `side` (train or val); `epoch` and `column` are column names."""
        number = _parse_number(row[epoch], location, "the epoch")
        if not math.isfinite(number) or number != int(number):
            raise PipelineError(f"{location}: the epoch must be a whole number, but is '{row[epoch]}'.")
        values: dict[int, list[float]] = getattr(self, side)
        values.setdefault(int(number), []).append(_parse_number(row[column], location, column))


@dataclass(frozen=True)
class RunCurves:
    """Loss curves of one run, read from a file."""

    name: str  # the run name, or the file name if the table has no run column
    curves: LossCurves  # only epochs that have both losses
    notes: tuple[str, ...]  # sentences about omitted epochs and averaged values


@dataclass(frozen=True)
class ExternalResult:
    """A result from outside this project."""

    name: str  # name of the run or row; empty if the file has a single unnamed run
    curves: LossCurves | None  # None if the file has single numbers instead of curves
    # `train_loss` and `val_loss` (at the best epoch if there are curves), `mean_iou` and `foreground_iou`; numbers that
    # are not in the file are left out
    numbers: dict[str, float]


def read_results(path: Path) -> list[ExternalResult]:
    """Read external results: loss curves, or a table with one row per result.

    A table of results has the column `name` and any of the columns in `NUMBER_NAMES`.

    Raises:
        PipelineError: The file cannot be read, or has an unknown format.
    """
    rows = [] if path.is_dir() else list(_read_rows(path))
    if not rows or _find_column(rows[0][1], EPOCH_NAMES):
        return [_summarize_curves(run, path) for run in read_curves(path)]
    results = []
    for line, row in rows:
        name, location = _find_column(row, RESULT_NAMES), f"{path}, line {line}"
        columns = {number: _find_column(row, names) for number, names in NUMBER_NAMES.items()}
        if name is None or not any(columns.values()):
            alternative = f"name and any of {', '.join(NUMBER_NAMES)}"
            raise PipelineError(f"{path} has the columns {', '.join(row)}; {EXPECTED}, or {alternative}.")
        numbers = {
            number: _parse_number(row[column], location, column)
            for number, column in columns.items()
            if column and row[column]
        }
        results.append(ExternalResult(row[name], None, numbers))
    return results


def _summarize_curves(run: RunCurves, path: Path) -> ExternalResult:
    """Create a result from a run's curves and its losses at the best epoch, which a diverged run does not have."""
    gaps, numbers = compute_gaps(run.curves), {}
    if gaps is not None:
        best = run.curves.epochs.index(gaps.best_epoch)
        numbers = {"train_loss": float(run.curves.train[best]), "val_loss": float(run.curves.val[best])}
    return ExternalResult("" if run.name in (path.stem, path.name) else run.name, run.curves, numbers)


def read_curves(path: Path) -> list[RunCurves]:
    """Read the loss curves of all runs in a file or folder, in the order of the file.

    Raises:
        PipelineError: The file cannot be read, has an unknown format or an invalid number, or a run has no epoch with
            both losses.
    """
    runs = {path.name: _read_dvclive_folder(path)} if path.is_dir() else _read_table(path)
    return [_create_curves(name, losses, path) for name, losses in runs.items()]


def _read_dvclive_folder(path: Path) -> _LossesByEpoch:
    """Read DVCLive's folder `plots/metrics`, which has one table per metric, named after the metric."""
    losses = _LossesByEpoch()
    files = {file.relative_to(path).with_suffix("").as_posix(): file for file in sorted(path.rglob("*.tsv"))}
    for side, names in (("train", TRAIN_NAMES), ("val", VAL_NAMES)):
        file = next((files[name] for name in names if name in files), None)
        if file is None:
            content = ", ".join(files) or "no .tsv file"
            expected = ", ".join(f"{name}.tsv" for name in names)
            raise PipelineError(f"{path} has {content}; expected one of {expected}.")
        for line, row in _read_rows(file):
            location = f"{file}, line {line}"
            epoch = _find_column(row, EPOCH_NAMES)
            value = next((name for name in reversed(row) if name not in (*EPOCH_NAMES, "timestamp")), None)
            if epoch is None or value is None:
                raise PipelineError(
                    f"{file} has the columns {', '.join(row)}; expected the column step and a column with the metric."
                )
            losses.add(side, row, epoch, value, location)
    return losses


def _read_table(path: Path) -> dict[str, _LossesByEpoch]:
    runs: dict[str, _LossesByEpoch] = {}
    for line, row in _read_rows(path):
        location = f"{path}, line {line}"
        run = _find_column(row, RUN_NAMES)
        losses = runs.setdefault(row[run] if run else path.stem, _LossesByEpoch())
        epoch, columns = _find_column(row, EPOCH_NAMES), _find_loss_columns(row)
        if epoch is None or columns is None:
            raise PipelineError(f"{path} has the columns {', '.join(row)}; {EXPECTED}.")
        for side, column in zip(("train", "val"), columns, strict=True):
            if column is not None and row[column].strip():
                losses.add(side, row, epoch, column, location)
    if not runs:
        raise PipelineError(f"{path} has no rows below its header; {EXPECTED}.")
    return runs


def _find_loss_columns(row: dict[str, str]) -> tuple[str | None, str | None] | None:
    """Find the columns with a row's training and validation loss; None if the table has an unknown format."""
    key, value = _find_column(row, KEY_NAMES), _find_column(row, VALUE_NAMES)
    if key and value:  # one row per value
        return (value if row[key] in TRAIN_NAMES else None), (value if row[key] in VAL_NAMES else None)
    train, val = _find_column(row, TRAIN_NAMES), _find_column(row, VAL_NAMES)
    return (train, val) if train and val else None


def _read_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a table with their line numbers; the separator is a tab, a semicolon or a comma."""
    try:
        # utf-8-sig: spreadsheets write a byte order mark.
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            reader = csv.DictReader(file, delimiter=next((mark for mark in "\t;" if mark in header), ","))
            names = [name.strip() for name in reader.fieldnames or []]
            if not any(names):
                raise PipelineError(f"{path} is empty; {EXPECTED}.")
            if len(set(names)) < len(names):
                raise PipelineError(f"{path} has two columns with the same name: {', '.join(names)}. Rename one.")
            reader.fieldnames = names
            for row in reader:
                if None in row or None in row.values():
                    raise PipelineError(
                        f"{path}, line {reader.line_num}: the number of values differs from the {len(names)} column "
                        f"names in the first line."
                    )
                yield reader.line_num, row
    except OSError as error:
        raise PipelineError(f"{path} cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise PipelineError(f"{path} is not a UTF-8 table ({error}); {EXPECTED}.") from None


def _find_column(row: dict[str, str], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in row), None)


def _parse_number(text: str, location: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise PipelineError(f"{location}: {name} must be a number such as 0.25, but is '{text}'.") from None


def _create_curves(run: str, losses: _LossesByEpoch, path: Path) -> RunCurves:
    epochs = sorted(losses.train.keys() & losses.val.keys())
    if not epochs:
        raise PipelineError(
            f"{path}: run {run} has a training loss in {len(losses.train)} epochs and a validation loss in "
            f"{len(losses.val)}, but no epoch has both. Log both at the end of an epoch."
        )
    notes = []
    incomplete = (losses.train.keys() | losses.val.keys()) - set(epochs)
    if incomplete:
        notes.append(f"Epochs with only one of the losses were left out: {join_names(sorted(incomplete), 5)}.")
    averaged = [epoch for epoch in epochs if len(losses.train[epoch]) > 1 or len(losses.val[epoch]) > 1]
    if averaged:
        notes.append(f"Epochs with several values were averaged: {join_names(averaged, 5)}.")
    train, val = ([float(np.mean(values[epoch])) for epoch in epochs] for values in (losses.train, losses.val))
    return RunCurves(run, LossCurves(tuple(epochs), np.array(train), np.array(val)), tuple(notes))
