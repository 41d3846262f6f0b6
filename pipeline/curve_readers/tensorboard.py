"""Read runs from TensorBoard's event files.

A folder may have several runs, each in its own subfolder. Keras' callback writes the losses of a run to the subfolders
`train` and `validation`, both with the tag `epoch_loss`. torch's `add_scalars` writes to subfolders such as
`loss_train` and `loss_val`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from pipeline.curve_readers.event_file import DamagedRecordError, Scalar, is_event_file, read_scalars
from pipeline.curve_readers.log_file import LogFile
from pipeline.curve_readers.logged_run import LogFolder, LoggedRun, LoggedValue
from pipeline.curve_readers.losses import is_loss_name, normalize_name

EVENT_FILES = "*tfevents*"
ADVICE = "Log both losses, for example with the tags loss/train and loss/val, or pass the folder with both event files."
_SIDE_FOLDER = re.compile(r"(?:.*_)?(?:(train|training)|(val|valid|validation|eval))", re.IGNORECASE)
_EPOCH_TAG = "epoch"  # Lightning logs the epoch of every step as a scalar
_KERAS_PREFIX = "epoch_"  # Keras' step of these tags is the epoch


def recognizes_event_file(file: LogFile) -> bool:
    """Return whether a file has records of TensorBoard."""
    return is_event_file(file.head)


def recognizes_event_folder(folder: LogFolder) -> bool:
    """Return whether a folder or its subfolders have event files."""
    return any(file.match(EVENT_FILES) for file in folder.files)


def read_event_file(file: LogFile) -> list[LoggedRun]:
    """Read the run of an event file.

    Raises:
        PipelineError: The file cannot be read.
    """
    return _read_runs([file.path], file.path.parent)


def read_event_folder(folder: LogFolder) -> list[LoggedRun]:
    """Read the runs of all event files in a folder and its subfolders.

    Raises:
        PipelineError: A file cannot be read.
    """
    return _read_runs([file for file in folder.files if file.match(EVENT_FILES)], folder.path)


def _read_runs(files: Iterable[Path], root: Path) -> list[LoggedRun]:
    folders: dict[Path, list[Path]] = {}
    for file in files:
        folders.setdefault(file.parent, []).append(file)
    runs: dict[Path, LoggedRun] = {}
    for folder, events in folders.items():
        side, run_folder = _find_side(folder, root)
        name = run_folder.resolve().name if run_folder == root else run_folder.relative_to(root).as_posix()
        run = runs.setdefault(run_folder, LoggedRun(name))
        tags, notes = _read_tags(sorted(events, key=lambda path: path.name))
        run.notes += notes
        epochs = {scalar.step: scalar.value for scalar in tags.pop(_EPOCH_TAG, ())}
        for tag, scalars in tags.items():
            metric, has_epochs = _name_metric(tag, side)
            if metric in run.metrics:
                continue
            for scalar in scalars:
                epoch = scalar.step if has_epochs else epochs.get(scalar.step)
                location = f"{events[0]}, tag {tag}, step {scalar.step}"
                run.add(metric, LoggedValue(scalar.value, location, epoch, scalar.step, scalar.time))
    with_losses = [run for run in runs.values() if run.metrics]
    return with_losses or list(runs.values())


def _find_side(folder: Path, root: Path) -> tuple[str, Path]:
    """Return the side (train, val or empty) whose losses a folder has, and the folder of its run."""
    match = _SIDE_FOLDER.fullmatch(folder.name) if folder != root else None
    if match is None:
        return "", folder
    return "train" if match[1] else "val", folder.parent


def _name_metric(tag: str, side: str) -> tuple[str, bool]:
    """Return the metric's name for a tag, with the side that its folder states, and whether its steps are epochs."""
    name = normalize_name(tag)
    has_epochs = name.startswith(_KERAS_PREFIX) and bool(side)
    if side and name in ("loss", "epoch_loss"):
        return f"{side}_loss", has_epochs
    return tag, has_epochs


def _read_tags(files: Iterable[Path]) -> tuple[dict[str, list[Scalar]], list[str]]:
    """Read the losses of a folder's files, by tag, and notes.

    If a run was restarted, its later file begins at the step of a checkpoint. As in TensorBoard, it replaces the
    values of earlier files from that step on.
    """
    tags: dict[str, list[Scalar]] = {}
    notes = []
    num_replaced = 0
    for file in files:
        added: dict[str, list[Scalar]] = {}
        try:
            for scalar in read_scalars(file, lambda tag: is_loss_name(tag) or tag == _EPOCH_TAG):
                added.setdefault(scalar.tag, []).append(scalar)
        except DamagedRecordError as error:
            notes.append(f"{file.name} is damaged and was read only up to {error}.")
        for tag, scalars in added.items():
            first = min(scalar.step for scalar in scalars)
            kept = [scalar for scalar in tags.get(tag, ()) if scalar.step < first]
            num_replaced += len(tags.get(tag, ())) - len(kept)
            tags[tag] = kept + scalars
    if num_replaced:
        notes.append(f"Values of earlier event files that a restarted run logged again were replaced: {num_replaced}.")
    return tags, notes
