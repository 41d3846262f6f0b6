"""Measure the peak memory of a training process with a few training steps, and request it from a Ray cluster."""

from __future__ import annotations

import importlib
import math
import multiprocessing
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import click
import numpy as np

from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError
from pipeline.params import Cell, Params
from pipeline.runtime.operating_system import disable_malloc_trim, read_peak_memory
from pipeline.runtime.process import terminate_with_parent
from pipeline.sweep.worker import Job
from pipeline.variants.data_shape import DataShape, choose_input_size, describe_data

STEPS = 2  # the first creates the optimizer's state, the second holds it together with the activations
HEADROOM = 1.2  # factor applied to the measured memory, for evaluation after training and Ray's share of the process
# A training process imports these in its logging thread. They take a seventh of a small run's memory.
TRACKING_MODULES = ("mlflow", "mlflow.store.tracking.sqlalchemy_store")


class ProcessKilledError(PipelineError):
    """The process that measures a variant's memory was killed before it returned a result."""


def measure_process(cell: Cell, data: DataShape) -> int:
    """Measure the peak resident memory of a process that trains a cell.

    The process runs the code of `pipeline train` for one short epoch on blank images: training steps, evaluation
    batches and a checkpoint. Pages of memory-mapped images are not included, because the system reclaims them when
    memory is short.

    Returns:
        Bytes of main memory; the memory of a GPU is not included.

    Raises:
        PipelineError: The network cannot be trained on such images, or the process was killed.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=terminate_with_parent) as pool:
        try:
            return pool.submit(_train_blank, cell, data).result()
        except BrokenProcessPool:
            raise ProcessKilledError(
                f"variants.{cell.variant}: the process that measures the memory of a run was killed, probably "
                "because this machine has too little. Reduce train.batch_size, data.image_size or train.patch_size."
            ) from None


def find_memory_requests(params: Params, jobs: Sequence[Job], project: Project) -> dict[str, int]:
    """Return the memory that each variant's jobs request: `ray.memory_gb` if set, otherwise the measured peak.

    Returns:
        Bytes by variant; 0 for a variant that cannot be trained, whose jobs report the reason.

    Raises:
        PipelineError: This machine has too little memory to measure a variant.
    """
    cells = {job.cell.variant: job.cell for job in jobs}
    if params.ray.memory_gb is not None:
        return dict.fromkeys(cells, round(params.ray.memory_gb * 1e9))
    data = describe_data(params, project)
    requests = {}
    for variant, cell in cells.items():
        try:
            requests[variant] = round(measure_process(cell, data) * HEADROOM)
            gigabytes = f"{requests[variant] / 1e9:.1f} GB of memory"
            click.echo(f"{variant}: each run requests {gigabytes}, as measured. Set ray.memory_gb to change this.")
        except ProcessKilledError as error:
            raise PipelineError(f"{error} Or set ray.memory_gb to skip the measurement.") from None
        except PipelineError:
            requests[variant] = 0
    return requests


def warn_of_unmet(demands: Mapping[str, Mapping[str, float]], nodes: Sequence[Mapping[str, float]]) -> None:
    """Warn about variants whose runs need more resources than any node has, because Ray would silently wait.

    Args:
        demands: the resources that a run of each variant requests, keyed by Ray's names.
        nodes: the resources of each node, keyed by Ray's names.
    """
    unmet = {
        variant: demand
        for variant, demand in demands.items()
        if not any(all(node.get(name, 0) >= amount for name, amount in demand.items()) for node in nodes)
    }
    if unmet:
        requested = "; ".join(f"{variant}: {_list_resources(demand, demand)}" for variant, demand in unmet.items())
        names = dict.fromkeys(name for demand in unmet.values() for name in demand)
        offered = "; ".join(_list_resources(node, names) for node in nodes)
        click.echo(
            f"No node of the Ray cluster has enough resources for runs of these variants: {requested}. They wait until "
            f"a larger node joins. The nodes offer: {offered}. See ray and train.num_threads in params.yaml.",
            err=True,
        )


def _train_blank(cell: Cell, data: DataShape) -> int:
    # In a thread, as a training process does.
    tracking = threading.Thread(target=lambda: [importlib.import_module(module) for module in TRACKING_MODULES])
    tracking.start()

    import torch

    from pipeline.artifacts.prepared_data import SegmentationClass, Split
    from pipeline.inference.prediction import compute_batch_size
    from pipeline.models.factory import build_cell_network
    from pipeline.models.precision import resolve_precision, select_device
    from pipeline.params.custom_code import describe_error
    from pipeline.train.checkpoints import CheckpointManager
    from pipeline.train.epoch_loss import DivergedError
    from pipeline.train.loop import EvalSplits, train
    from pipeline.train.run_results import RunResults

    disable_malloc_trim()
    torch.set_num_threads(cell.train.num_threads)

    size = choose_input_size(cell, data.size)

    def blank(count: int, width: int = size[1]) -> Split:
        shape = (count, size[0], width)
        images = np.broadcast_to(np.zeros((), data.dtype), (*shape, data.channels))
        return Split.of(images, np.broadcast_to(np.uint8(0), shape))

    used = min(data.train, cell.max_train_images or data.train)
    compared = max(1, min(used, data.validation))
    # Space for the predicted masks of both splits. It is filled, because only written memory counts as resident.
    predicted = np.ones((2, compared, data.mean_pixels or math.prod(size)), np.uint8)
    # Accumulating more than two batches takes no more memory. The encoder is not frozen, as training it takes more.
    accumulated = min(cell.train.gradient_accumulation_steps, 2)
    training = blank(min(used, STEPS * accumulated * cell.train.batch_size))
    largest = compute_batch_size(*size)
    # Of native-size images, the tiles of a row are predicted together.
    validation = blank(min(data.validation, largest)) if cell.train.patch is None else blank(1, largest * size[1])
    watched = EvalSplits(blank(1), validation, blank(1))
    try:
        network = build_cell_network(cell, data.channels, data.classes).to(select_device())
        limits = {"epochs": 1, "gradient_accumulation_steps": accumulated, "freeze_encoder_epochs": 0}
        # Class weights take no memory, and the blank images do not have the classes that they name.
        settings = cell.train.model_copy(update={**limits, "class_weights": None})
        precision = resolve_precision(cell.train.precision)
        classes = tuple(SegmentationClass(str(place), "#000000", True) for place in range(data.classes))
        outputs = RunResults(classes)
        short = cell.model_copy(update={"train": settings})
        for epoch in train(network, short, training, watched, classes, precision):
            outputs.add(epoch)
            with tempfile.TemporaryDirectory() as folder:
                state = {"training": epoch.state.state_dict(""), "results": outputs.state_dict()}
                CheckpointManager(Path(folder), cell.name).save(epoch.number, state)
    except DivergedError:
        pass  # the step has been measured
    except PipelineError:
        raise
    except (Exception, SystemExit) as error:  # raised by a user's own network or optimizer
        raise PipelineError(f"variants.{cell.variant}: a training step raised {describe_error(error)}.") from error
    tracking.join()
    del predicted
    return read_peak_memory()


def _list_resources(resources: Mapping[str, float], names: Iterable[str]) -> str:
    return ", ".join(
        f"{resources.get(name, 0) / 1e9:.1f} GB of memory" if name == "memory" else f"{resources.get(name, 0):g} {name}"
        for name in names
    )
