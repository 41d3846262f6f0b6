"""Predict every split with the best weights of a run."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, PreparedData, Split
from pipeline.artifacts.run_folder import RunFolder
from pipeline.evaluate.calibration import ConfidenceCollector, ConfidenceStats
from pipeline.evaluate.feature_maps import FeatureMaps, extract_feature_maps
from pipeline.inference.prediction import Prediction, predict_split
from pipeline.models.load_trained import load_trained_network


@dataclass(frozen=True)
class SplitPrediction:
    """A split and its prediction."""

    split: Split
    prediction: Prediction
    confidence: ConfidenceStats


def predict_splits(
    run: RunFolder, prepared: PreparedData, num_classes: int
) -> tuple[dict[str, SplitPrediction], dict[str, FeatureMaps]]:
    """Predict every split and the showcase.

    Args:
        run: The run, with the weights of its best epoch.
        prepared: The prepared data.
        num_classes: Of the prepared data.

    Returns:
        The predictions by split, and feature maps; see `extract_feature_maps`.

    Raises:
        PipelineError: The data or the weights cannot be read, or the weights are of another network.
    """
    splits = {name: prepared.open_split(name) for name in (*SPLITS, SHOWCASE)}
    network = load_trained_network(run, splits["train"].images.shape[-1], num_classes)
    predictions = {}
    for name, split in splits.items():
        collector = ConfidenceCollector(num_classes)
        prediction = predict_split(network, split, num_classes, run.record.precision, collector)
        predictions[name] = SplitPrediction(split, prediction, collector.stats())
    return predictions, extract_feature_maps(network, splits[SHOWCASE])
