"""Read runs from records: the rows of a table, or JSON objects.

Supported layouts:

- One record per epoch or step, with columns such as `epoch`, `train_loss`, `val_loss` and optionally `run`. A record
  may have only one of the losses, as in Lightning's `metrics.csv`.
- One record per value, with the columns `key`, `value`, `step` and optionally `run_id`, as in MLflow's metric
  histories.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.curve_readers.logged_run import LoggedRun, LoggedValue
from pipeline.curve_readers.losses import TRAIN_NAMES, VAL_NAMES, find_name, is_loss_name, select_losses
from pipeline.curve_readers.parsing import is_missing
from pipeline.errors import PipelineError
from pipeline.wording import join_names

EPOCH_NAMES = ("epoch", "epochs", "train_epoch", "trainer_epoch")
STEP_NAMES = ("step", "steps", "global_step", "train_global_step", "trainer_global_step", "iteration", "iter")
TIME_NAMES = ("timestamp", "wall_time")
RUN_NAMES = ("run", "run_name", "run_id")
KEY_NAMES, VALUE_NAMES = ("key", "metric"), ("value",)
EXPECTED = "expected the columns epoch, train_loss and val_loss, or a log of a tool that `pipeline judge --help` lists"
WANDB_SAMPLES = 500  # number of records to which `run.history()` of Weights & Biases samples by default


class Record(NamedTuple):
    """A row of a table, or a JSON object."""

    values: dict[str, object]
    location: str  # file and line, for messages


@dataclass(frozen=True)
class _Columns:
    """Names of the columns that say to which run and time a record belongs; None if a table does not have one."""

    run: str | None
    epoch: str | None
    step: str | None
    time: str | None


def find_columns(records: Iterable[Record]) -> list[str]:
    """Return the names of all columns, in the order of their first record."""
    return list(dict.fromkeys(name for record in records for name in record.values))


def has_epochs(columns: Sequence[str]) -> bool:
    """Return whether a table has a column with epochs or steps."""
    return find_name(columns, EPOCH_NAMES + STEP_NAMES) is not None


def read_records(records: Sequence[Record], source: str, name: str) -> list[LoggedRun]:
    """Read the runs of a table.

    Args:
        records: The records of all runs.
        source: The file, for messages.
        name: Name of the run if the table does not name its runs.

    Raises:
        PipelineError: The table has no records, or columns of an unknown format.
    """
    if not records:
        raise PipelineError(f"{source} has no rows below its header; {EXPECTED}.")
    names = find_columns(records)
    columns = _Columns(
        next((column for column in RUN_NAMES if column in names), None),
        *(find_name(names, candidates) for candidates in (EPOCH_NAMES, STEP_NAMES, TIME_NAMES)),
    )
    key, value = (next((name for name in found if name in names), None) for found in (KEY_NAMES, VALUE_NAMES))
    is_long = key is not None and value is not None
    has_order = columns.epoch is not None or columns.step is not None
    if (not is_long and not _has_losses(names)) or (not has_order and (is_long or columns.run is not None)):
        raise PipelineError(f"{source} has the columns {join_names(names, 20)}; {EXPECTED}.")
    runs: dict[str, LoggedRun] = {}
    metrics = [column for column in names if is_loss_name(column)]
    for number, record in enumerate(records, start=1):
        run_name = name if columns.run is None else str(record.values.get(columns.run, ""))
        run = runs.setdefault(run_name, LoggedRun(run_name))
        if key is not None and value is not None:
            run.add(str(record.values.get(key)), _create_value(record, value, columns, number))
            continue
        for column in metrics:
            if not is_missing(record.values.get(column)):
                run.add(column, _create_value(record, column, columns, number))
    for run in runs.values():
        if not has_order:
            run.notes.append("The table has no column epoch or step, so its rows were counted.")
        if "_step" in names and len(records) == WANDB_SAMPLES:
            run.notes.append(
                f"The table has exactly {WANDB_SAMPLES} rows, to which run.history() samples longer runs, so losses "
                f"may be missing. Export with scan_history instead."
            )
        if not is_long:
            _drop_placeholders(run)
    return list(runs.values())


def _has_losses(names: Sequence[str]) -> bool:
    """Return whether columns include a loss; a message about the other one is then more helpful than the columns."""
    known = find_name(names, TRAIN_NAMES) is not None or find_name(names, VAL_NAMES) is not None
    return known or bool(select_losses(names)[0])


def _create_value(record: Record, column: str, columns: _Columns, number: int) -> LoggedValue:
    epoch, step, time = (
        None if name is None else record.values.get(name) for name in (columns.epoch, columns.step, columns.time)
    )
    if columns.epoch is None and columns.step is None:
        step = number
    if isinstance(time, str) and not time.replace(".", "", 1).strip().isdigit():
        time = None  # a date, which is not needed
    return LoggedValue(record.values.get(column), record.location, epoch, step, time)


def _drop_placeholders(run: LoggedRun) -> None:
    """Drop NaN from tables in which no record has both losses: there, NaN marks a value that was not logged."""
    selected, _ = select_losses(run.metrics)
    if not selected:
        return
    sides = [run.metrics[names[0]] for names in (selected[0].train, selected[0].val)]
    finite = [{value.location for value in side if _is_finite(value.value)} for side in sides]
    if finite[0] & finite[1] or not all(finite):
        return
    for losses in selected:
        for name in (*losses.train, *losses.val):
            numbers = [value for value in run.metrics[name] if not _is_nan(value.value)]
            if len(numbers) < len(run.metrics[name]):
                run.metrics[name] = numbers
                note = "No row has both losses, so NaN was read as a loss that was not logged."
                run.notes += [note] if note not in run.notes else []


def _to_float(value: object) -> float | None:
    try:
        return float(value) if isinstance(value, (int, float, str)) else None
    except (ValueError, OverflowError):
        return None


def _is_finite(value: object) -> bool:
    number = _to_float(value)
    return number is not None and math.isfinite(number)


def _is_nan(value: object) -> bool:
    number = _to_float(value)
    return number is not None and math.isnan(number)
