"""Read runs from records: the rows of a table, or JSON objects.

Supported layouts:

- One record per epoch or step, with columns such as `epoch`, `train_loss`, `val_loss` and optionally `run`. A record
  may have only one of the losses, as in Lightning's `metrics.csv`.
- One record per value, with the columns `key`, `value`, `step` and optionally `run_id`, as in MLflow's metric
  histories.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from pipeline.curve_readers.logged_run import LoggedRun, LoggedValue
from pipeline.curve_readers.losses import TRAIN_NAMES, VAL_NAMES, find_name, is_loss_name, normalize_name, select_losses
from pipeline.curve_readers.parsing import is_missing, to_float
from pipeline.curve_readers.repeated_epochs import LossRow, find_run_columns, renumber_attempts, split_attempts
from pipeline.errors import PipelineError
from pipeline.wording import join_names

EPOCH_NAMES = ("epoch", "epochs", "train_epoch", "trainer_epoch")
STEP_NAMES = ("step", "steps", "global_step", "train_global_step", "trainer_global_step", "iteration", "iter")
TIME_NAMES = ("timestamp", "wall_time")
RUN_NAMES = ("run", "run_name", "run_id", "run_uuid")
RESULT_NAMES = ("name", *RUN_NAMES)
# Columns that name results if their texts differ; other texts beside both losses describe epochs, such as checkpoints.
LABEL_NAMES = (
    *("model", "model_name", "method", "variant", "architecture", "arch", "network", "encoder", "backbone"),
    *("experiment", "experiment_name", "config"),
)
KEY_NAMES, VALUE_NAMES = ("key", "metric"), ("value",)
EXPECTED = "expected the columns epoch, train_loss and val_loss, or a log of a tool that `pipeline judge --help` lists"
WANDB_SAMPLES = 500  # number of records to which `run.history()` of Weights & Biases samples by default


class Record(NamedTuple):
    """A row of a table, or a JSON object."""

    values: dict[str, object]
    location: str  # file and line, for messages


@dataclass(frozen=True)
class _Columns:
    """Names of the columns that have a meaning; None if a table does not have one."""

    run: str | None
    epoch: str | None
    step: str | None
    time: str | None
    key: str | None  # name of the metric in a table with one record per value
    value: str | None
    losses: tuple[str, ...]  # columns of other tables

    @property
    def has_order(self) -> bool:
        """Whether there are epochs or steps."""
        return self.epoch is not None or self.step is not None

    @property
    def is_long(self) -> bool:
        """Whether there is one record per value."""
        return self.key is not None and self.value is not None

    def list_losses(self, record: Record) -> Iterator[tuple[str, str]]:
        """Yield the metric's name and the column of every value in a record that may be a loss."""
        if self.key is not None and self.value is not None:
            yield str(record.values.get(self.key)), self.value
        else:
            for column in self.losses:
                if not is_missing(record.values.get(column)):
                    yield column, column


def find_columns(records: Iterable[Record]) -> list[str]:
    """Return the names of all columns, in the order of their first record."""
    return list(dict.fromkeys(name for record in records for name in record.values))


def has_epochs(columns: Sequence[str]) -> bool:
    """Return whether a table has a column with epochs or steps."""
    return find_name(columns, EPOCH_NAMES + STEP_NAMES) is not None


def find_name_column(records: Sequence[Record]) -> str | None:
    """Find the column that names the rows of a table with one row per result; None if rows have no names.

    Without a column such as `name`, it is the first one with a different text in each row. Dates are not names. In a
    table with both losses, whose rows may be epochs, only columns such as `model` are considered.
    """
    columns = find_columns(records)
    has_losses = bool(select_losses(columns)[0])
    candidates = [column for column in columns if not has_losses or normalize_name(column) in LABEL_NAMES]
    return find_name(columns, RESULT_NAMES) or next(
        (column for column in candidates if _are_names([record.values.get(column) for record in records])), None
    )


def _are_names(values: Sequence[object]) -> bool:
    names = {value.strip() for value in values if isinstance(value, str) and not is_missing(value)}
    are_numbers = any(to_float(name) is not None for name in names)
    return len(names) == len(values) and not are_numbers and not all(name[0].isdigit() for name in names)


def read_records(records: Sequence[Record], source: str, name: str, notes: Sequence[str] = ()) -> list[LoggedRun]:
    """Read the runs of a table.

    Args:
        records: The records of all runs.
        source: The file, for messages.
        name: Name of the run if the table does not name its runs.
        notes: Notes about the records, which come first in the notes of each run.

    Raises:
        PipelineError: The table has no records, or columns of an unknown format.
    """
    if not records:
        raise PipelineError(f"{source} has no rows below its header; {EXPECTED}.")
    names = find_columns(records)
    candidates = (RUN_NAMES, EPOCH_NAMES, STEP_NAMES, TIME_NAMES, KEY_NAMES, VALUE_NAMES)
    run, epoch, step, time, key, value = (find_name(names, group) for group in candidates)
    columns = _Columns(run, epoch, step, time, key, value, tuple(filter(is_loss_name, names)))
    is_unordered = not columns.has_order and (columns.is_long or find_name_column(records) is not None)
    if (not columns.is_long and not _has_losses(names)) or is_unordered:
        raise PipelineError(f"{source} has the columns {join_names(names, 20)}; {EXPECTED}.")
    groups: dict[str, list[Record]] = {}
    for record in records:
        run_name = name if columns.run is None else str(record.values.get(columns.run, ""))
        groups.setdefault(run_name, []).append(record)
    runs = []
    for run_name, group in groups.items():
        logged = LoggedRun(run_name, notes=list(notes))
        runs.append(logged)
        if not columns.has_order:
            logged.notes.append("The table has no column epoch or step, so its rows were counted.")
        if "_step" in names and len(records) == WANDB_SAMPLES:
            logged.notes.append(
                f"The table has exactly {WANDB_SAMPLES} rows, to which run.history() samples longer runs, so losses "
                f"may be missing. Export with scan_history instead."
            )
        for number, record in enumerate(_join_attempts(group, columns, logged.notes, source), start=1):
            for metric, column in columns.list_losses(record):
                logged.add(metric, _create_value(record, column, columns, number))
        _drop_unlogged(logged, columns.is_long)
    return runs


