"""Loss curves out of files that other tools write, and tables of other people's results.

Read are tables with a row an epoch (`epoch, train_loss, val_loss`, optionally `run`; Keras' `CSVLogger`; Lightning's
`metrics.csv`, whose rows hold one side each), tables with a row a value (`key, value, step`, optionally `run_id`, as
MLflow exports a metric's history), and DVCLive's folder of one table a metric.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.analysis.curves import Curves, gaps
from pipeline.errors import PipelineError

# In this order, so that Lightning's mean of an epoch goes before a value of a step.
TRAIN = ("train_loss_epoch", "train_loss", "train/loss", "loss/train", "training_loss", "loss")
VAL = ("val_loss_epoch", "val_loss", "val/loss", "loss/val", "validation_loss", "valid_loss", "eval_loss", "eval/loss")
EPOCH = ("epoch", "step")
RUN = ("run", "run_name", "run_id")
KEY, VALUE = ("key", "metric"), ("value",)

SCORES = ("mean_iou", "foreground_iou")  # that a table of results may have beside the losses
NAME = ("name", *RUN)
NUMBERS = {"train_loss": TRAIN, "val_loss": VAL} | {score: (score,) for score in SCORES}

EXPECTED = "expected are the columns epoch, train_loss and val_loss, or those of Keras, Lightning, MLflow or DVCLive"


@dataclass
class _Losses:
    """What a file says of one run: values by epoch, a side each."""

    train: dict[int, list[float]] = field(default_factory=dict)
    val: dict[int, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class RunCurves:
    """A run of a file.

    Attributes:
        run: its name; the file's where the table has no runs.
        curves: at the epochs that have both losses.
        notes: what was done to get them, where the file leaves a choice.
    """

    run: str
    curves: Curves
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """Somebody's result, with as much as the file says.

    Attributes:
        name: of a run or a row; empty where the file is of a single one without a name.
        curves: None where there are but single numbers.
        numbers: `train_loss`, `val_loss` (of the best epoch where there are curves), `mean_iou`, `foreground_iou`.
    """

    name: str
    curves: Curves | None
    numbers: dict[str, float]


def read_results(path: Path) -> list[Result]:
    """The curves of a file, or the rows of a table without epochs: a `name` and any of the numbers of `Result`.

    Raises:
        PipelineError: It cannot be read, or is neither.
    """
    rows = [] if path.is_dir() else list(_rows(path))
    if not rows or _column(rows[0][1], EPOCH):
        return [_end_of(one, path) for one in read_curves(path)]
    results = []
    for line, row in rows:
        name, where = _column(row, NAME), f"{path}, line {line}"
        found = {number: _column(row, usual) for number, usual in NUMBERS.items()}
        if name is None or not any(found.values()):
            wanted = f"name and any of {', '.join(NUMBERS)}"
            raise PipelineError(f"{path} has the columns {', '.join(row)}; {EXPECTED}, or {wanted}.")
        numbers = {key: _number(row[column], where, column) for key, column in found.items() if column and row[column]}
        results.append(Result(row[name], None, numbers))
    return results


def _end_of(one: RunCurves, path: Path) -> Result:
    """What a run's curves come to at their best epoch."""
    found, numbers = gaps(one.curves), {}
    if found is not None:
        best = one.curves.epochs.index(found.best_epoch)
        numbers = {"train_loss": float(one.curves.train[best]), "val_loss": float(one.curves.val[best])}
    return Result("" if one.run in (path.stem, path.name) else one.run, one.curves, numbers)


def read_curves(path: Path) -> list[RunCurves]:
    """The runs of a file, in its order.

    Raises:
        PipelineError: It cannot be read, is no such table, holds what is no number, or has no epoch with both losses.
    """
    runs = {path.name: _folder(path)} if path.is_dir() else _table(path)
    return [_curves(run, losses, path) for run, losses in runs.items()]


def _folder(path: Path) -> _Losses:
    """DVCLive's `plots/metrics`: a table a metric, named as the metric."""
    losses, found = _Losses(), sorted(path.rglob("*.tsv"))
    names = {file.relative_to(path).with_suffix("").as_posix(): file for file in found}
    for side, usual in ((losses.train, TRAIN), (losses.val, VAL)):
        file = next((names[name] for name in usual if name in names), None)
        if file is None:
            there = ", ".join(names) or "no .tsv file"
            raise PipelineError(f"{path} holds {there}; expected is one of {', '.join(f'{n}.tsv' for n in usual)}.")
        for line, row in _rows(file):
            where = f"{file}, line {line}"
            epoch = _column(row, EPOCH)
            value = next((name for name in reversed(row) if name not in (*EPOCH, "timestamp")), None)
            if epoch is None or value is None:
                raise PipelineError(f"{where}: has the columns {', '.join(row)}; expected are step and the metric.")
            side.setdefault(_epoch(row[epoch], where), []).append(_number(row[value], where, value))
    return losses


