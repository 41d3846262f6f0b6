"""A run's network with the weights of its best epoch."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from pipeline import runs
from pipeline.errors import PipelineError
from pipeline.models.arithmetic import compute_device
from pipeline.models.build import build_network
from pipeline.params.model import SmpModel
from pipeline.params.recorded import recorded_cell
from pipeline.runs import RunRecord


def trained_network(record: RunRecord, folder: Path, channels: int, classes: int) -> nn.Module:
    """The network, ready to predict with as many threads as it was trained with.

    Args:
        record: how it was trained.
        folder: of the run, with its weights.
        channels: of the images.
        classes: how many there are.

    Raises:
        PipelineError: The weights cannot be read, or are of another network.
    """
    cell = recorded_cell(record, folder)
    torch.set_num_threads(cell.train.threads)
    # The weights come from the run: filling the encoder with ImageNet's first would be for nothing.
    model = cell.model.model_copy(update={"pretrained": False}) if isinstance(cell.model, SmpModel) else cell.model
    network = build_network(model, channels, classes)
    try:
        network.load_state_dict(load_file(folder / runs.WEIGHTS))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise PipelineError(
            f"{folder / runs.WEIGHTS} does not hold this variant's weights ({str(error).splitlines()[0]}). "
            f"Train it again: dvc repro --force train@{record.run}"
        ) from None
    return network.to(compute_device()).to(memory_format=torch.channels_last).eval()
