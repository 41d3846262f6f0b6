"""What a run's network makes of every image, with its best epoch's weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline import runs
from pipeline.data.prepared import Split, open_split
from pipeline.evaluate.confidence import Confidence, Observer
from pipeline.evaluate.explain import Maps, explain
from pipeline.inference.prediction import Prediction, predict_split
from pipeline.models.trained import trained_network
from pipeline.runs import RunRecord


@dataclass(frozen=True)
class Seen:
    """A split and what the network made of it."""

    split: Split
    prediction: Prediction
    confidence: Confidence


def see_all(record: RunRecord, folder: Path, prepared: Path, classes: int) -> tuple[dict[str, Seen], dict[str, Maps]]:
    """Run a trained network over every split and the showcase.

    Args:
        record: how it was trained.
        folder: of the run, with the weights of its best epoch.
        prepared: the folder of the prepared data.
        classes: how many there are.

    Returns:
        What it made of each split, and maps that explain it, see `explain`.

    Raises:
        PipelineError: The data or the weights cannot be read, or the weights are of another network.
    """
    splits = {name: open_split(name, prepared) for name in (*runs.SPLITS, runs.SHOWCASE)}
    network = trained_network(record, folder, splits["train"].images.shape[-1], classes)
    seen = {}
    for name, split in splits.items():
        observer = Observer(classes)
        prediction = predict_split(network, split, classes, record.precision, observer)
        seen[name] = Seen(split, prediction, observer.confidence())
    return seen, explain(network, splits[runs.SHOWCASE])
