"""Read the training logs of nnU-Net, versions 1 and 2.

A run that was continued has several logs. Epochs after its last checkpoint, which the earlier log may have, are then
trained again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

from pipeline.curve_readers.log_file import LogFile
from pipeline.curve_readers.logged_run import LogFolder, LoggedRun, LoggedValue

EXPECTED = "expected a training log of nnU-Net"
LOG_NAMES = "training_log_*.txt"
_TIMESTAMP = r"(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?:\s+)?"
_EPOCH = re.compile(_TIMESTAMP + r"[Ee]poch:?\s+(\d+)\s*")
_LOSS = re.compile(_TIMESTAMP + r"(train_loss|val_loss|train loss :|validation loss:)\s+(\S+)\s*")
_METRICS = {"train_loss": "train_loss", "train loss :": "train_loss"}  # the others are validation losses


def recognizes_nnunet_log(file: LogFile) -> bool:
    """Return whether a text names an epoch and the losses on lines of their own."""
    lines = [line.strip() for line in file.text_head.splitlines()]
    return any(map(_EPOCH.fullmatch, lines)) and any(map(_LOSS.fullmatch, lines))


def recognizes_nnunet_folder(folder: LogFolder) -> bool:
    """Return whether a folder is that of a fold, with logs of nnU-Net in it."""
    return any(file.match(LOG_NAMES) and file.parent == folder.path for file in folder.files)


def read_nnunet_log(file: LogFile) -> list[LoggedRun]:
    """Read the run of a log.

    Raises:
        PipelineError: The log cannot be read.
    """
    return [_read_logs(file.path.stem, [file])]


def read_nnunet_folder(folder: LogFolder, is_growing: bool) -> list[LoggedRun]:
    """Read the run of a fold's folder, with all its logs in the order of their times.

    Raises:
        PipelineError: A log cannot be read.
    """
    logs = [file for file in folder.files if file.match(LOG_NAMES) and file.parent == folder.path]
    # Months, days and hours of the name have no leading zeros in some versions.
    logs.sort(key=lambda path: [int(number) for number in re.findall(r"\d+", path.stem)])
    return [_read_logs(folder.path.name, [LogFile(path, is_growing) for path in logs])]


def _read_logs(name: str, files: Iterable[LogFile]) -> LoggedRun:
    """Read the losses of all logs; a log replaces those of earlier ones from its first epoch on."""
    losses: dict[tuple[str, int], LoggedValue] = {}
    replaced = set[int]()
    for file in files:
        found = {(metric, epoch): value for metric, epoch, value in _list_losses(file)}
        start = min((epoch for _, epoch in found), default=math.inf)
        replaced |= {epoch for _, epoch in losses if epoch >= start}
        losses = {key: value for key, value in losses.items() if key[1] < start} | found
    run = LoggedRun(name)
    for (metric, _), value in losses.items():
        run.add(metric, value)
    if replaced:
        run.notes.append(
            f"The run was continued from epoch {min(replaced)}: the earlier losses of epochs {min(replaced)} to "
            f"{max(replaced)} are not used."
        )
    return run


def _list_losses(file: LogFile) -> Iterator[tuple[str, int, LoggedValue]]:
    """Yield the name, epoch and value of every loss of a log."""
    epoch = None
    for number, line in enumerate(file.read_text(EXPECTED).splitlines(), start=1):
        if match := _EPOCH.fullmatch(line.strip()):
            epoch = int(match[1][:9])
        elif epoch is not None and (match := _LOSS.fullmatch(line.strip())):
            location = f"{file.path}, line {number}"
            yield _METRICS.get(match[1], "val_loss"), epoch, LoggedValue(match[2], location, epoch)
