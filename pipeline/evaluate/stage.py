"""Evaluates one run: scores every split with its best weights and writes `evaluation/<run>/` whole or not at all."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file

from pipeline import runs
from pipeline.analysis.scores import score
from pipeline.data.arrays import Split, open_split
from pipeline.errors import PipelineError
from pipeline.evaluate.outputs import write_evaluation
from pipeline.files import read_json, replacing
from pipeline.models.build import build_network
from pipeline.models.inference import Prediction, predict
from pipeline.params import Cell, Params
from pipeline.params.model import SmpModel
from pipeline.project import make
from pipeline.runs import DataSet, Evaluation, RunRecord
from pipeline.tracking.mirror import Mirror


def evaluate_run(params: Params, run: str, root: Path = Path()) -> Evaluation:
    """Score a run's model on the compared training images, validation, test and showcase.

    Args:
        params: the whole of `params.yaml`: how many examples to keep, where to track.
        run: the run's name.
        root: the project's folder.

    Returns:
        What stands in `metrics.json`; without numbers for a run that diverged before its first epoch ended.

    Raises:
        PipelineError: The run's folder or the prepared data is missing, broken, or they do not belong together.
    """
    if Path(run).name != run:
        raise PipelineError(f"'{run}' is a path; name the run itself, such as {Path(run).name or 'unet-0.001-0'}.")
    folder, target = root / runs.RUNS / run, root / runs.EVALUATION / run
    record, data = RunRecord.read(folder), DataSet.read(root / runs.PREPARED)
    # What was trained, as it was trained: params.yaml may have moved on.
    try:
        cell = Cell.model_validate_json(json.dumps(record.cell))
    except ValidationError:
        raise PipelineError(
            f"{folder / runs.RECORD} holds parameters of another version. Train it again: dvc repro --force train@{run}"
        ) from None
    torch.set_num_threads(cell.train.threads)
    if record.data_fingerprint != data.fingerprint:
        raise PipelineError(
            f"{folder} was trained on other data than {root / runs.PREPARED} holds now. Train it again: "
            f"{make('report', root)}"
        )
    splits: dict[str, Split] = {}
    predictions: dict[str, Prediction] = {}
    if record.best_epoch is not None:
        splits = {name: open_split(name, root / runs.PREPARED) for name in (*runs.SPLITS, runs.SHOWCASE)}
        predictions = _predict_all(cell, record, folder, splits, len(data.classes))
    evaluation = _evaluation(record, folder, predictions, data)
    with replacing(target) as new:
        write_evaluation(new, evaluation, splits, predictions, data.classes, params.evaluation.examples)
    mirror = Mirror.find(params.tracking, record.key)
    if mirror is not None:
        if predictions:
            mirror.log_values(_metrics(evaluation, record), _ended(folder))
        mirror.log_folder(target, "evaluation")
    return evaluation


def _predict_all(
    cell: Cell, record: RunRecord, folder: Path, splits: dict[str, Split], classes: int
) -> dict[str, Prediction]:
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
    return {name: predict(network, split, classes, record.precision) for name, split in splits.items()}


def _evaluation(record: RunRecord, folder: Path, predictions: dict[str, Prediction], data: DataSet) -> Evaluation:
    if not predictions:
        return Evaluation(record.run, record.key, None, None, None, None, None, ())
    with np.load(folder / runs.IMAGE_LOSSES, allow_pickle=False) as losses:
        compared = predictions["train"].take(losses["train_index"])
    with (folder / runs.HISTORY).open(encoding="utf-8", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    parts = {
        name: score(prediction.loss, prediction.confusion.sum(axis=0), data.classes)
        for name, prediction in (("train", compared), *((name, predictions[name]) for name in ("validation", "test")))
    }
    showcase = predictions[runs.SHOWCASE]
    return Evaluation(
        run=record.run,
        key=record.key,
        gap=parts["validation"].loss - parts["train"].loss,
        gap_last=float(last["val_loss"]) - float(last["train_loss"]),
        **parts,
        showcase=tuple(
            score(float(loss), confusion, data.classes)
            for loss, confusion in zip(showcase.losses, showcase.confusion, strict=True)
        ),
    )


def _metrics(evaluation: Evaluation, record: RunRecord) -> dict[str, float]:
    """The single numbers that a table of runs is sorted by."""
    if evaluation.validation is None or evaluation.train is None:
        return {}
    values = {
        "val_loss_best": evaluation.validation.loss,
        "train_loss_best": evaluation.train.loss,
        "gap": evaluation.gap,
        "gap_last": evaluation.gap_last,
        "best_epoch": record.best_epoch,
        "val_mean_iou_best": evaluation.validation.mean_iou,
        "val_foreground_iou_best": evaluation.validation.foreground_iou,
        "showcase_iou": evaluation.showcase[0].foreground_iou if evaluation.showcase else None,
    }
    return {name: float(value) for name, value in values.items() if value is not None}


def _ended(folder: Path) -> int:
    """When training ended, in milliseconds since 1970: the time that a run's single numbers carry in MLflow."""
    return int(read_json(folder / runs.TIMING, "pipeline train")["epochs"][-1]["ended_ms"])
