"""Tables of the comparison: one row per run, one row per setting, and the settings selected on validation."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from pipeline.analysis.out_of_fold import FoldedGap
from pipeline.analysis.ranked_metric import RankedMetric, rank_settings
from pipeline.analysis.seed_statistics import compute_mean_and_sd, find_median_index, summarize_seeds
from pipeline.artifacts.comparison import BestSetting, RunSummary, SettingSummary
from pipeline.artifacts.evaluation_folder import EvaluationFolder, RunEvaluation
from pipeline.artifacts.metric_names import RankBy
from pipeline.artifacts.project import Project
from pipeline.artifacts.run_folder import RunFolder, RunRecord
from pipeline.artifacts.status import RunStatus
from pipeline.errors import PipelineError
from pipeline.params import Cell
from pipeline.runtime.stage_status import StageStatus


def summarize_run(
    cell: Cell, trained: RunFolder, evaluated: EvaluationFolder, project: Project, failure: StageStatus | None = None
) -> RunSummary:
    """Summarize a cell's run; if it is missing, failed or diverged, the row states the reason.

    `failure` is the status of the run if its training or evaluation has just failed, so that its folders are outdated.
    """
    if failure is not None and failure.state != "running":
        return _create_row(cell, failure.state, failure.reason)
    command = project.make_command("report")
    try:
        record, evaluation = trained.record, evaluated.metrics
    except PipelineError as error:
        return _create_row(cell, "missing", str(error))
    if record.cell != cell.model_dump(mode="json"):
        return _create_row(cell, "missing", f"The run was trained with different parameters; `{command}` retrains it.")
    if evaluation.key != record.key:
        return _create_row(cell, "missing", f"The evaluation is of an earlier training run; `{command}` repeats it.")
    if record.status == "diverged":
        reason = f"The loss was NaN or infinite in epoch {record.diverged_epoch} of {cell.train.epochs}."
        return _create_row(cell, "diverged", reason, record, evaluation)
    return _create_row(cell, record.status, "", record, evaluation)


def _create_row(
    cell: Cell, status: RunStatus, reason: str, record: RunRecord | None = None, found: RunEvaluation | None = None
) -> RunSummary:
    train, validation = (found.train, found.validation) if found else (None, None)
    return RunSummary(
        run=cell.name,
        variant=cell.variant,
        learning_rate=cell.learning_rate,
        seed=cell.seed,
        fold=cell.fold,
        status=status,
        reason=reason,
        epochs=record.epochs if record else 0,
        best_epoch=record.best_epoch if record else None,
        train_loss=train.loss if train else None,
        val_loss=validation.loss if validation else None,
        gap=found.gap if found else None,
        gap_last=found.gap_last if found else None,
        val_accuracy=validation.accuracy if validation else None,
        val_mean_iou=validation.mean_iou if validation else None,
        val_foreground_iou=validation.foreground_iou if validation else None,
        val_object_iou=validation.object_iou if validation else None,
        missed_classes=validation.find_missed_classes() if validation else (),
        train_calibration_error=found.train_calibration.error if found and found.train_calibration else None,
        val_calibration_error=found.val_calibration.error if found and found.val_calibration else None,
        val_confidence=found.val_calibration.confidence if found and found.val_calibration else None,
        showcase_iou=found.showcase[0].foreground_iou if found and found.showcase else None,
        showcase_mean_iou=found.showcase[0].mean_iou if found and found.showcase else None,
        trainable_parameters=record.trainable_parameters if record else None,
        judgment=None,
        multiply_accumulates=found.cost.multiply_accumulates if found and found.cost else None,
        model_bytes=found.cost.model_bytes if found and found.cost else None,
        training_bytes=found.cost.training_bytes if found and found.cost else None,
    )


def summarize_settings(rows: list[RunSummary], metric: RankedMetric) -> list[SettingSummary]:
    """Summarize the runs by variant and learning rate, in the order of the grid."""
    groups = group_by_setting(rows)
    return [_summarize_setting(variant, rate, group, metric) for (variant, rate), group in groups.items()]


def group_by_setting(rows: list[RunSummary]) -> dict[tuple[str, float], list[RunSummary]]:
    """Group the runs by variant and learning rate, in the order of the grid."""
    groups: dict[tuple[str, float], list[RunSummary]] = {}
    for row in rows:
        groups.setdefault(row.setting, []).append(row)
    return groups


def _summarize_setting(
    variant: str, learning_rate: float, group: list[RunSummary], metric: RankedMetric
) -> SettingSummary:
    finished = [row for row in group if row.is_complete]
    values = [value for row in finished if (value := row.get_metric(metric.name)) is not None]
    ranked = len(values) == len(group)
    val_loss, val_loss_sd = summarize_seeds(row.val_loss for row in finished)
    gap, gap_sd = summarize_seeds(row.gap for row in finished)
    iou, iou_sd = summarize_seeds(row.val_mean_iou for row in finished)
    beating = [row.judgment.beats_baseline for row in finished if row.judgment]
    others = [name for name in get_args(RankBy) if name not in ("val_loss", "mean_iou")]
    return SettingSummary(
        variant=variant,
        learning_rate=learning_rate,
        seeds=len(group),
        finished=len(finished),
        ranked=ranked,
        run=finished[find_median_index(list(map(metric.orient, values)))].run if ranked else None,
        val_loss_mean=val_loss,
        val_loss_sd=val_loss_sd,
        gap_mean=gap,
        gap_sd=gap_sd,
        val_mean_iou_mean=iou,
        val_mean_iou_sd=iou_sd,
        missed_classes=compute_mean_and_sd(len(row.missed_classes) for row in finished)[0],
        beats_baseline=compute_mean_and_sd(beating)[0],
        spreads={name: summarize_seeds(row.get_metric(name) for row in finished) for name in others},
    )


def add_folded_gap(setting: SettingSummary, gap: FoldedGap | None) -> SettingSummary:
    """Add the gap over all folds to the summary of a setting."""
    if gap is None:
        return setting
    return replace(
        setting,
        folded_gap=gap.gap,
        folded_gap_low=gap.low,
        folded_gap_high=gap.high,
        validated_images=gap.images,
    )


def select_best_settings(
    settings: list[SettingSummary], metric: RankedMetric, runs: list[RunSummary]
) -> list[BestSetting]:
    """Select the best learning rate of each variant, best variant first.

    With cross-validation, all selected runs have the seed of the best setting's run, and hence the same validation
    images. A setting without this seed, in a grid that is not complete, keeps its median run.
    """
    best: dict[str, BestSetting] = {}
    for row in rank_settings(settings, metric):
        if row.run is not None:
            best.setdefault(row.variant, BestSetting(row.variant, row.learning_rate, row.run, test=None))
    selected = list(best.values())
    shown = next((row for row in runs if selected and row.run == selected[0].run), None)
    if shown is None or shown.fold is None:
        return selected
    same_seed = {row.setting: row.run for row in runs if row.seed == shown.seed and row.is_complete}
    return [replace(one, run=same_seed.get(one.setting, one.run)) for one in selected]
