"""What a run's network makes of every image, with its best epoch's weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from pipeline import runs
from pipeline.data.arrays import Split, open_split
from pipeline.errors import PipelineError
from pipeline.evaluate.confidence import Confidence, Observer
from pipeline.evaluate.explain import Maps, explain
from pipeline.models.build import build_network
from pipeline.models.inference import Prediction, predict
from pipeline.params import Cell
from pipeline.params.model import SmpModel
from pipeline.runs import RunRecord


@dataclass(frozen=True)
class Seen:
    """A split and what the network made of it."""

    split: Split
    prediction: Prediction
    confidence: Confidence


def see_all(
    cell: Cell, record: RunRecord, folder: Path, prepared: Path, classes: int
) -> tuple[dict[str, Seen], dict[str, Maps]]:
    """Run a trained network over every split and the showcase.

    Args:
        cell: what was trained.
        record: how it ended.
        folder: of the run, with the weights of its best epoch.
        prepared: the folder of the prepared data.
        classes: how many there are.

    Returns:
        What it made of each split, and maps that explain it, see `explain`.

    Raises:
        PipelineError: The data or the weights cannot be read, or the weights are of another network.
    """
    splits = {name: open_split(name, prepared) for name in (*runs.SPLITS, runs.SHOWCASE)}
    # The weights come from the run: filling the encoder with ImageNet's first would be for nothing.
    model = cell.model.model_copy(update={"pretrained": False}) if isinstance(cell.model, SmpModel) else cell.model
    network = build_network(model, channels=splits["train"].images.shape[-1], classes=classes)
    try:
        network.load_state_dict(load_file(folder / runs.WEIGHTS))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise PipelineError(
            f"{folder / runs.WEIGHTS} does not hold this variant's weights ({str(error).splitlines()[0]}). "
            f"Train it again: dvc repro --force train@{cell.name}"
        ) from None
    network.to(memory_format=torch.channels_last)
    seen = {}
    for name, split in splits.items():
        observer = Observer(classes)
        prediction = predict(network, split, classes, record.precision, observer)
        seen[name] = Seen(split, prediction, observer.confidence())
    return seen, explain(network, splits[runs.SHOWCASE])
