"""Train one cell, publish its state after each epoch, and write `runs/<run>/` atomically."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline import runs
from pipeline.atomic_io import as_json, replacing
from pipeline.data.prepared import Split, gap_subset, open_split, training_subset
from pipeline.errors import PipelineError
from pipeline.models.allocator import keep_freed_memory
from pipeline.models.arithmetic import compute_device, resolve_precision
from pipeline.models.build import build_network, trainable_parameters
from pipeline.params import Cell
from pipeline.runs import DataSet, RunRecord
from pipeline.runtime.progress import EpochReport
from pipeline.runtime.run_lock import Unfinished
from pipeline.runtime.shutdown import check_signals
from pipeline.tracking.run_metrics import TrainingState
from pipeline.train.checkpoint import Checkpoints
from pipeline.train.key import run_key
from pipeline.train.loop import DivergedError, Epoch, Watched, train
from pipeline.train.moving import seed_all
from pipeline.train.outputs import Outputs
from pipeline.variants.batch import check_batch


def train_cell(
    cell: Cell,
    root: Path = Path(),
    listen: Callable[[EpochReport], None] | None = None,
    publish: Callable[[TrainingState], None] = lambda _: None,
    complete: Callable[[], None] = lambda: None,
) -> RunRecord:
    """Train a cell of the grid and write its run folder; a stopped run resumes after its last epoch.

    Args:
        cell: what to train.
        root: the project's folder.
        listen: called after each epoch, when it is safe on the disk.
        publish: called with the state of the training before the first epoch, after each epoch before `listen`, and
            after an error.
        complete: called when the run folder is written, before the checkpoints are removed; if it raises, they stay.

    Returns:
        The run's record. A diverged run is a result: its record says so, and nothing is raised.

    Raises:
        PipelineError: The prepared data is missing or too small for the cell, its network cannot be trained on such
            batches, or another process trains the same run.
    """
    started, began_ms = time.perf_counter(), round(time.time() * 1000)
    keep_freed_memory()
    torch.set_num_threads(cell.train.threads)
    data = DataSet.read(root / runs.PREPARED)
    training, watched, compared = _splits(cell, root / runs.PREPARED)
    size, channels = training.images.shape[2:]
    check_batch(cell, len(training), size, channels, len(data.classes))
    seed_all(cell.seed)  # after the check, which may run a user's code
    precision = resolve_precision(cell.train.precision)
    network = build_network(cell.model, channels, classes=len(data.classes))
    network.to(compute_device())
    key = run_key(cell, data.fingerprint, precision)
    parameters = cell.model_dump(mode="json")

    outputs = Outputs(data.classes)

    def publish_state(*, has_failed: bool = False) -> None:
        history, ended_ms = tuple(outputs.history), tuple(int(times["ended_ms"]) for times in outputs.times)
        publish(
            TrainingState(
                cell.name, key, parameters, precision, data.fingerprint, began_ms, history, ended_ms, has_failed
            )
        )

    unfinished = Unfinished(key, root)
    with unfinished.at_work(), _published_failure(publish_state):
        check_signals()
        checkpoints = Checkpoints(unfinished.folder, cell.name)
        state = _resumed(checkpoints, outputs)
        started -= outputs.seconds
        publish_state()
        epochs = train(
            network, training, watched, cell.train, cell.learning_rate, cell.seed, len(data.classes), precision,
            done=len(outputs.history), state=state,
        )  # fmt: skip
        diverged: int | None = None
        try:
            for epoch in epochs:
                outputs.add(epoch)
                outputs.seconds = time.perf_counter() - started
                checkpoints.save(epoch.number, {"moving": epoch.moving.state(key), "outputs": outputs.state()})
                publish_state()
                if listen:
                    listen(_epoch_report(cell, epoch))
        except DivergedError as end:
            diverged = end.epoch

        record = RunRecord(
            format=runs.FORMAT,
            run=cell.name,
            key=key,
            status="diverged" if diverged else "finished",
            epochs=len(outputs.history),
            best_epoch=outputs.best_epoch,
            diverged_epoch=diverged,
            precision=precision,
            trainable_parameters=trainable_parameters(network),
            data_fingerprint=data.fingerprint,
            cell=parameters,
        )
        with replacing(root / runs.RUNS / cell.name) as folder:
            outputs.write(folder, watched, compared)
            outputs.write_timing(folder, key)
            (folder / runs.RECORD).write_text(as_json(record), encoding="utf-8")
        complete()
        unfinished.forget()
    return record


@contextlib.contextmanager
def _published_failure(publish_state: Callable[..., None]) -> Iterator[None]:
    """Publish that the training failed if the block raises an error."""
    try:
        yield
    except Exception:
        publish_state(has_failed=True)
        raise


def _resumed(checkpoints: Checkpoints, outputs: Outputs) -> Mapping[str, Any] | None:
    """Restore the outputs of the epochs before, and return the state to resume from; None at the beginning."""
    checkpoint = checkpoints.newest()
    if checkpoint is None:
        return None
    outputs.restore(checkpoint["outputs"])
    moving: Mapping[str, Any] = checkpoint["moving"]
    return moving


def _epoch_report(cell: Cell, epoch: Epoch) -> EpochReport:
    return EpochReport(
        run=cell.name,
        epoch=epoch.number,
        epochs=cell.train.epochs,
        train_loss=epoch.train.loss,
        val_loss=epoch.validation.loss,
        images_per_second=epoch.images / epoch.training_seconds,
    )


def _splits(cell: Cell, folder: Path) -> tuple[Split, Watched, npt.NDArray[np.int64]]:
    """The images trained on, the sets watched, and the watched training images' places in the training split."""
    everything, validation = open_split("train", folder), open_split("validation", folder)
    if cell.train_images is not None and cell.train_images > len(everything):
        raise PipelineError(
            f"train_images: {cell.train_images} asked for, but {folder / 'train'} holds {len(everything)}; lower it."
        )
    seen = training_subset(len(everything), cell.train_images)
    compared = gap_subset(seen, len(validation))
    training = everything if len(seen) == len(everything) else everything.take(seen)
    watched = Watched(everything.take(compared), validation, open_split(runs.SHOWCASE, folder))
    for name, split in (("train", watched.train), ("validation", watched.validation)):
        if not any((mask != runs.IGNORE).any() for mask in split.masks):
            raise PipelineError(
                f"{folder / name}: every pixel of the {len(split)} compared images is ignored, so their loss is "
                "undefined. Add images whose masks have evaluated pixels to this split."
            )
    return training, watched, compared