def _join_attempts(records: list[Record], columns: _Columns, notes: list[str], source: str) -> list[Record]:
    """Join the records of a training that was resumed.

    Args:
        records: Records of one run.
        columns: Meaning of the columns.
        notes: Receives notes about records that were renumbered or left out.
        source: The file, for messages.

    Returns:
        The records with their epochs renumbered, without those that a resumed training replaced.

    Raises:
        PipelineError: The records are those of several runs.
    """
    counter = columns.epoch or columns.step
    selected, _ = select_losses(
        list(dict.fromkeys(name for record in records for name, _ in columns.list_losses(record)))
    )
    if counter is None or not selected:
        return records  # if a loss is missing, another message describes it
    judged = {*selected[0].train, *selected[0].val}
    used: list[Record] = []
    unchanged: list[Record] = []
    for record in records:
        is_judged = any(metric in judged for metric, _ in columns.list_losses(record))
        (used if is_judged else unchanged).append(record)
    times = [to_float(record.values.get(columns.time or "")) for record in used]
    if len(set(times)) > 1 and None not in times:
        order = sorted(range(len(used)), key=lambda index: times[index] or 0.0)
        used = [used[index] for index in order]
    elif columns.is_long:  # may be in the order of the metrics
        return records
    rows = []
    for record in used:
        epoch, step = (to_float(record.values.get(column or "")) for column in (counter, columns.step))
        if epoch is None or not math.isfinite(epoch):
            return records
        values = {metric: to_float(record.values.get(column)) for metric, column in columns.list_losses(record)}
        losses = {metric: loss for metric, loss in values.items() if metric in judged and loss is not None}
        rows.append(LossRow(epoch, losses, step))
    attempts = split_attempts(rows, selected[0].train)
    known = {columns.run, columns.epoch, columns.step, columns.time, columns.key, columns.value, *columns.losses}
    others = [column for column in find_columns(used) if column not in known]
    if run_columns := find_run_columns(attempts, [record.values for record in used], others):
        differing = join_names(run_columns)
        raise PipelineError(
            f"{source} has several rows per {counter}, which differ in {differing}. If they are separate runs, add a "
            f"column run with their names; if not, remove {differing}."
        )
    numbers, attempt_notes = renumber_attempts(attempts, "step" if columns.epoch is None else "epoch")
    notes += attempt_notes
    return unchanged + [
        record if number == row.epoch else record._replace(values={**record.values, counter: number})
        for record, row, number in zip(used, rows, numbers, strict=True)
        if number is not None
    ]


def _has_losses(names: Sequence[str]) -> bool:
    """Return whether columns include a loss; a message about the other one is then more helpful than the columns."""
    known = find_name(names, TRAIN_NAMES) is not None or find_name(names, VAL_NAMES) is not None
    return known or bool(select_losses(names)[0])


def _create_value(record: Record, column: str, columns: _Columns, number: int) -> LoggedValue:
    epoch, step, time = (
        None if name is None else record.values.get(name) for name in (columns.epoch, columns.step, columns.time)
    )
    if not columns.has_order:
        step = number
    if isinstance(time, str) and not time.replace(".", "", 1).strip().isdigit():
        time = None  # a date, which is not needed
    return LoggedValue(record.values.get(column), record.location, epoch, step, time)


def _drop_unlogged(run: LoggedRun, is_long: bool) -> None:
    """Drop NaN that marks a loss that was not logged, instead of a diverged training.

    This is NaN in tables in which no record has both losses, and NaN of one loss that finite losses follow while the
    other loss is finite. A training that diverged stays at NaN.
    """
    selected, _ = select_losses(run.metrics)
    if not selected:
        return
    sides = (selected[0].train, selected[0].val)
    finite = [
        {_get_position(value, is_long) for value in run.metrics[names[0]] if _is_finite(value.value)} for names in sides
    ]
    if not all(finite):
        return
    are_separate = not is_long and not finite[0] & finite[1]
    for names, others in zip(sides, reversed(finite), strict=True):
        for name in names:
            values = run.metrics[name]
            missing = [value for value in values if _is_nan(value.value)]
            recovers = _recovers(values) and all(_get_position(value, is_long) in others for value in missing)
            if missing and (are_separate or recovers):
                run.metrics[name] = [value for value in values if not _is_nan(value.value)]
                reason = "no row has both losses" if are_separate else "finite losses follow"
                run.notes.append(f"NaN was read as a loss that was not logged in {name}, because {reason}.")


def _get_position(value: LoggedValue, is_long: bool) -> object:
    """Return what values of both losses that were logged together have in common."""
    return (value.epoch, value.step) if is_long else value.location


def _recovers(values: Sequence[LoggedValue]) -> bool:
    """Return whether finite losses follow NaN. The log may end before the next one."""
    stretches = [(is_nan, len(list(group))) for is_nan, group in groupby(_is_nan(value.value) for value in values)]
    last = stretches.pop()[1] if stretches and stretches[-1][0] else 0
    return max((length for is_nan, length in stretches if is_nan), default=0) >= max(last, 1)


def _is_finite(value: object) -> bool:
    number = to_float(value)
    return number is not None and math.isfinite(number)


def _is_nan(value: object) -> bool:
    number = to_float(value)
    return number is not None and math.isnan(number)
