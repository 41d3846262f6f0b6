"""Read the logs of cellpose, and losses saved as NumPy arrays.

cellpose validates after the epochs 0, 5, 10, 20, 30, ... Its function `train_seg` returns two arrays with one loss per
epoch, and the test losses are 0 for all other epochs. The graphical interface saves only the training losses.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from pipeline.array_errors import DAMAGED_ARRAY_ERRORS
from pipeline.curve_readers.log_file import LogFile
from pipeline.curve_readers.logged_run import LoggedRun, LoggedValue
from pipeline.curve_readers.parsing import to_float
from pipeline.errors import PipelineError

MAX_VALUES = 1_000_000
_LINE = re.compile(r"(?:^|\s)(\d{1,9}), train_loss=([^\s,]+), test_loss=([^\s,]+)")  # versions 3 and 4
_OLD_LINE = re.compile(r"(?:^|\s)Epoch (\d{1,9}), Time\s+[\d.]+s, Loss\s+([^\s,]+),.*?Loss Test\s+([^\s,]+)")  # 1 and 2
_ARRAY_NAME = re.compile(r"(.*?)(train|test|val|valid|validation)_loss(es)?$")
EXTRA_EPOCH, INTERVAL = 5, 10  # cellpose validates after this epoch as well as after every INTERVAL epochs


def recognizes_cellpose_log(file: LogFile) -> bool:
    """Return whether a text has a line with both losses."""
    return _LINE.search(file.text_head) is not None or _OLD_LINE.search(file.text_head) is not None


def read_cellpose_log(file: LogFile) -> list[LoggedRun]:
    """Read the runs of a log; a run begins when the epochs start again.

    Raises:
        PipelineError: The log cannot be read.
    """
    runs: list[LoggedRun] = []
    last = -1
    for number, line in enumerate(file.read_text("expected a log of cellpose").splitlines(), start=1):
        match = _LINE.search(line) or _OLD_LINE.search(line)
        if not match:
            continue
        epoch, location = int(match[1]), f"{file.path}, line {number}"
        if not runs or epoch <= last:
            runs.append(LoggedRun(file.path.stem if not runs else f"{file.path.stem}-{len(runs) + 1}"))
        last = epoch
        runs[-1].add("train_loss", LoggedValue(match[2], location, epoch))
        if to_float(match[3]) != 0:
            runs[-1].add("val_loss", LoggedValue(match[3], location, epoch))
    for run in runs:
        _space_evenly(run)
    return runs


def recognizes_array(file: LogFile) -> bool:
    """Return whether a file is a NumPy array."""
    return file.head.startswith(b"\x93NUMPY")


def read_loss_arrays(file: LogFile) -> list[LoggedRun]:
    """Read the run of two arrays whose names end in `train_losses.npy` and `test_losses.npy`; one of them is passed.

    Raises:
        PipelineError: An array is missing, cannot be read, or is not one number per epoch.
    """
    match = _ARRAY_NAME.fullmatch(file.path.stem)
    if match is None:
        raise PipelineError(f"{file.path} is a NumPy array; expected a name that ends in train_losses.npy.")
    prefix, plural = match[1], match[3] or ""
    train_path = file.path.with_name(f"{prefix}train_loss{plural}.npy")
    names = [f"{prefix}{side}_loss{plural}.npy" for side in ("val", "valid", "validation", "test")]
    val_path = file.path if match[2] != "train" else None
    val_path = val_path or next((path for name in names if (path := file.path.with_name(name)).exists()), None)
    if val_path is None or not train_path.exists():
        missing = train_path.name if val_path else names[-1]
        raise PipelineError(
            f"{file.path} has only one of the losses; expected {missing} in the same folder. The graphical interface "
            f"of cellpose saves only training losses; save both that cellpose.train.train_seg returns with numpy.save."
        )
    train, val = _load(train_path), _load(val_path)
    if len(train) != len(val):
        raise PipelineError(
            f"{train_path} has {len(train)} losses and {val_path.name} has {len(val)}; expected one loss per epoch in "
            f"both."
        )
    run = LoggedRun(prefix.rstrip("_-.") or file.path.parent.name or "losses")
    is_measured = val != 0 if val.any() else np.zeros(len(val), dtype=bool)
    for epoch, (train_loss, val_loss) in enumerate(zip(train.tolist(), val.tolist(), strict=True)):
        if is_measured[epoch]:
            run.add("train_loss", LoggedValue(train_loss, f"{train_path}, epoch {epoch}", epoch))
            run.add("val_loss", LoggedValue(val_loss, f"{val_path}, epoch {epoch}", epoch))
    if not is_measured.all():
        run.notes.append("Validation losses of exactly 0 were not measured and were left out.")
    _space_evenly(run)
    return [run]


def _load(path: object) -> npt.NDArray[np.float64]:
    """Load an array of losses."""
    try:
        # Objects are pickled, and a pickle can run any code. A mapped file does not need memory for a wrong shape.
        array = np.load(str(path), allow_pickle=False, mmap_mode="r")
        if array.ndim != 1 or array.dtype.kind not in "fiu" or len(array) > MAX_VALUES:
            raise PipelineError(
                f"{path} has an array of shape {array.shape} and type {array.dtype}; expected one number per epoch."
            )
        return np.array(array, dtype=np.float64)
    except DAMAGED_ARRAY_ERRORS as error:
        reason = "it has Python objects" if "pickle" in str(error) or "object" in str(error).lower() else "damaged"
        raise PipelineError(f"{path} is not a readable NumPy array of numbers ({reason}).") from None


def _space_evenly(run: LoggedRun) -> None:
    """Leave out the additional validation after epoch 5, because the search for an onset requires even spacing."""
    epochs = {value.epoch for value in run.metrics.get("val_loss", ())}
    if EXTRA_EPOCH in epochs and INTERVAL in epochs and 2 * INTERVAL in epochs and len(epochs) > 3:
        others = [epoch for epoch in epochs if isinstance(epoch, int) and epoch != EXTRA_EPOCH]
        if all(epoch % INTERVAL == 0 for epoch in others):
            for metric, values in run.metrics.items():
                run.metrics[metric] = [value for value in values if value.epoch != EXTRA_EPOCH]
            run.notes.append(f"Epoch {EXTRA_EPOCH} was left out, so that all epochs are {INTERVAL} apart.")
