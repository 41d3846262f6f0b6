"""Compares the runs of the current grid and writes `comparison/` and `metrics.json`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from pipeline import runs
from pipeline.analysis.scores import baseline
from pipeline.analysis.seeds import spread
from pipeline.analysis.verdict import Thresholds
from pipeline.atomic_io import as_json, replacing, write_text
from pipeline.compare.class_mix import check_class_mix
from pipeline.compare.class_shares import class_shares
from pipeline.compare.findings import findings
from pipeline.compare.judging import Judge
from pipeline.compare.parts import run_parts, write_parts
from pipeline.compare.reading import RunFiles
from pipeline.compare.rows import best_of_variants, rate_rows, run_row
from pipeline.comparison import RunRow, Selection, Summary
from pipeline.errors import PipelineError
from pipeline.params import Cell, Params
from pipeline.runs import DataSet, Scores
from pipeline.runtime.stage_status import StageStatus


def compare(
    params: Params,
    root: Path = Path(),
    cells: Sequence[Cell] | None = None,
    lost: Sequence[StageStatus] = (),
) -> Summary:
    """Compare the cells of the grid; a cell without a run is a row that says so.

    Args:
        params: the whole of `params.yaml`; its grid says which run folders count.
        root: the project's folder, or another with the same folders in it.
        cells: what to compare instead of the grid; then nothing is tested, since nobody knows what chose them.
        lost: runs whose training or evaluation has just ended badly, whatever of them still lies there. DVC knows
            nothing of these, so its stage is told of none: what it makes depends on files alone.

    Returns:
        What stands in `summary.json`.

    Raises:
        PipelineError: The prepared data is missing.
    """
    is_grid = cells is None
    cells = params.cells() if cells is None else cells
    data, samples = DataSet.read(root / runs.PREPARED), _samples(root)
    prior = _baseline(data, samples)
    assert prior.loss is not None  # there are evaluated pixels
    judge = Judge(samples, prior.loss, Thresholds(**params.verdict.model_dump()), data.classes)
    files = {cell.name: RunFiles(cell.name, root) for cell in cells}
    ends = {one.run: one for one in lost}
    rows = [
        judge.judged(run_row(cell, files[cell.name], root, ends.get(cell.name)), cell, files[cell.name])
        for cell in cells
    ]
    parts = {row.run: run_parts(files[row.run], samples) for row in rows if row.status == "finished"}
    shares = class_shares(samples, "validation", data.classes).tolist()
    by_name = {item.name: share for item, share in zip(data.classes, shares, strict=True)}
    rows = [check_class_mix(row, parts.get(row.run, []), by_name, params.verdict.memorising) for row in rows]
    rates = rate_rows(rows)
    selected = best_of_variants(rates)
    best = selected[0] if selected else None
    if best is not None and is_grid:
        best = _tested(best, rows, files)
    summary = Summary(
        baseline=prior,
        runs=tuple(rows),
        rates=tuple(rates),
        best_of_variant=tuple(selected),
        best=best,
        foreground=tuple(item.name for item in data.classes if item.foreground),
        boundary=tuple(item.name for item in data.classes if item.edge),
    )
    with replacing(root / runs.COMPARISON) as folder:
        (folder / runs.SUMMARY).write_text(as_json(summary), encoding="utf-8")
        (folder / runs.FINDINGS).write_text(
            as_json({"findings": [vars(finding) for finding in findings(summary, parts)]}), encoding="utf-8"
        )
        _write_curves(folder / runs.CURVES, rows, files)
        write_parts(folder / runs.PARTS, parts)
    write_text(root / runs.GRID_METRICS, as_json(_grid_metrics(summary)))
    return summary


def _tested(chosen: Selection, rows: list[RunRow], files: dict[str, RunFiles]) -> Selection:
    """The selection with its test scores: looked up here, for the one rate that validation chose, and nowhere else."""
    seeds = [row.run for row in rows if (row.variant, row.learning_rate) == (chosen.variant, chosen.learning_rate)]
    tests = {run: files[run].evaluation.test for run in seeds}
    return replace(chosen, test=tests[chosen.run], test_by_seed=tuple(test for test in tests.values() if test))


def _samples(root: Path) -> pd.DataFrame:
    path = root / runs.PREPARED / runs.SAMPLES
    try:
        return pd.read_csv(path, dtype={"id": str, "groups": str})
    except (OSError, ValueError) as error:
        raise PipelineError(f"{path} cannot be read ({error}). Make it anew: dvc repro --force prepare") from None


def _baseline(data: DataSet, samples: pd.DataFrame) -> Scores:
    """The class-prior baseline on validation, from the class shares that `prepare` counted."""
    train, validation = (class_shares(samples, split, data.classes) for split in runs.SPLITS[:2])
    return baseline(train, validation, data.classes)


def _write_curves(path: Path, rows: list[RunRow], files: dict[str, RunFiles]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(runs.CURVE_COLUMNS)
        for row in rows:
            if not row.trained:
                continue
            history = files[row.run].history
            for split, column in (("train", "train_loss"), ("validation", "val_loss")):
                for epoch, loss in zip(history["epoch"], history[column], strict=True):
                    writer.writerow([row.run, row.variant, row.learning_rate, row.seed, epoch, split, loss])


def _grid_metrics(summary: Summary) -> dict[str, object]:
    """Collect numbers for `dvc metrics diff`: a few per learning rate, and the selection's test; no undefined ones.

    `beats_baseline` is the share of the seeds that do better than predicting one class everywhere, `missed_classes` the
    mean number of classes whose IoU on validation is below `runs.MIN_CLASS_IOU`.
    """
    metrics: dict[str, object] = {
        f"{rate.variant}-{rate.learning_rate}": _known(
            val_loss=rate.val_loss_mean,
            gap=rate.gap_mean,
            val_mean_iou=rate.val_mean_iou_mean,
            beats_baseline=rate.beats_baseline,
            missed_classes=rate.missed_classes,
        )
        for rate in summary.rates
        if rate.ranked
    }
    if summary.best and summary.best.test_by_seed:
        for name in ("loss", "accuracy", "mean_iou"):
            values = [getattr(scores, name) for scores in summary.best.test_by_seed]
            mean, sd = spread([value for value in values if value is not None])
            if mean is not None:
                metrics[f"test_{name}"] = {"mean": mean, "sd": sd}
    return metrics


def _known(**numbers: float | None) -> dict[str, float]:
    return {name: number for name, number in numbers.items() if number is not None}
