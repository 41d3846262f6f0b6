"""Compare the runs of the grid, and write `comparison/` and `metrics.json`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import attrgetter

import pandas as pd

from pipeline.analysis.baselines import compute_class_prior_baseline
from pipeline.analysis.best_setting import describe_best
from pipeline.analysis.metrics import average_over_foreground
from pipeline.analysis.verdict import Thresholds
from pipeline.artifacts.comparison import FOREGROUND_METRICS, RunSummary, Summary
from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.prepared_data import SPLITS, Dataset, compute_class_shares
from pipeline.artifacts.project import METRICS, Project
from pipeline.atomic_io import to_json, write_text
from pipeline.compare.findings import list_findings
from pipeline.compare.gap_breakdown import break_down_gap
from pipeline.compare.metric_table import tabulate_run_metrics
from pipeline.compare.summary_tables import select_best_settings, summarize_run, summarize_settings
from pipeline.compare.suspicious_masks import rank_suspicious_masks
from pipeline.compare.verdicts import RunJudge, check_class_mix
from pipeline.params import Cell, Params
from pipeline.runtime.stage_status import StageStatus

# In the order of the columns of `dvc exp show`; more columns would not fit into a terminal.
DVC_METRICS = ("variant", "learning_rate", "val_loss", "val_loss_sd", "gap", "mean_iou", "test_loss", "test_mean_iou")


def compare(
    params: Params,
    project: Project | None = None,
    cells: Sequence[Cell] | None = None,
    lost: Sequence[StageStatus] = (),
) -> Summary:
    """Compare the runs of the grid, and write the results.

    A cell without a run gets a row that states the reason.

    Args:
        params: content of `params.yaml`; only the runs of its grid are compared.
        project: the project, or a folder with the same artifacts; None for the current folder.
        cells: cells to compare instead of the grid. The summary then has no test scores, because it is unknown how the
            cells were chosen.
        lost: status of runs whose training or evaluation has just failed, so that their folders are outdated. The DVC
            stage passes none, because its outputs must depend only on files.

    Returns:
        The content of `summary.json`.

    Raises:
        PipelineError: The prepared data is missing, or a file of a run cannot be read.
    """
    project = project or Project()
    is_grid = cells is None
    cells = params.cells() if cells is None else cells
    data, samples = project.prepared.dataset, project.prepared.samples
    train_shares, val_shares = (compute_class_shares(samples, split, data.classes) for split in SPLITS[:2])
    prior = compute_class_prior_baseline(train_shares, val_shares, data.classes)
    assert prior.loss is not None  # there are evaluated pixels
    judge = RunJudge(samples, prior.loss, Thresholds(**params.verdict.model_dump()), data.classes)
    folders = {cell.name: (project.run(cell.name), project.evaluation(cell.name)) for cell in cells}
    failures = {one.run: one for one in lost}
    rows = [
        judge.add_judgment(
            summarize_run(cell, *folders[cell.name], project, failures.get(cell.name)), cell, *folders[cell.name]
        )
        for cell in cells
    ]
    rows = [
        replace(row, val_metrics=_average_metrics(folders[row.run][1], samples, data)) if row.is_complete else row
        for row in rows
    ]
    gap_parts = {row.run: break_down_gap(*folders[row.run], samples) for row in rows if row.is_complete}
    by_name = dict(zip(data.class_names, val_shares.tolist(), strict=True))
    rows = [check_class_mix(row, gap_parts.get(row.run, []), by_name, params.verdict.memorizing) for row in rows]
    settings = summarize_settings(rows)
    selected = select_best_settings(settings)
    best = selected[0] if selected else None
    if best is not None and is_grid:
        # Only the setting selected on validation gets test scores.
        seeds = [row.run for row in rows if (row.variant, row.learning_rate) == (best.variant, best.learning_rate)]
        tests = {run: folders[run][1].metrics.test for run in seeds}
        best = replace(best, test=tests[best.run], test_by_seed=tuple(test for test in tests.values() if test))
    summary = Summary(
        baseline=prior,
        runs=tuple(rows),
        settings=tuple(settings),
        best_of_variant=tuple(selected),
        best=best,
        foreground=tuple(item.name for item in data.classes if item.foreground),
        boundary=tuple(item.name for item in data.classes if item.is_boundary),
        distances=next((folders[row.run][1].metrics.distances for row in rows if row.is_complete), None),
    )
    with project.comparison.replace() as new:
        new.write_summary(summary)
        new.write_findings(list_findings(summary, gap_parts))
        chosen = [(selection.run, "validation") for selection in selected]
        chosen += [(best.run, "test")] if best and best.test else []
        new.write_metrics(
            (run, split, row)
            for run, split in chosen
            for row in tabulate_run_metrics(folders[run][1], samples, split, data.class_names)
        )
        evaluated = folders[best.run][1] if best else None
        new.write_table(new.CONFUSION, new.CONFUSION_COLUMNS, _list_confusion_rows(evaluated) if evaluated else ())
        new.write_table(new.CALIBRATION, new.CALIBRATION_COLUMNS, _list_bin_rows(evaluated) if evaluated else ())
        curves = (curve for row in rows if row.trained for curve in _list_curve_rows(row, folders[row.run][0].history))
        new.write_table(new.CURVES, new.CURVE_COLUMNS, curves)
        checked = [folders[row.run][1] for row in summary.list_runs(best)] if best and not data.has_exact_masks else []
        masks = rank_suspicious_masks(checked).itertuples(index=False) if checked else ()
        new.write_table(new.SUSPICIOUS_MASKS, new.SUSPICIOUS_MASK_COLUMNS, masks)
        get_cells = attrgetter(*new.GAP_PART_COLUMNS[1:])
        part_rows = ((run, *get_cells(part)) for run, parts in gap_parts.items() for part in parts)
        new.write_table(new.GAP_PARTS, new.GAP_PART_COLUMNS, part_rows)
    write_text(project.root / METRICS, to_json(_select_metrics(summary)))
    return summary


def _average_metrics(evaluated: EvaluationFolder, samples: pd.DataFrame, data: Dataset) -> dict[str, float | None]:
    """Average a run's validation metrics over the foreground classes."""
    rows = tabulate_run_metrics(evaluated, samples, "validation", data.class_names, with_intervals=False)
    values = average_over_foreground(rows, data.classes)
    return {name: values.get(name) for name in FOREGROUND_METRICS}


