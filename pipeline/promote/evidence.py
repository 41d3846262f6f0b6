"""Collect the scores of a model from the comparison or the ensemble's record, as tags of its version in MLflow."""

from __future__ import annotations

from pipeline.artifacts.metric_names import get_column
from pipeline.artifacts.project import Project
from pipeline.inference.trained_run import TrainedRun
from pipeline.tracking.tags import format_beats_baseline, format_missed_classes

TEST_SCORES = ("test_loss", "test_mean_iou")  # tags of a version
SPLITS = {"val": "validation", "test": "test"}  # by the prefix of a tag
_ENSEMBLE_SCORES = ("loss", "mean_iou", "foreground_iou", "calibration_error")


def has_scores(project: Project, trained: TrainedRun) -> bool:
    """Return whether a model's scores are known; otherwise those recorded earlier must not be removed."""
    if trained.members:
        return True  # it cannot be loaded without them
    run = trained.record.run
    return project.comparison.exists() and any(row.run == run for row in project.comparison.summary.runs)


def collect_evidence(project: Project, trained: TrainedRun) -> dict[str, str]:
    """Collect a model's scores; test scores are included only for the best run by validation, and for the ensemble."""
    return _collect_from_ensemble(project, trained) if trained.members else _collect_from_run(project, trained)


def _collect_from_ensemble(project: Project, trained: TrainedRun) -> dict[str, str]:
    record = project.read_ensemble_record()
    found = {
        "run": trained.name,
        "members": ", ".join(one.run for one in trained.members),
        "temperature": f"{record.temperature.value:g}",
    }
    for prefix, split in SPLITS.items():
        for score in _ENSEMBLE_SCORES:
            row = record.find_score(split, score)
            if row is not None and row.ensemble is not None:
                found[f"{prefix}_{score}"] = f"{row.ensemble:.4f}"
    return found


def _collect_from_run(project: Project, trained: TrainedRun) -> dict[str, str]:
    run, summary = trained.record.run, project.comparison.summary
    row = next((row for row in summary.runs if row.run == run), None)
    if row is None:
        return {"run": run}
    numbers = {
        "val_loss": row.val_loss,
        "gap": row.gap,
        "val_mean_iou": row.val_mean_iou,
        "val_foreground_iou": row.val_foreground_iou,
        "val_object_iou": row.val_object_iou,
        get_column(summary.rank_by): row.get_metric(summary.rank_by),
    }
    if summary.best and summary.best.run == run and summary.best.test:
        numbers |= dict(zip(TEST_SCORES, (summary.best.test.loss, summary.best.test.mean_iou), strict=True))
    found = {name: f"{value:.4f}" for name, value in numbers.items() if value is not None}
    if row.judgment is None:
        return {"run": run, **found}
    judged = {
        "verdict": row.judgment.verdict,
        "beats_baseline": format_beats_baseline(row.judgment.beats_baseline),
        "missed_classes": format_missed_classes(row.missed_classes),
    }
    return {"run": run, **judged, **found}
