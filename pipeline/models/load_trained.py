"""Load a run's network with the weights of its best epoch."""

from __future__ import annotations

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from pipeline.artifacts.run_folder import RunFolder
from pipeline.errors import PipelineError
from pipeline.models.factory import build_network
from pipeline.models.precision import select_device
from pipeline.params.model import SmpModel
from pipeline.params.run_config import read_run_config


def load_trained_network(run: RunFolder, channels: int, classes: int) -> nn.Module:
    """Load the network for prediction, and set the number of threads that it was trained with.

    Raises:
        PipelineError: The weights cannot be read, or belong to another network.
    """
    cell = read_run_config(run.record, run.path)
    torch.set_num_threads(cell.train.num_threads)
    # The run's weights replace all others: loading those of ImageNet first would be wasted time.
    model = cell.model.model_copy(update={"pretrained": False}) if isinstance(cell.model, SmpModel) else cell.model
    network = build_network(model, channels, classes)
    try:
        network.load_state_dict(load_file(run.weights))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise PipelineError(
            f"{run.weights} does not hold this variant's weights ({str(error).splitlines()[0]}). Train it again: "
            f"{run.redo_command}"
        ) from None
    return network.to(select_device()).to(memory_format=torch.channels_last).eval()