def _list_curve_rows(row: RunSummary, history: pd.DataFrame) -> Iterator[tuple[object, ...]]:
    for split, column in (("train", "train_loss"), ("validation", "val_loss")):
        for epoch, loss in zip(history["epoch"], history[column], strict=True):
            yield row.run, row.variant, row.learning_rate, row.seed, epoch, split, loss


def _list_confusion_rows(evaluated: EvaluationFolder) -> Iterator[tuple[object, ...]]:
    table = evaluated.read_confusion()
    table = table[table["split"] == "validation"]
    totals = table.groupby("actual")["pixels"].sum()
    for actual, predicted, pixels in zip(table["actual"], table["predicted"], table["pixels"], strict=True):
        yield evaluated.path.name, actual, predicted, pixels, pixels / totals[actual]


def _list_bin_rows(evaluated: EvaluationFolder) -> Iterator[tuple[object, ...]]:
    table = evaluated.read_calibration()
    for row in table[table["pixels"] > 0].itertuples():
        yield evaluated.path.name, row.split, row.pixels, row.confidence, row.accuracy


def _select_metrics(summary: Summary) -> dict[str, dict[str, object]]:
    """Select the metrics of the best setting for `dvc metrics` and `dvc exp show`; undefined ones are left out."""
    values = describe_best(summary)
    return {"best": {name: values[name] for name in DVC_METRICS if values[name] is not None}} if summary.best else {}
