"""Evaluates one run: scores every split with its best weights and writes `evaluation/<run>/` whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline import runs
from pipeline.analysis.calibration import ReliabilityBins
from pipeline.analysis.scores import compute_scores
from pipeline.artifacts.project import Project
from pipeline.artifacts.run_folder import RunFolder
from pipeline.errors import PipelineError
from pipeline.evaluate.explain import Maps
from pipeline.evaluate.outputs import write_evaluation
from pipeline.evaluate.seen import Seen, see_all
from pipeline.params import Params
from pipeline.project import make
from pipeline.runs import Calibration, DataSet, Evaluation, RunRecord
from pipeline.tracking.content import Times, best_metrics
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
    folder, target = runs.run_folder(run, root), root / runs.EVALUATION / run
    record, data = RunRecord.read(folder), DataSet.read(root / runs.PREPARED)
    if record.data_fingerprint != data.fingerprint:
        raise PipelineError(
            f"{folder} was trained on other data than {root / runs.PREPARED} holds now. Train it again: "
            f"{make('report', root)}"
        )
    seen: dict[str, Seen] = {}
    maps: dict[str, Maps] = {}
    reliability: dict[str, ReliabilityBins] = {}
    if record.best_epoch is not None:
        seen, maps = see_all(record, folder, root / runs.PREPARED, len(data.classes))
        compared = _compared(folder)
        reliability = {
            "train": seen["train"].confidence.reliability(compared),
            "validation": seen["validation"].confidence.reliability(),
        }
        evaluation = _evaluation(record, folder, seen, compared, reliability, data)
    else:
        evaluation = Evaluation(record.run, record.key, None, None, None, None, None, (), None, None)
    with Project(root).evaluation(run).replace() as new:
        write_evaluation(new, evaluation, seen, reliability, maps, data.classes, params.evaluation.examples)
    mirror = Mirror.find(params.tracking, record.run, record.key)
    if mirror is not None:
        times = Times.read(folder)
        mirror.log_values(best_metrics(evaluation, record, times), times.last_ms if times else None)
        mirror.log_folder(target, "evaluation")
    return evaluation


def _compared(folder: Path) -> npt.NDArray[np.int64]:
    """The places of the training images that training compared with validation."""
    return RunFolder(folder).read_image_losses("train").index


def _evaluation(
    record: RunRecord,
    folder: Path,
    seen: dict[str, Seen],
    compared: npt.NDArray[np.int64],
    reliability: dict[str, ReliabilityBins],
    data: DataSet,
) -> Evaluation:
    last = RunFolder(folder).history.iloc[-1]
    sides = {name: seen[name].prediction for name in ("validation", "test")}
    sides["train"] = seen["train"].prediction.take(compared)
    parts = {name: compute_scores(side.loss, side.confusion.sum(axis=0), data.classes) for name, side in sides.items()}
    showcase = seen[runs.SHOWCASE].prediction
    return Evaluation(
        run=record.run,
        key=record.key,
        gap=sides["validation"].loss - sides["train"].loss,
        gap_last=float(last["val_loss"]) - float(last["train_loss"]),
        **parts,
        showcase=tuple(
            compute_scores(float(loss), confusion, data.classes)
            for loss, confusion in zip(showcase.losses, showcase.confusion, strict=True)
        ),
        train_calibration=_calibration(reliability["train"]),
        val_calibration=_calibration(reliability["validation"]),
    )


def _calibration(found: ReliabilityBins) -> Calibration | None:
    if not found.pixels.any():
        return None
    return Calibration(confidence=found.mean_confidence, error=found.expected_calibration_error)
