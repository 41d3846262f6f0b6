"""Read charts that were exported as CSV from the web page of Weights & Biases.

A chart has a column such as `Step` for its x-axis, and three columns per run and metric: `run - train_loss`,
`run - train_loss__MIN` and `run - train_loss__MAX`. A chart usually shows one metric, so both losses may be in two
files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.curve_readers.delimited import read_rows
from pipeline.curve_readers.log_file import LogFile
from pipeline.curve_readers.logged_run import LoggedRun, LoggedValue
from pipeline.curve_readers.losses import is_loss_name, normalize_name
from pipeline.curve_readers.parsing import is_missing
from pipeline.curve_readers.records import EPOCH_NAMES, Record
from pipeline.errors import PipelineError

SEPARATOR = " - "  # between the names of run and metric; a run's name may contain it as well
BOUNDS = ("__MIN", "__MAX")
ADVICE = (
    "A chart of Weights & Biases usually has one metric. Add the other loss to the chart before you export it, or pass "
    "a folder with the exports of both charts."
)


def recognizes_wandb_chart(file: LogFile) -> bool:
    """Return whether the columns of a table are those of a chart of Weights & Biases."""
    header = file.text_head.partition("\n")[0]
    return SEPARATOR in header and all(bound in header for bound in BOUNDS)


def read_wandb_charts(files: Iterable[LogFile]) -> list[LoggedRun]:
    """Read the runs of one or several charts; losses of the same run are combined.

    Raises:
        PipelineError: A table cannot be read, or its x-axis is a time.
    """
    runs: dict[str, LoggedRun] = {}
    for file in files:
        records, notes = read_rows(file)
        axis, columns = _find_columns(records, file)
        for run_name, metric, column in columns:
            run = runs.setdefault(run_name, LoggedRun(run_name))
            run.notes += [note for note in notes if note not in run.notes]
            values = [(record, record.values[column]) for record in records if not is_missing(record.values[column])]
            if any(_is_aggregated(record, column) for record, _ in values):
                run.notes.append(f"{metric}: Weights & Biases exported means over several steps.")
            for record, value in values:
                position = record.values[axis]
                is_epoch = normalize_name(axis) in EPOCH_NAMES
                epoch, step = (position, None) if is_epoch else (None, position)
                run.add(metric, LoggedValue(value, record.location, epoch, step))
    return list(runs.values())


def _find_columns(records: Sequence[Record], file: LogFile) -> tuple[str, list[tuple[str, str, str]]]:
    """Return the name of the x-axis; and run, metric and column name of every loss."""
    if not records:
        raise PipelineError(f"{file.path} has no rows below its header. Export the chart again.")
    axis, *names = records[0].values
    if "time" in axis.lower():
        raise PipelineError(f"{file.path} has the x-axis {axis}. Choose Step as the x-axis and export the chart again.")
    columns = []
    for name in names:
        run, _, metric = name.rpartition(SEPARATOR)
        if run and is_loss_name(metric) and not name.endswith(BOUNDS):
            columns.append((run, metric, name))
    if not columns:
        raise PipelineError(f"{file.path} has no column with a loss. Export the charts of the two losses.")
    return axis, columns


def _is_aggregated(record: Record, column: str) -> bool:
    bounds = [record.values.get(f"{column}{bound}") for bound in BOUNDS]
    return not any(is_missing(bound) for bound in bounds) and bounds[0] != bounds[1]
