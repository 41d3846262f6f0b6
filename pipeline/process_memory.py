"""Peak memory of a training process, measured in a fresh process that takes a few real training steps."""

from __future__ import annotations

import importlib
import multiprocessing
import tempfile
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

from pipeline.errors import PipelineError
from pipeline.params import Cell
from pipeline.runtime.process import terminate_with_parent
from pipeline.variants.image_data import ImageData

STEPS = 2  # the first creates the optimizer's state, the second holds it together with the activations
STATUS = Path("/proc/self/status")
# A training process imports these in its logging thread: a seventh of the memory of a small training.
TRACKING_MODULES = ("mlflow", "mlflow.store.tracking.sqlalchemy_store")


def measure_process(cell: Cell, data: ImageData) -> int:
    """Measure the peak resident memory of a process that trains a cell.

    The process imports, allocates and does what `pipeline train` does, on blank images and for one short epoch: forward
    pass, backward pass and optimizer steps, evaluation batches, checkpoint. Pages of the memory-mapped images are not
    included, since the system reclaims them when memory is short; copies of images are.

    Args:
        cell: which network to train, and how.
        data: the images.

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
                f"variants.{cell.variant}: the process that measures the memory of a training was killed, probably "
                "because this machine has too little. Reduce train.batch_size or data.image_size."
            ) from None


class ProcessKilledError(PipelineError):
    """The measuring process ended without a result."""


def _train_blank(cell: Cell, data: ImageData) -> int:
    # In a thread, as in a training.
    tracking = threading.Thread(target=lambda: [importlib.import_module(module) for module in TRACKING_MODULES])
    tracking.start()

    import torch

    from pipeline.data.prepared import Split
    from pipeline.inference.prediction import compute_batch_size
    from pipeline.models.allocator import keep_freed_memory
    from pipeline.models.arithmetic import compute_device, resolve_precision
    from pipeline.models.build import build_network
    from pipeline.params.import_path import in_words
    from pipeline.runs import SegmentationClass
    from pipeline.train.checkpoint import Checkpoints
    from pipeline.train.loop import DivergedError, Watched, train
    from pipeline.train.outputs import Outputs

    keep_freed_memory()
    torch.set_num_threads(cell.train.threads)

    def blank(count: int) -> Split:
        shape = (count, data.size, data.size)
        images = np.broadcast_to(np.zeros((), data.dtype), (*shape, data.channels))
        return Split(images, np.broadcast_to(np.uint8(0), shape), tuple(map(str, range(count))))

    used = min(data.train, cell.train_images or data.train)
    compared = max(1, min(used, data.validation))
    # What a training holds of the images: a copy of those that it uses, if these are not all; a copy of those that it
    # compares with validation; and the predicted masks of both splits.
    copies = [blank(count).take(np.arange(count)) for count in (compared, used if used < data.train else 0)]
    predicted = [np.ones_like(copies[0].masks) for _ in range(2)]
    for copy in copies:
        copy.images.fill(1)  # memory counts once it is written
        copy.masks.fill(1)
    training = blank(min(used, STEPS * cell.train.batch_size))
    watched = Watched(blank(1), blank(min(data.validation, compute_batch_size(data.size, data.size))), blank(1))
    try:
        network = build_network(cell.model, data.channels, data.classes).to(compute_device())
        settings = cell.train.model_copy(update={"epochs": 1})
        precision = resolve_precision(cell.train.precision)
        outputs = Outputs(tuple(SegmentationClass(str(place), "#000000", True) for place in range(data.classes)))
        for epoch in train(network, training, watched, settings, cell.learning_rate, 0, data.classes, precision):
            outputs.add(epoch)
            with tempfile.TemporaryDirectory() as folder:
                state = {"moving": epoch.moving.state(""), "outputs": outputs.state()}
                Checkpoints(Path(folder), cell.name).save(epoch.number, state)
    except DivergedError:
        pass  # the step was taken
    except PipelineError:
        raise
    except (Exception, SystemExit) as error:  # of a user's own network or optimizer
        raise PipelineError(f"variants.{cell.variant}: a training step raised {in_words(error)}.") from error
    tracking.join()
    del copies, predicted
    return _peak_resident()


def _peak_resident() -> int:
    """Read this process's peak in bytes; `ru_maxrss` would include that of the process that started this one."""
    lines = dict(line.split(":", 1) for line in STATUS.read_text(encoding="ascii").splitlines() if ":" in line)
    return int(lines["VmHWM"].split()[0]) * 1024
