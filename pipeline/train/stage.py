"""Trains one cell, logs it to MLflow while it runs, and writes `runs/<run>/` whole or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
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
from pipeline.params import Cell, Params
from pipeline.runs import DataSet, RunRecord
from pipeline.runtime.progress import EpochReport
from pipeline.runtime.run_lock import Unfinished
from pipeline.runtime.shutdown import check_signals
from pipeline.tracking import run_metrics as content
from pipeline.tracking.background_logger import BackgroundLogger, log_in_background
from pipeline.tracking.mark_killed import note_of
from pipeline.tracking.tags import STATUS, standard_tags
from pipeline.train.checkpoint import Checkpoints
from pipeline.train.key import run_key
from pipeline.train.loop import DivergedError, Epoch, Watched, train
from pipeline.train.moving import seed_all
from pipeline.train.outputs import Outputs
from pipeline.variants.batch import check_batch


def train_cell(
    params: Params,
    cell: Cell,
    root: Path = Path(),
    listen: Callable[[EpochReport], None] | None = None,
    complete: Callable[[], None] | None = None,
) -> RunRecord:
    """Train a cell of the grid and write its run folder; one that was stopped goes on from its last epoch.

    Args:
        params: the whole of `params.yaml`, for where to track.
        cell: what to train.
        root: the project's folder.
        listen: called as each epoch ends, when it is safe on the disk.
        complete: called when the run's folder is written, before the checkpoints go: for who must not lose it.

    Returns:
        The run's record. A diverged run is a result: its record says so, and nothing is raised.

    Raises:
        PipelineError: The prepared data is missing, or too small for what the cell asks; or its network cannot be
            trained on such batches; or another process trains the same.
    """
    started = time.perf_counter()
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

    outputs = Outputs(data.classes)
    unfinished = Unfinished(key, root)
    with unfinished.at_work(note_of(params.tracking, cell.name)):
        check_signals()
        with log_in_background(
            params.tracking,
            name=cell.name,
            key=key,
            parameters=content.parameters(
                cell.model_dump(mode="json"), precision, content.DataSize.read(root / runs.PREPARED)
            ),
            tags=standard_tags("train", data.fingerprint, params.grid),
            when_ended=unfinished.settle,
        ) as logger:
            logger.log_dataset(data.title, data.source, data.fingerprint)
            checkpoints = Checkpoints(unfinished.folder, cell.name)
            state = _resumed(checkpoints, outputs, logger)
            started -= outputs.seconds
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
                    _log(logger, outputs, epoch.number)
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
                cell=cell.model_dump(mode="json"),
            )
            with replacing(root / runs.RUNS / cell.name) as folder:
                outputs.write(folder, watched, compared)
                outputs.write_timing(folder, key)
                (folder / runs.RECORD).write_text(as_json(record), encoding="utf-8")
            logger.set_tags({STATUS: record.status})
            logger.log_folder(root / runs.RUNS / cell.name, "run")
        if complete:
            complete()
        unfinished.forget()
    return record


def _resumed(checkpoints: Checkpoints, outputs: Outputs, logger: BackgroundLogger) -> Mapping[str, Any] | None:
    """What training goes on from, None where it begins; the epochs before are put into the outputs and into MLflow."""
    checkpoint = checkpoints.newest()
    if checkpoint is None:
        return None
    outputs.restore(checkpoint["outputs"])
    for row in outputs.history:  # a kill may have come between a checkpoint and MLflow
        _log(logger, outputs, int(row["epoch"]))
    moving: Mapping[str, Any] = checkpoint["moving"]
    return moving


def _log(logger: BackgroundLogger, outputs: Outputs, epoch: int) -> None:
    row = outputs.history[epoch - 1]
    logger.log_epoch(epoch, content.epoch_metrics(row), int(outputs.times[epoch - 1]["ended_ms"]))


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