def _table(path: Path) -> dict[str, _Losses]:
    runs: dict[str, _Losses] = {}
    for line, row in _rows(path):
        where = f"{path}, line {line}"
        run = _column(row, RUN)
        losses = runs.setdefault(row[run] if run else path.stem, _Losses())
        sides = _long(row) if _column(row, KEY) and _column(row, VALUE) else _wide(row)
        epoch = _column(row, EPOCH)
        if epoch is None or sides is None:
            raise PipelineError(f"{path} has the columns {', '.join(row)}; {EXPECTED}.")
        for side, name in zip((losses.train, losses.val), sides, strict=True):
            if name is not None and row[name].strip():
                side.setdefault(_epoch(row[epoch], where), []).append(_number(row[name], where, name))
    if not runs:
        raise PipelineError(f"{path} has no rows below its first line; {EXPECTED}.")
    return runs


def _wide(row: dict[str, str]) -> tuple[str | None, str | None] | None:
    """The columns of the two sides; None where one is missing."""
    train, val = _column(row, TRAIN), _column(row, VAL)
    return (train, val) if train and val else None


def _long(row: dict[str, str]) -> tuple[str | None, str | None]:
    key, value = _column(row, KEY), _column(row, VALUE)
    assert key is not None
    return (value if row[key] in TRAIN else None), (value if row[key] in VAL else None)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a table and their lines, whichever of tab, semicolon and comma parts its columns."""
    try:
        # utf-8-sig: spreadsheets write a mark before the first name.
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            reader = csv.DictReader(file, delimiter=next((mark for mark in "\t;" if mark in head), ","))
            names = [name.strip() for name in reader.fieldnames or []]
            if not any(names):
                raise PipelineError(f"{path} is empty; {EXPECTED}.")
            if len(set(names)) < len(names):
                raise PipelineError(f"{path} names a column twice: {', '.join(names)}; rename one.")
            reader.fieldnames = names
            for row in reader:
                if None in row or None in row.values():
                    line = f"{path}, line {reader.line_num}"
                    raise PipelineError(f"{line}: has not as many values as the first line has names.")
                yield reader.line_num, row
    except OSError as error:
        raise PipelineError(f"{path} cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise PipelineError(f"{path} is no table in UTF-8 ({error}); {EXPECTED}.") from None


def _column(row: dict[str, str], usual: Sequence[str]) -> str | None:
    return next((name for name in usual if name in row), None)


def _number(text: str, where: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise PipelineError(f"{where}: {name} must be a number such as 0.25, but is '{text}'.") from None


def _epoch(text: str, where: str) -> int:
    number = _number(text, where, "the epoch")
    if not math.isfinite(number) or number != int(number):
        raise PipelineError(f"{where}: the epoch must be a whole number, but is '{text}'.")
    return int(number)


def _curves(run: str, losses: _Losses, path: Path) -> RunCurves:
    epochs = sorted(losses.train.keys() & losses.val.keys())
    if not epochs:
        raise PipelineError(
            f"{path}: of run {run}, {len(losses.train)} epochs have a training loss and {len(losses.val)} a validation "
            f"loss, but none has both. Log both at the end of an epoch."
        )
    notes = []
    alone = (losses.train.keys() | losses.val.keys()) - set(epochs)
    if alone:
        notes.append(f"Epochs with one of the losses only were left out: {_some(sorted(alone))}.")
    several = sorted(epoch for epoch in epochs if len(losses.train[epoch]) > 1 or len(losses.val[epoch]) > 1)
    if several:
        notes.append(f"Of several values in an epoch the mean was taken: in {_some(several)}.")
    train, val = ([float(np.mean(side[epoch])) for epoch in epochs] for side in (losses.train, losses.val))
    return RunCurves(run, Curves(tuple(epochs), np.array(train), np.array(val)), tuple(notes))


def _some(epochs: list[int]) -> str:
    shown = ", ".join(map(str, epochs[:5]))
    return f"{shown} and {len(epochs) - 5} more" if len(epochs) > 5 else shown
