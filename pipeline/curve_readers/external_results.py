"""Read external results for the report: loss curves, or a table with one row per result."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.analysis.curves import LossCurves, compute_gaps
from pipeline.curve_readers.formats import TableFormat, find_format, read_curves
from pipeline.curve_readers.log_file import LogFile
from pipeline.curve_readers.logged_run import RunCurves
from pipeline.curve_readers.losses import TRAIN_NAMES, VAL_NAMES, find_name, select_losses
from pipeline.curve_readers.parsing import is_missing, parse_number
from pipeline.curve_readers.records import EXPECTED, RESULT_NAMES, Record, find_columns, find_name_column, has_epochs
from pipeline.errors import PipelineError
from pipeline.wording import join_names

NUMBER_NAMES = {
    "train_loss": TRAIN_NAMES,
    "val_loss": VAL_NAMES,
    "mean_iou": ("mean_iou",),
    "foreground_iou": ("foreground_iou",),
}
FRACTIONS = ("mean_iou", "foreground_iou")


@dataclass(frozen=True)
class ExternalResult:
    """A result from outside this project."""

    name: str  # name of the run or row; empty if the file has a single unnamed run
    curves: LossCurves | None  # None if the file has single numbers instead of curves
    # `train_loss` and `val_loss` (at the best epoch if there are curves), `mean_iou` and `foreground_iou`; numbers that
    # are not in the file are left out
    numbers: dict[str, float]
    notes: tuple[str, ...] = ()  # sentences about guesses, and values that were changed or left out


def read_results(path: Path) -> list[ExternalResult]:
    """Read external results: loss curves, or a table with one row per result.

    A table of results has a column with names and any of the columns in `NUMBER_NAMES`, but neither epochs nor steps.

    Raises:
        PipelineError: The file cannot be read, or has an unknown format or an invalid number.
    """
    table = _read_result_rows(path)
    if table is None:
        return [_summarize_curves(run, path) for run in read_curves(path) if not run.part]
    records, notes = table
    names, name = find_columns(records), find_name_column(records)
    columns = {number: find_name(names, candidates) for number, candidates in NUMBER_NAMES.items()}
    if name is None or not any(columns.values()):
        alternative = f"name and any of {', '.join(NUMBER_NAMES)}"
        raise PipelineError(f"{path} has the columns {join_names(names, 20)}; {EXPECTED}, or {alternative}.")
    if find_name([name], RESULT_NAMES) is None:
        notes.append(f"The names of the results are those in the column {name}.")
    results = [
        ExternalResult(
            str(record.values[name]),
            None,
            {
                number: _parse_score(record, column, number)
                for number, column in columns.items()
                if column and not is_missing(record.values[column])
            },
        )
        for record in records
    ]
    return [replace(results[0], notes=tuple(notes)), *results[1:]]


def _parse_score(record: Record, column: str, number: str) -> float:
    """Parse a number of a result.

    Raises:
        PipelineError: It is not a number, or an IoU in percent.
    """
    score = parse_number(record.values[column], record.location, column)
    if number in FRACTIONS and (score < 0 or score > 1):
        raise PipelineError(
            f"{record.location}: {column} must be between 0 and 1, but is {score:g}. Divide percentages by 100."
        )
    return score


def _read_result_rows(path: Path) -> tuple[list[Record], list[str]] | None:
    """Read the rows of a table of results, and notes about them; None if the file has curves."""
    if path.is_dir():
        return None
    file = LogFile(path)
    file_format = find_format(file)
    if not isinstance(file_format, TableFormat):
        return None
    records, notes = file_format.read_rows(file)
    names = find_columns(records)
    has_losses = bool(select_losses(names)[0])
    if not records or has_epochs(names) or (has_losses and find_name_column(records) is None):
        return None
    return records, notes


def _summarize_curves(run: RunCurves, path: Path) -> ExternalResult:
    """Create a result from a run's curves and its losses at the best epoch, which a diverged run does not have."""
    gaps, numbers = compute_gaps(run.curves), {}
    if gaps is not None:
        best = run.curves.epochs.index(gaps.best_epoch)
        numbers = {"train_loss": float(run.curves.train[best]), "val_loss": float(run.curves.val[best])}
    return ExternalResult("" if run.name in (path.stem, path.name) else run.name, run.curves, numbers, run.notes)
