"""Trains one cell, mirrors it into MLflow while it runs, and writes `runs/<run>/` whole or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from pipeline import runs
from pipeline.data.arrays import Split, gap_subset, open_split, training_subset
from pipeline.errors import PipelineError
from pipeline.files import as_json, replacing
from pipeline.models.arithmetic import resolve_precision
from pipeline.models.build import build_network, trainable_parameters
from pipeline.params import Cell, Params
from pipeline.progress import EpochReport
from pipeline.runs import DataSet, RunRecord
from pipeline.tracking.mirror import Mirror
from pipeline.tracking.tags import STATUS, standard_tags
from pipeline.train.key import run_key
from pipeline.train.loop import DivergedError, Epoch, Watched, train
from pipeline.train.outputs import Outputs


def train_cell(
    params: Params, cell: Cell, root: Path = Path(), listen: Callable[[EpochReport], None] | None = None
) -> RunRecord:
    """Train a cell of the grid and write its run folder.

    Args:
        params: the whole of `params.yaml`, for where to track.
        cell: what to train.
        root: the project's folder.
        listen: called as each epoch ends.

    Returns:
        The run's record. A diverged run is a result: its record says so, and nothing is raised.

    Raises:
        PipelineError: The prepared data is missing, or too small for what the cell asks.
    """
    started = time.perf_counter()
    torch.set_num_threads(cell.train.threads)
    torch.manual_seed(cell.seed)
    data = DataSet.read(root / runs.PREPARED)
    training, watched, compared = _splits(cell, root / runs.PREPARED)
    precision = resolve_precision(cell.train.precision)
    network = build_network(cell.model, channels=training.images.shape[-1], classes=len(data.classes))
    key = run_key(cell, data.fingerprint, precision)

    outputs = Outputs(data.classes)
    with Mirror.opened(
        params.tracking,
        name=cell.name,
        key=key,
        parameters={**cell.model_dump(mode="json"), "precision": precision},
        tags=standard_tags("train", data.fingerprint, params.grid),
    ) as mirror:
        epochs = train(
            network, training, watched, cell.train, cell.learning_rate, cell.seed, len(data.classes), precision
        )
        diverged: int | None = None
        try:
            for epoch in epochs:
                outputs.add(epoch)
                mirror.log_epoch(epoch.number, _metrics(outputs.history[-1]), int(outputs.times[-1]["ended_ms"]))
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
            outputs.write_timing(folder, time.perf_counter() - started)
            (folder / runs.RECORD).write_text(as_json(record), encoding="utf-8")
        mirror.set_tags({STATUS: record.status})
        mirror.log_folder(root / runs.RUNS / cell.name, "run")
    return record


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
    return training, Watched(everything.take(compared), validation, open_split(runs.SHOWCASE, folder)), compared


def _metrics(row: dict[str, float | int | str]) -> dict[str, float]:
    """A history row as MLflow's metrics: `train_iou_cat` becomes `train_iou/cat`, so that charts stand in sections."""
    return {
        key.replace("_iou_", "_iou/"): float(value)
        for key, value in row.items()
        if key != "epoch" and not isinstance(value, str)
    }
