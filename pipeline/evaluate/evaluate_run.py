"""Score a run's best weights on every split, and write `evaluation/<run>/` atomically."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from pipeline.analysis.calibration import ReliabilityBins
from pipeline.analysis.objects import ObjectMatches
from pipeline.analysis.scores import compute_scores
from pipeline.artifacts.evaluation_folder import CHECKED_SPLITS, PredictionCost, RunEvaluation
from pipeline.artifacts.folder import drop_nan
from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, Dataset, PreparedData, Split
from pipeline.artifacts.project import Project
from pipeline.artifacts.run_folder import Precision, RunFolder
from pipeline.artifacts.scores import Calibration
from pipeline.evaluate.contradictions import ContradictionCollector, write_contradictions
from pipeline.evaluate.feature_maps import FeatureMaps, extract_feature_maps
from pipeline.evaluate.objects import find_worst_images, list_object_rows, match_split, summarize_objects
from pipeline.evaluate.outputs import SplitPrediction, write_evaluation
from pipeline.evaluate.surfaces import create_scale, find_prepared_pixels, measure_surfaces
from pipeline.imaging.pixel_size import PixelSize
from pipeline.inference.confidence import ConfidenceCollector
from pipeline.inference.objects import find_object_settings
from pipeline.inference.prediction import PixelPredictions, Prediction, create_tiles, predict_split
from pipeline.inference.tiles import Tiles
from pipeline.inference.trained_run import load_record
from pipeline.models.factory import load_trained_network
from pipeline.models.operations import count_multiply_accumulates
from pipeline.models.precision import get_device
from pipeline.models.step_memory import measure_step_memory
from pipeline.params import Cell, Params
from pipeline.params.run_config import read_run_config

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class _RunPredictions:
    """Predictions of a run's best weights by split; empty if the run diverged in its first epoch."""

    splits: Mapping[str, SplitPrediction] = field(default_factory=dict)
    # Of training, validation and test, with only the training images whose loss was computed during training.
    scored: Mapping[str, Prediction] = field(default_factory=dict)
    samples: Mapping[str, Split] = field(default_factory=dict)  # the images of `scored`
    bins: Mapping[str, ReliabilityBins] = field(default_factory=dict)  # of training and validation in `scored`
    contradictions: Mapping[str, ContradictionCollector] = field(default_factory=dict)
    feature_maps: Mapping[str, FeatureMaps] = field(default_factory=dict)
    cost: PredictionCost | None = None


def evaluate_run(params: Params, run: str, project: Project | None = None) -> RunEvaluation:
    """Score a run's model on the compared training images, validation, test and showcase.

    Returns:
        The content of `metrics.json`; without scores if the run diverged in its first epoch.

    Raises:
        PipelineError: The run or the prepared data is missing or broken, or the run was trained on different data.
    """
    project = project or Project()
    trained = project.run(run)
    record, data = load_record(params, run, project)
    view = project.prepared.select_fold(record.fold)
    if record.best_epoch is None:
        settings, predicted = None, _RunPredictions()
        evaluation = RunEvaluation(record.run, record.key, None, None, None, None, None, (), None, None)
    else:
        is_numbered = view.open_split("train").instances is not None
        settings = find_object_settings(params.evaluation, data.classes, is_numbered)
        predicted = _predict_run(trained, view, data, params.evaluation.tile_overlap)
        evaluation = _score_splits(trained, predicted, data)
    matches = dict[str, list[ObjectMatches]]()
    if settings:
        for name, prediction in predicted.scored.items():
            matches[name] = match_split(predicted.samples[name], prediction.masks, settings)
        evaluation = replace(evaluation, objects=summarize_objects(matches, settings))
    tolerance, pixels = params.evaluation.surface_tolerance, _find_pixels(params, view.samples, predicted.scored)
    surfaces = [
        (predicted.samples[name].ids[index], name, data.class_names[label], *map(drop_nan, scores))
        for name in pixels
        for index, label, scores in measure_surfaces(
            predicted.samples[name], predicted.scored[name].masks, tolerance, pixels[name]
        )
    ]
    if pixels:
        scale = create_scale(tolerance, [pixel for sizes in pixels.values() for pixel in sizes])
        evaluation = replace(evaluation, distances=scale)
    with project.evaluation(run).replace() as new:
        worst = find_worst_images(matches["validation"]) if matches else []
        write_evaluation(
            new, evaluation, predicted.splits, predicted.bins, data.classes, params.evaluation.examples, worst
        )
        new.write_table(new.SURFACES, new.SURFACE_COLUMNS, surfaces)
        new.write_class_pixels({name: split.prediction.confusion for name, split in predicted.splits.items()})
        confusion = {name: prediction.confusion.sum(axis=0) for name, prediction in predicted.scored.items()}
        new.write_confusion(confusion, data.class_names)
        contradicted = {name: one.get_pixels() for name, one in predicted.contradictions.items()}
        write_contradictions(new, predicted.splits, contradicted, data.classes)
        if matches:
            ids = {name: split.ids for name, split in predicted.samples.items()}
            new.write_objects(list_object_rows(ids, matches))
        if predicted.feature_maps:
            new.write_arrays(new.FEATURE_MAPS, predicted.feature_maps)
    return evaluation


