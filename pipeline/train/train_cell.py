"""Train one cell, publish its state after each epoch, and write `runs/<run>/` atomically."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from pipeline.artifacts.format import FORMAT
from pipeline.artifacts.prepared_data import SHOWCASE, PreparedData, Split
from pipeline.artifacts.project import Project
from pipeline.artifacts.run_folder import RunRecord
from pipeline.data.patch_loader import count_samples
from pipeline.data.subsets import select_gap_subset, select_training_subset
from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.models.factory import build_cell_network, count_trainable_parameters
from pipeline.models.gpu_memory import explain_step_memory
from pipeline.models.precision import resolve_precision, select_device
from pipeline.params import Cell, Params
from pipeline.runtime.operating_system import disable_malloc_trim
from pipeline.runtime.progress import EpochProgress
from pipeline.runtime.shutdown import check_signals
from pipeline.runtime.training_state import TrainingState
from pipeline.runtime.work_lock import RunLock
from pipeline.tracking.background_logger import BackgroundLogger
from pipeline.train.checkpoints import CheckpointManager
from pipeline.train.early_stopping import find_early_stop
from pipeline.train.epoch_loss import DivergedError
from pipeline.train.extension import ExtendableRun
from pipeline.train.loop import Epoch, EvalSplits, train
from pipeline.train.run_key import compute_run_key
from pipeline.train.run_results import RunResults
from pipeline.train.training_images import collect_training_images
from pipeline.variants.data_shape import choose_input_size
from pipeline.variants.model_checks import check_batch


def train_cell(
    cell: Cell,
    project: Project | None = None,
    publish: Callable[[TrainingState], None] = lambda _: None,
    *,
    keep_checkpoints: bool = False,
) -> RunRecord:
    """Train a cell of the grid and write its run folder.

    A stopped run resumes after its last epoch. So does a finished one whose number of epochs was increased, unless its
    learning rate depends on that number.

    Args:
        cell: cell of the grid.
        project: project with the prepared data; None for the current folder.
        publish: called with the training state before the first epoch, after the checkpoint of each epoch is saved,
            and after an error.
        keep_checkpoints: whether to keep the checkpoints. The caller then removes them once DVC or MLflow has the run.

    Returns:
        The run's record. Divergence is a valid result that the record states; it does not raise an error.

    Raises:
        PipelineError: The prepared data is missing or too small for the cell, its network cannot be trained on
            batches of this size, its initial weights were trained on validation or test images, a training step does
            not fit into the memory of the GPU, or another process is training the same run.
    """
    started, began_ms = time.perf_counter(), round(time.time() * 1000)
    disable_malloc_trim()
    torch.set_num_threads(cell.train.num_threads)
    project = project or Project()
    data = project.prepared.dataset
    prepared = project.prepared.select_fold(cell.fold)
    training, eval_splits, compared = _select_splits(cell, prepared)
    size, num_classes = choose_input_size(cell, training.images.size), len(data.classes)
    check_batch(cell, count_samples(training, cell.train), size, training.num_channels, num_classes)
    _seed_everything(cell.seed)  # after the check, which may run a user's code
    precision = resolve_precision(cell.train.precision)
    network = build_cell_network(cell, training.num_channels, num_classes)
    training_images = collect_training_images(cell, prepared)  # after the file of initial weights has been checked
    network.to(select_device())
    trainable_parameters = count_trainable_parameters(network)  # now, since some epochs may freeze more
    key = compute_run_key(cell, data.fingerprint, precision)
    results = RunResults(data.classes)
    start = TrainingState(cell.name, key, cell.model_dump(mode="json"), precision, data.fingerprint, began_ms)

    def publish_state(progress: EpochProgress | None = None, *, has_failed: bool = False) -> None:
        ended_ms = tuple(times.ended_ms for times in results.times)
        history = tuple(results.history)
        publish(replace(start, history=history, ended_ms=ended_ms, progress=progress, has_failed=has_failed))

    lock = RunLock(key, project.root)
    with lock.hold(), _publish_failure(publish_state):
        check_signals()
        checkpoints = CheckpointManager(lock.folder, cell.name)
        extendable = ExtendableRun(cell, data.fingerprint, precision, project.root)
        checkpoint = checkpoints.load_newest() or extendable.load()
        if checkpoint is not None:
            results.load_state_dict(checkpoint["results"])
        started -= results.seconds
        publish_state()
        epochs = train(
            network, cell, training, eval_splits, data.classes, precision,
            done=len(results.history), state=checkpoint and checkpoint["training"],
        )  # fmt: skip
        diverged: int | None = None
        try:
            while find_early_stop(results.val_losses, cell.train.early_stopping) is None:
                with explain_step_memory(cell, size):
                    epoch = next(epochs, None)
                if epoch is None:
                    break
                results.add(epoch)
                results.seconds = time.perf_counter() - started
                state = {"training": epoch.state.state_dict(key), "results": results.state_dict()}
                checkpoints.save(epoch.number, state)
                publish_state(_describe_progress(cell, epoch))
        except DivergedError as end:
            diverged = end.epoch

        is_early = len(results.history) < cell.train.epochs
        record = RunRecord(
            format=FORMAT,
            run=cell.name,
            key=key,
            status="diverged" if diverged else "stopped_early" if is_early else "finished",
            epochs=len(results.history),
            best_epoch=results.best_epoch,
            diverged_epoch=diverged,
            precision=precision,
            trainable_parameters=trainable_parameters,
            data_fingerprint=data.fingerprint,
            cell=dict(start.cell),
            weights=network.initial_weights,
        )
        with project.run(cell.name).replace() as folder:
            results.write(folder, key, eval_splits, compared, training_images)
            folder.write_json(folder.RECORD, record)
        if not diverged:
            extendable.keep(checkpoints)
    if not keep_checkpoints:
        lock.remove()
    return record


def train_and_log(params: Params, cell: Cell, listen: Callable[[EpochProgress], None] | None = None) -> RunRecord:
    """Train a cell as `train_cell` does, and log it to MLflow from this process; `listen` receives the progress."""
    with BackgroundLogger(params) as logger:

        def publish(state: TrainingState) -> None:
            logger.update(state)
            if listen and state.progress:
                listen(state.progress)

        record = train_cell(cell, publish=publish, keep_checkpoints=True)
        logger.finish(cell.name)
    check_signals()  # before the checkpoints are removed: after a signal DVC runs the command again
    RunLock(record.key).remove()
    return record


def _seed_everything(seed: int) -> None:
    """Seed the global random generators, which dropout and custom code use.

    In a worker that trains several runs, they would otherwise continue from the previous run.
    """
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


@contextlib.contextmanager
def _publish_failure(publish_state: Callable[..., None]) -> Iterator[None]:
    """Publish that training has failed if an error is raised inside the context."""
    try:
        yield
    except Exception:
        publish_state(has_failed=True)
        raise


def _describe_progress(cell: Cell, epoch: Epoch) -> EpochProgress:
    return EpochProgress(
        run=cell.name,
        epoch=epoch.number,
        epochs=cell.train.epochs,
        train_loss=epoch.train.loss,
        val_loss=epoch.validation.loss,
        images_per_second=epoch.images / epoch.training_seconds,
    )


def _select_splits(cell: Cell, prepared: PreparedData) -> tuple[Split, EvalSplits, npt.NDArray[np.int64]]:
    """Select the training images, the splits to evaluate, and the indices of the evaluated training images."""
    everything, validation = prepared.open_split("train"), prepared.open_split("validation")
    if cell.max_train_images is not None and cell.max_train_images > len(everything):
        raise PipelineError(
            f"max_train_images: {cell.max_train_images} is more than the {len(everything)} images in "
            f"{prepared.path / 'train'}. Lower it."
        )
    seen = select_training_subset(len(everything), cell.max_train_images)
    compared = select_gap_subset(seen, len(validation))
    training = everything if len(seen) == len(everything) else everything.take(seen)
    eval_splits = EvalSplits(everything.take(compared), validation, prepared.open_split(SHOWCASE))
    for name, split in (("train", eval_splits.train), ("validation", eval_splits.validation)):
        if not any((mask != IGNORE).any() for mask in split.masks):
            raise PipelineError(
                f"{prepared.path / name}: every pixel of the {len(split)} compared images is ignored, so their loss is "
                "undefined. Add images whose masks have evaluated pixels to this split."
            )
    return training, eval_splits, compared
