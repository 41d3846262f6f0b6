"""Read external results for the report: loss curves, or a table with one row per result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.analysis.curves import LossCurves, compute_gaps
from pipeline.curve_readers.delimited import read_rows, read_table
from pipeline.curve_readers.excel import read_excel, read_excel_rows
from pipeline.curve_readers.formats import find_format, read_curves
from pipeline.curve_readers.log_file import LogFile
from pipeline.curve_readers.logged_run import RunCurves
from pipeline.curve_readers.losses import TRAIN_NAMES, VAL_NAMES, find_name
from pipeline.curve_readers.parsing import is_missing, parse_number
from pipeline.curve_readers.records import EXPECTED, RUN_NAMES, Record, find_columns, has_epochs
from pipeline.errors import PipelineError
from pipeline.wording import join_names

RESULT_NAMES = ("name", *RUN_NAMES)
NUMBER_NAMES = {
    "train_loss": TRAIN_NAMES,
    "val_loss": VAL_NAMES,
    "mean_iou": ("mean_iou",),
    "foreground_iou": ("foreground_iou",),
}


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

    A table of results has the column `name` and any of the columns in `NUMBER_NAMES`, but neither epochs nor steps.

    Raises:
        PipelineError: The file cannot be read, or has an unknown format.
    """
    records = _read_result_rows(path)
    if records is None:
        return [_summarize_curves(run, path) for run in read_curves(path) if not run.part]
    names = find_columns(records)
    name = next((column for column in RESULT_NAMES if column in names), None)
    columns = {number: find_name(names, candidates) for number, candidates in NUMBER_NAMES.items()}
    if name is None or not any(columns.values()):
        alternative = f"name and any of {', '.join(NUMBER_NAMES)}"
        raise PipelineError(f"{path} has the columns {join_names(names, 20)}; {EXPECTED}, or {alternative}.")
    return [
        ExternalResult(
            str(record.values[name]),
            None,
            {
                number: parse_number(record.values[column], record.location, column)
                for number, column in columns.items()
                if column and not is_missing(record.values[column])
            },
        )
        for record in records
    ]


def _read_result_rows(path: Path) -> list[Record] | None:
    """Read the rows of a table of results; None if the file has curves."""
    if path.is_dir():
        return None
    file = LogFile(path)
    reader = find_format(file).read
    if reader not in (read_table, read_excel):
        return None
    records, _ = read_rows(file) if reader is read_table else read_excel_rows(file)
    names = find_columns(records)
    has_names = any(name in names for name in RESULT_NAMES)
    has_losses = find_name(names, TRAIN_NAMES) is not None and find_name(names, VAL_NAMES) is not None
    return None if not records or has_epochs(names) or (has_losses and not has_names) else records


def _summarize_curves(run: RunCurves, path: Path) -> ExternalResult:
    """Create a result from a run's curves and its losses at the best epoch, which a diverged run does not have."""
    gaps, numbers = compute_gaps(run.curves), {}
    if gaps is not None:
        best = run.curves.epochs.index(gaps.best_epoch)
        numbers = {"train_loss": float(run.curves.train[best]), "val_loss": float(run.curves.val[best])}
    return ExternalResult("" if run.name in (path.stem, path.name) else run.name, run.curves, numbers)
