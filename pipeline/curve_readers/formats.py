"""The formats of loss curves, and how they are recognized by the content of a file or folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.curve_readers.cellpose import (
    read_cellpose_log,
    read_loss_arrays,
    recognizes_array,
    recognizes_cellpose_log,
)
from pipeline.curve_readers.delimited import read_rows
from pipeline.curve_readers.dvclive import read_dvclive, recognizes_dvclive
from pipeline.curve_readers.excel import read_excel_rows, recognizes_excel
from pipeline.curve_readers.json_records import read_json, recognizes_json
from pipeline.curve_readers.log_file import LogFile, list_files
from pipeline.curve_readers.logged_run import LogFolder, LoggedRun, RunCurves
from pipeline.curve_readers.losses import create_curves
from pipeline.curve_readers.nnunet import (
    read_nnunet_folder,
    read_nnunet_log,
    recognizes_nnunet_folder,
    recognizes_nnunet_log,
)
from pipeline.curve_readers.records import Record, read_records
from pipeline.curve_readers.tensorboard import ADVICE as TENSORBOARD_ADVICE
from pipeline.curve_readers.tensorboard import (
    read_event_file,
    read_event_folder,
    recognizes_event_file,
    recognizes_event_folder,
)
from pipeline.curve_readers.wandb_charts import ADVICE as WANDB_ADVICE
from pipeline.curve_readers.wandb_charts import read_wandb_charts, recognizes_wandb_chart
from pipeline.errors import PipelineError
from pipeline.wording import join_names

# Logs with these names are read if a folder is passed: Ultralytics, Lightning, Hugging Face, fastai, Keras and skorch.
LOG_NAMES = ("results.csv", "metrics.csv", "trainer_state.json", "history.csv", "log.csv", "history.json")
CHECKPOINT_LOGS = "checkpoint-*/trainer_state.json"


@dataclass(frozen=True)
class FileFormat:
    """A format of log files."""

    name: str
    recognizes: Callable[[LogFile], bool]
    read: Callable[[LogFile], list[LoggedRun]]
    advice: str = ""  # how to add a missing loss


@dataclass(frozen=True)
class TableFormat:
    """A format of tables, whose rows may also be results instead of epochs."""

    name: str
    recognizes: Callable[[LogFile], bool]
    read_rows: Callable[[LogFile], tuple[list[Record], list[str]]]  # rows, and notes about them
    advice: str = ""  # see `FileFormat`

    def read(self, file: LogFile) -> list[LoggedRun]:
        """Read the runs of a table.

        Raises:
            PipelineError: The table cannot be read, or has an unknown format.
        """
        records, notes = self.read_rows(file)
        return read_records(records, str(file.path), file.path.stem, notes)


@dataclass(frozen=True)
class FolderFormat:
    """A format of folders with log files."""

    name: str
    recognizes: Callable[[LogFolder], bool]
    read: Callable[[LogFolder, bool], list[LoggedRun]]  # the second argument is whether the files are growing
    advice: str = ""


# The first format that recognizes a file reads it. Tables come last, because any text may be one.
FILE_FORMATS: tuple[FileFormat | TableFormat, ...] = (
    FileFormat("TensorBoard", recognizes_event_file, read_event_file, TENSORBOARD_ADVICE),
    FileFormat("NumPy arrays", recognizes_array, read_loss_arrays, "Train with test images, so that they have a loss."),
    TableFormat("Excel", recognizes_excel, read_excel_rows),
    FileFormat("JSON", recognizes_json, read_json),
    FileFormat("nnU-Net", recognizes_nnunet_log, read_nnunet_log),
    FileFormat("cellpose", recognizes_cellpose_log, read_cellpose_log, "Train with test images (--test_dir)."),
    FileFormat("Weights & Biases", recognizes_wandb_chart, lambda file: read_wandb_charts([file]), WANDB_ADVICE),
    TableFormat("table", lambda _: True, read_rows),
)


def _list_charts(folder: LogFolder) -> list[Path]:
    tables = [file for file in folder.files if file.suffix.lower() == ".csv" and file.parent == folder.path]
    return [file for file in tables if recognizes_wandb_chart(LogFile(file))]


def _read_charts(folder: LogFolder, is_growing: bool) -> list[LoggedRun]:
    return read_wandb_charts([LogFile(file, is_growing) for file in _list_charts(folder)])


FOLDER_FORMATS = (
    FolderFormat("nnU-Net", recognizes_nnunet_folder, read_nnunet_folder),
    FolderFormat(
        "TensorBoard", recognizes_event_folder, lambda folder, _: read_event_folder(folder), TENSORBOARD_ADVICE
    ),
    FolderFormat("Weights & Biases", lambda folder: bool(_list_charts(folder)), _read_charts, WANDB_ADVICE),
    FolderFormat("DVCLive", recognizes_dvclive, lambda folder, _: read_dvclive(folder)),
)


def read_curves(path: Path, is_growing: bool = False) -> list[RunCurves]:
    """Read the loss curves of all runs in a file or folder, in the order of the file.

    If a run has only parts of its loss, the sum is followed by the parts.

    Args:
        path: The file or folder.
        is_growing: Whether a tool is writing to the file, so that an incomplete last line is ignored.

    Raises:
        PipelineError: The file cannot be read or has an unknown format, or no run has valid losses and an epoch with
            both of them.
    """
    if path.is_dir():
        return _read_folder(path, is_growing)
    return read_file(LogFile(path, is_growing))


def read_file(file: LogFile) -> list[RunCurves]:
    """Read the loss curves of all runs in a file.

    Raises:
        PipelineError: As for `read_curves`.
    """
    file_format = find_format(file)
    return _create_all_curves(file_format.read(file), str(file.path), file_format.advice)


def find_format(file: LogFile) -> FileFormat | TableFormat:
    """Find the format of a file.

    Raises:
        PipelineError: The file cannot be read.
    """
    return next(file_format for file_format in FILE_FORMATS if file_format.recognizes(file))


def _read_folder(path: Path, is_growing: bool) -> list[RunCurves]:
    logs = [path / name for name in LOG_NAMES if (path / name).is_file()]
    # A checkpoint's log has all epochs up to the checkpoint.
    logs += sorted(
        path.glob(CHECKPOINT_LOGS), key=lambda log: int("0" + "".join(filter(str.isdigit, log.parent.name)))
    )[-1:]
    if logs:
        return read_file(LogFile(logs[0], is_growing))
    folder = LogFolder(path, list_files(path))
    folder_format = next((candidate for candidate in FOLDER_FORMATS if candidate.recognizes(folder)), None)
    if folder_format is not None:
        return _create_all_curves(folder_format.read(folder, is_growing), str(path), folder_format.advice)
    arrays = [file for file in folder.files if file.name.endswith("train_losses.npy")]
    if arrays:
        return [curves for file in arrays for curves in read_file(LogFile(file))]
    content = join_names([file.name for file in folder.files], 5) or "no files"
    raise PipelineError(
        f"{path} has {content}; expected event files of TensorBoard, training logs of nnU-Net, tables (.tsv) of "
        f"DVCLive, charts of Weights & Biases, or one of {', '.join(LOG_NAMES)}. To judge another file, pass its name."
    )


def _create_all_curves(runs: Sequence[LoggedRun], source: str, advice: str) -> list[RunCurves]:
    """Create the curves of all runs. Runs without them, such as crashed ones, are named in a note of the first run.

    Raises:
        PipelineError: No run has curves.
    """
    curves: list[RunCurves] = []
    problems: dict[str, PipelineError] = {}
    for run in runs:
        try:
            curves += create_curves(run, source, advice)
        except PipelineError as error:
            problems[run.name] = error
    if not problems:
        return curves
    first_problem = next(iter(problems.values()))
    if not curves:
        raise first_problem
    note = f"Runs that were left out: {join_names(problems)}. {first_problem}"
    return [replace(curves[0], notes=(*curves[0].notes, note)), *curves[1:]]
