"""Errors of a GPU that has too little memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from pipeline.errors import PipelineError
from pipeline.models.precision import describe_processor
from pipeline.params import Cell
from pipeline.wording import format_size

OTHER_PROCESSES = (
    "If other processes use the same GPU (nvidia-smi lists them), stop them, train fewer runs at a time "
    "(pipeline sweep --workers 1), or select another GPU with CUDA_VISIBLE_DEVICES."
)


@contextlib.contextmanager
def explain_out_of_memory(what: str, advice: str) -> Iterator[None]:
    """Raise a `PipelineError` if a block needs more memory than the GPU has.

    Args:
        what: What does not fit, as the subject of the message.
        advice: What to change; other processes on the same GPU are always mentioned.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        found = str(error).split(". GPU ")[0]  # the rest advises on the settings of torch's allocator
        raise PipelineError(
            f"{what} does not fit into the memory of {describe_processor()} ({found}). {advice} {OTHER_PROCESSES}"
        ) from None


def explain_step_memory(cell: Cell, size: tuple[int, int]) -> contextlib.AbstractContextManager[None]:
    """Raise a `PipelineError` if a training step does not fit into the memory of the GPU.

    Args:
        cell: Cell of the grid.
        size: Height and width of an image or patch, px.
    """
    side = "data.image_size" if cell.train.patch is None else "train.patch_size"
    return explain_out_of_memory(
        f"train.batch_size: a training step with {cell.train.batch_size} images of {format_size(size)}",
        "Reduce train.batch_size, and multiply train.gradient_accumulation_steps by the same factor to keep the number "
        f"of images per step. Or reduce {side}.",
    )