def _predict_run(run: RunFolder, data: PreparedData, dataset: Dataset, tile_overlap: float) -> _RunPredictions:
    """Predict all splits with the best weights of a run, and measure the cost of its network."""
    record, cell = run.record, read_run_config(run.record, run.path)
    prepared = {name: data.open_split(name) for name in (*SPLITS, SHOWCASE)}
    tiles = create_tiles(cell, tile_overlap)
    network = load_trained_network(run, prepared["train"].num_channels, len(dataset.classes))
    # With cross-validation, every mask is checked by the runs that were not trained on it.
    checked = () if dataset.has_exact_masks else CHECKED_SPLITS if record.fold is None else CHECKED_SPLITS[1:]
    collectors = {name: ContradictionCollector(len(dataset.classes)) for name in checked}
    splits = {
        name: _predict_split(network, split, len(dataset.classes), record.precision, tiles, collectors.get(name))
        for name, split in prepared.items()
    }
    compared = run.read_image_losses("train").index
    scored = {name: splits[name].prediction for name in SPLITS}
    samples = {name: prepared[name] for name in SPLITS}
    return _RunPredictions(
        splits=splits,
        scored={**scored, "train": scored["train"].take(compared)},
        samples={**samples, "train": samples["train"].take(compared)},
        bins={
            "train": splits["train"].confidence.sum_bins(compared),
            "validation": splits["validation"].confidence.sum_bins(),
        },
        contradictions=collectors,
        feature_maps=extract_feature_maps(network, prepared[SHOWCASE], cell.train.patch),
        cost=_measure_cost(run, network, prepared["train"], cell),
    )


def _find_pixels(params: Params, samples: pd.DataFrame, scored: Collection[str]) -> dict[str, list[PixelSize]]:
    """Find the size of a pixel of each prepared image, in the splits whose outlines are compared."""
    return {
        name: find_prepared_pixels(params.data, samples[samples["split"] == name])
        for name in ("validation", "test")
        if name in scored
    }


def _predict_split(
    network: nn.Module,
    split: Split,
    num_classes: int,
    precision: Precision,
    tiles: Tiles | None,
    contradictions: ContradictionCollector | None,
) -> SplitPrediction:
    collector = ConfidenceCollector(num_classes)

    def observe(pixels: PixelPredictions) -> None:
        collector(pixels)
        if contradictions is not None:
            contradictions(pixels)

    prediction = predict_split(network, split, num_classes, precision, observe, tiles)
    return SplitPrediction(split, prediction, collector.stats())


def _measure_cost(run: RunFolder, network: nn.Module, split: Split, cell: Cell) -> PredictionCost:
    size = cell.train.patch or split.images.size
    assert size is not None
    # Two images, because batch normalization needs more than one value per channel.
    images = torch.zeros(2, split.num_channels, *size, device=get_device(network))
    return PredictionCost(
        parameters=sum(weight.numel() for weight in network.parameters()),
        multiply_accumulates=count_multiply_accumulates(network, images[:1]),
        model_bytes=run.weights.stat().st_size,
        training_bytes=measure_step_memory(copy.deepcopy(network), images, run.record.precision, cell.train.batch_size),
    )


def _score_splits(run: RunFolder, predicted: _RunPredictions, data: Dataset) -> RunEvaluation:
    last = run.history.iloc[-1]
    scores = {
        name: compute_scores(prediction.loss, prediction.confusion.sum(axis=0), data.classes)
        for name, prediction in predicted.scored.items()
    }
    showcase = predicted.splits[SHOWCASE].prediction
    return RunEvaluation(
        run=run.name,
        key=run.record.key,
        gap=predicted.scored["validation"].loss - predicted.scored["train"].loss,
        gap_last=float(last["val_loss"]) - float(last["train_loss"]),
        train=scores["train"],
        validation=scores["validation"],
        test=scores["test"],
        showcase=tuple(
            compute_scores(float(loss), confusion, data.classes)
            for loss, confusion in zip(showcase.losses, showcase.confusion, strict=True)
        ),
        train_calibration=_summarize_calibration(predicted.bins["train"]),
        val_calibration=_summarize_calibration(predicted.bins["validation"]),
        cost=predicted.cost,
    )


def _summarize_calibration(bins: ReliabilityBins) -> Calibration | None:
    if not bins.pixels.any():
        return None
    return Calibration(confidence=bins.mean_confidence, error=bins.expected_calibration_error)
