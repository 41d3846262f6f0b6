"""Read DVCLive's folder `plots/metrics`, which has one table per metric, named after the metric."""

from __future__ import annotations

from pipeline.curve_readers.delimited import read_rows
from pipeline.curve_readers.log_file import LogFile
from pipeline.curve_readers.logged_run import LogFolder, LoggedRun, LoggedValue
from pipeline.curve_readers.losses import find_name, is_loss_name
from pipeline.curve_readers.records import EPOCH_NAMES, STEP_NAMES, TIME_NAMES, find_columns
from pipeline.errors import PipelineError
from pipeline.wording import join_names

METRICS = ("plots", "metrics")  # subfolder of the folder dvclive


def recognizes_dvclive(folder: LogFolder) -> bool:
    """Return whether a folder has tables of metrics."""
    return any(file.suffix == ".tsv" for file in folder.files)


def read_dvclive(folder: LogFolder) -> list[LoggedRun]:
    """Read the run of a folder.

    Raises:
        PipelineError: A table cannot be read, or has unknown columns.
    """
    root = folder.path.joinpath(*METRICS)
    root = root if root.is_dir() else folder.path
    run = LoggedRun(folder.path.name)
    for path in folder.files:
        if path.suffix != ".tsv" or not path.is_relative_to(root):
            continue
        metric = path.relative_to(root).with_suffix("").as_posix()
        if not is_loss_name(metric):
            continue
        records, notes = read_rows(LogFile(path))
        run.notes += notes
        names = find_columns(records)
        epoch, step = find_name(names, EPOCH_NAMES), find_name(names, STEP_NAMES)
        counters = {epoch, step, find_name(names, TIME_NAMES)}
        value = next((name for name in reversed(names) if name not in counters), None)
        if records and (value is None or (epoch is None and step is None)):
            raise PipelineError(
                f"{path} has the columns {join_names(names)}; expected the column step and a column with the metric."
            )
        for record in records:
            epoch_number, step_number = (None if name is None else record.values[name] for name in (epoch, step))
            run.add(metric, LoggedValue(record.values[value or ""], record.location, epoch_number, step_number))
    return [run]
