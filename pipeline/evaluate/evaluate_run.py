"""Score a run's best weights on every split, and write `evaluation/<run>/` atomically."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from torch import nn

from pipeline.analysis.calibration import ReliabilityBins
from pipeline.analysis.scores import compute_scores
from pipeline.artifacts.evaluation_folder import CHECKED_SPLITS, RunEvaluation
from pipeline.artifacts.folder import drop_nan
from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, Dataset, Split
from pipeline.artifacts.project import Project
from pipeline.artifacts.run_folder import Precision, RunFolder
from pipeline.artifacts.scores import Calibration
from pipeline.evaluate.calibration import ConfidenceCollector
from pipeline.evaluate.contradictions import ContradictionCollector, score_split, select_contradicted
from pipeline.evaluate.feature_maps import FeatureMaps, extract_feature_maps
from pipeline.evaluate.outputs import SplitPrediction, write_evaluation
from pipeline.evaluate.surfaces import measure_surfaces
from pipeline.inference.prediction import PixelPredictions, Prediction, create_tiles, predict_split
from pipeline.inference.tiles import Tiles
from pipeline.inference.trained_run import load_record
from pipeline.models.factory import load_trained_network
from pipeline.params import Params
from pipeline.params.run_config import read_run_config


def evaluate_run(params: Params, run: str, project: Project | None = None) -> RunEvaluation:
    """Score a run's model on the compared training images, validation, test and showcase.

    Returns:
        The content of `metrics.json`; without scores if the run diverged in its first epoch.

    Raises:
        PipelineError: The run or the prepared data is missing or broken, or the run was trained on different data.
    """
    project = project or Project()
    trained = project.run(run)
    record, data = load_record(run, project)
    splits: dict[str, SplitPrediction] = {}
    scored: dict[str, Prediction] = {}
    maps: dict[str, FeatureMaps] = {}
    bins: dict[str, ReliabilityBins] = {}
    contradicted: dict[str, npt.NDArray[np.float64]] = {}  # scores of the masks by split
    if record.best_epoch is not None:
        prepared = {name: project.prepared.open_split(name) for name in (*SPLITS, SHOWCASE)}
        cell = read_run_config(record, trained.path)
        tiles = create_tiles(cell, params.evaluation.tile_overlap)
        network = load_trained_network(trained, prepared["train"].num_channels, len(data.classes))
        collectors = {name: ContradictionCollector(len(prepared[name]), len(data.classes)) for name in CHECKED_SPLITS}
        splits = {
            name: _predict_split(
                network,
                split,
                len(data.classes),
                record.precision,
                tiles,
                [collectors[name]] if name in collectors else [],
            )
            for name, split in prepared.items()
        }
        contradicted = {
            name: score_split(collector.get_pixels(), splits[name].prediction, data.classes)
            for name, collector in collectors.items()
        }
        maps = extract_feature_maps(network, prepared[SHOWCASE], cell.train.patch)
        compared = trained.read_image_losses("train").index
        bins = {
            "train": splits["train"].confidence.sum_bins(compared),
            "validation": splits["validation"].confidence.sum_bins(),
        }
        scored = {name: splits[name].prediction for name in SPLITS}
        scored["train"] = scored["train"].take(compared)
        evaluation = _score_splits(trained, scored, splits[SHOWCASE].prediction, bins, data)
    else:
        evaluation = RunEvaluation(record.run, record.key, None, None, None, None, None, (), None, None)
    surfaces = [
        (splits[name].split.ids[index], name, data.class_names[label], *map(drop_nan, scores))
        for name in ("validation", "test")
        if name in scored
        for index, label, scores in measure_surfaces(
            splits[name].split, scored[name].masks, params.evaluation.surface_tolerance
        )
    ]
    with project.evaluation(run).replace() as new:
        write_evaluation(new, evaluation, splits, bins, data.classes, params.evaluation.examples)
        new.write_table(new.SURFACES, new.SURFACE_COLUMNS, surfaces)
        new.write_class_pixels({name: split.prediction.confusion for name, split in splits.items()})
        new.write_confusion(
            {name: prediction.confusion.sum(axis=0) for name, prediction in scored.items()}, data.class_names
        )
        new.write_contradictions({name: (splits[name].split.ids, scores) for name, scores in contradicted.items()})
        if not data.has_exact_masks:
            for name, scores in contradicted.items():
                prediction, ids = splits[name].prediction, splits[name].split.ids
                kept = select_contradicted(scores)
                new.write_contradicted({ids[index]: prediction.masks[index] for index in kept})
        if maps:
            new.write_arrays(new.FEATURE_MAPS, maps)
    return evaluation


def _predict_split(
    network: nn.Module,
    split: Split,
    num_classes: int,
    precision: Precision,
    tiles: Tiles | None,
    observers: Sequence[Callable[[PixelPredictions], None]],
) -> SplitPrediction:
    collector = ConfidenceCollector(num_classes)

    def observe(pixels: PixelPredictions) -> None:
        collector(pixels)
        for observer in observers:
            observer(pixels)

    prediction = predict_split(network, split, num_classes, precision, observe, tiles)
    return SplitPrediction(split, prediction, collector.stats())


def _score_splits(
    run: RunFolder,
    predictions: Mapping[str, Prediction],
    showcase: Prediction,
    bins: Mapping[str, ReliabilityBins],
    data: Dataset,
) -> RunEvaluation:
    last = run.history.iloc[-1]
    scores = {
        name: compute_scores(prediction.loss, prediction.confusion.sum(axis=0), data.classes)
        for name, prediction in predictions.items()
    }
    return RunEvaluation(
        run=run.name,
        key=run.record.key,
        gap=predictions["validation"].loss - predictions["train"].loss,
        gap_last=float(last["val_loss"]) - float(last["train_loss"]),
        **scores,
        showcase=tuple(
            compute_scores(float(loss), confusion, data.classes)
            for loss, confusion in zip(showcase.losses, showcase.confusion, strict=True)
        ),
        train_calibration=_summarize_calibration(bins["train"]),
        val_calibration=_summarize_calibration(bins["validation"]),
    )


def _summarize_calibration(bins: ReliabilityBins) -> Calibration | None:
    if not bins.pixels.any():
        return None
    return Calibration(confidence=bins.mean_confidence, error=bins.expected_calibration_error)
