"""Compare the runs of the grid, and write `comparison/` and `metrics.json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import NamedTuple

import pandas as pd

from pipeline.analysis.baselines import compute_class_prior_baseline
from pipeline.analysis.best_setting import describe_best, name_on_test
from pipeline.analysis.calibration import combine_bins
from pipeline.analysis.evaluation_metrics import compute_run_metrics, concatenate_images, read_image_metrics
from pipeline.analysis.group_labels import create_labels
from pipeline.analysis.metrics import tabulate_metrics
from pipeline.analysis.ranked_metric import get_metric
from pipeline.analysis.verdict import Thresholds
from pipeline.artifacts.comparison import BestSetting, MetricRow, RunSummary, SettingSummary, Summary
from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.prepared_data import SPLITS, Dataset, PreparedData, compute_class_shares
from pipeline.artifacts.project import METRICS, Project
from pipeline.artifacts.scores import Scores
from pipeline.atomic_io import to_json, write_text
from pipeline.compare.findings import list_findings
from pipeline.compare.gap_breakdown import break_down_gap
from pipeline.compare.learning_curves import fit_learning_curves
from pipeline.compare.out_of_fold import compute_folded_gap
from pipeline.compare.summary_tables import add_folded_gap, select_best_settings, summarize_run, summarize_settings
from pipeline.compare.suspicious_masks import rank_suspicious_masks
from pipeline.compare.verdicts import RunJudge, check_class_mix
from pipeline.params import Cell, Params
from pipeline.runtime.stage_status import StageStatus

# In the order of the columns of `dvc exp show`; more columns would not fit into a terminal. `_select_metrics` adds the
# metric that settings are ranked by.
DVC_SETTING = ("variant", "learning_rate")
DVC_METRICS = ("val_loss", "val_loss_sd", "gap", "mean_iou", "test_loss", "test_mean_iou")


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
    data = project.prepared.dataset
    thresholds = Thresholds(**params.verdict.model_dump())
    views = {fold: _FoldView.create(project.prepared, fold, thresholds) for fold in {cell.fold for cell in cells}}
    folders = {cell.name: (project.run(cell.name), project.evaluation(cell.name)) for cell in cells}
    failures = {one.run: one for one in lost}
    rows = [
        views[cell.fold].judge.add_judgment(
            summarize_run(cell, *folders[cell.name], project, failures.get(cell.name)), cell, *folders[cell.name]
        )
        for cell in cells
    ]
    evaluated = {row.run: EvaluatedRun(folders[row.run][1], views[row.fold].samples) for row in rows}
    rows = [_add_metrics(row, evaluated[row.run], data) if row.is_complete else row for row in rows]
    gap_parts = {row.run: break_down_gap(*folders[row.run], views[row.fold].samples) for row in rows if row.is_complete}
    rows = [
        check_class_mix(row, gap_parts.get(row.run, []), views[row.fold].val_shares, thresholds.memorizing)
        for row in rows
    ]
    foreground = tuple(item.name for item in data.classes if item.foreground)
    boundary = tuple(item.name for item in data.classes if item.is_boundary)
    distances = next((folders[row.run][1].metrics.distances for row in rows if row.is_complete), None)
    metric = get_metric(params.compare.rank_by, foreground, boundary, distances)
    settings = [
        add_folded_gap(setting, compute_folded_gap(_list_seeds(rows, setting), folders, project.prepared.samples))
        for setting in summarize_settings(rows, metric)
    ]
    selected = select_best_settings(settings, metric, rows)
    available = {fold: int((view.samples["split"] == "train").sum()) for fold, view in views.items()}
    best = selected[0] if selected else None
    if best is not None and is_grid:
        # Only the setting selected on validation gets test scores.
        seeds = [row.run for row in _list_seeds(rows, best)]
        tests = {run: test for run in seeds if (test := folders[run][1].metrics.test)}
        metrics = [compute_run_metrics(*evaluated[run], "test", data.classes).values for run in tests]
        best = replace(
            best,
            test=tests.get(best.run),
            test_by_seed=tuple(tests.values()),
            test_metrics_by_seed=tuple(metrics),
        )
    summary = Summary(
        baseline=_compute_baseline(project.prepared),
        runs=tuple(rows),
        settings=tuple(settings),
        best_of_variant=tuple(selected),
        best=best,
        foreground=foreground,
        boundary=boundary,
        rank_by=metric.name,
        folds=data.folds,
        distances=distances,
        learning_curves=tuple(fit_learning_curves(cells, rows, settings, available)) if is_grid else (),
    )
    with project.comparison.replace() as new:
        new.write_summary(summary)
        margin = params.compare.equivalence_margin if is_grid else None
        new.write_findings(list_findings(summary, gap_parts, margin))
        on_validation = {
            selection.run: [evaluated[run] for run in summary.list_fold_runs(selection)] for selection in selected
        }
        chosen = [(run, "validation", runs) for run, runs in on_validation.items()]
        chosen += [(best.run, "test", [evaluated[best.run]])] if best and best.test else []
        new.write_metrics(
            (run, split, row) for run, split, runs in chosen for row in _tabulate_metrics(runs, split, data)
        )
        shown = [one.evaluation for one in on_validation[best.run]] if best else []
        new.write_table(new.CONFUSION, new.CONFUSION_COLUMNS, _list_confusion_rows(best.run, shown) if best else ())
        new.write_table(new.CALIBRATION, new.CALIBRATION_COLUMNS, _list_bin_rows(best.run, shown) if best else ())
        curves = (curve for row in rows if row.trained for curve in _list_curve_rows(row, folders[row.run][0].history))
        new.write_table(new.CURVES, new.CURVE_COLUMNS, curves)
        checked = summary.list_runs(best) if best and not data.has_exact_masks else []
        masks = rank_suspicious_masks([(row.fold, folders[row.run][1]) for row in checked]) if checked else None
        mask_rows = masks.itertuples(index=False) if masks is not None else ()
        new.write_table(new.SUSPICIOUS_MASKS, new.SUSPICIOUS_MASK_COLUMNS, mask_rows)
        get_cells = attrgetter(*new.GAP_PART_COLUMNS[1:])
        part_rows = ((run, *get_cells(part)) for run, parts in gap_parts.items() for part in parts)
        new.write_table(new.GAP_PARTS, new.GAP_PART_COLUMNS, part_rows)
    write_text(project.root / METRICS, to_json(_select_metrics(summary)))
    return summary


class EvaluatedRun(NamedTuple):
    """The evaluation of a run, and the table of the prepared images as the run saw them."""

    evaluation: EvaluationFolder
    samples: pd.DataFrame


@dataclass(frozen=True)
class _FoldView:
    """The prepared images as the runs of a fold see them."""

    samples: pd.DataFrame
    val_shares: dict[str, float]  # share of each class in the validation pixels
    judge: RunJudge

    @classmethod
    def create(cls, prepared: PreparedData, fold: int | None, thresholds: Thresholds) -> _FoldView:
        samples, classes = prepared.select_fold(fold).samples, prepared.dataset.classes
        train_shares, val_shares = (compute_class_shares(samples, split, classes) for split in SPLITS[:2])
        prior = compute_class_prior_baseline(train_shares, val_shares, classes)
        assert prior.loss is not None  # there are evaluated pixels
        by_name = dict(zip(prepared.dataset.class_names, val_shares.tolist(), strict=True))
        return cls(samples, by_name, RunJudge(samples, prior.loss, thresholds, classes))


def _compute_baseline(prepared: PreparedData) -> Scores:
    """Compute the scores of the class-prior baseline on validation, or with cross-validation on all folds."""
    samples, data = prepared.samples, prepared.dataset
    train_shares = compute_class_shares(samples, "train", data.classes)
    val_shares = train_shares if data.folds else compute_class_shares(samples, "validation", data.classes)
    return compute_class_prior_baseline(train_shares, val_shares, data.classes)


def _list_seeds(rows: Sequence[RunSummary], setting: SettingSummary | BestSetting) -> list[RunSummary]:
    return [row for row in rows if (row.variant, row.learning_rate) == (setting.variant, setting.learning_rate)]


def _add_metrics(row: RunSummary, evaluated: EvaluatedRun, data: Dataset) -> RunSummary:
    """Add the metrics on validation to the row of a run."""
    found = compute_run_metrics(*evaluated, "validation", data.classes)
    return replace(row, val_metrics=found.values, num_undefined_distances=found.num_undefined_distances)


def _tabulate_metrics(runs: Sequence[EvaluatedRun], split: str, data: Dataset) -> list[MetricRow]:
    """Compute metrics on a split by class, with their intervals, over the images of one or several runs."""
    groups = pd.concat([run.samples.loc[run.samples["split"] == split, "groups"] for run in runs], ignore_index=True)
    images = [read_image_metrics(*run, split, data.class_names) for run in runs]
    return tabulate_metrics(concatenate_images(images, create_labels(groups)), data.class_names)


def _list_curve_rows(row: RunSummary, history: pd.DataFrame) -> Iterator[tuple[object, ...]]:
    for split, column in (("train", "train_loss"), ("validation", "val_loss")):
        for epoch, loss in zip(history["epoch"], history[column], strict=True):
            yield row.run, row.variant, row.learning_rate, row.seed, epoch, split, loss


def _list_confusion_rows(run: str, evaluations: Sequence[EvaluationFolder]) -> Iterator[tuple[object, ...]]:
    """Add up the validation pixels of one or more evaluations by ground truth and prediction."""
    pixels: Counter[tuple[str, str]] = Counter()
    totals: Counter[str] = Counter()
    for evaluated in evaluations:
        table = evaluated.read_confusion()
        table = table[table["split"] == "validation"]
        for actual, predicted, count in zip(table["actual"], table["predicted"], table["pixels"], strict=True):
            pixels[actual, predicted] += count
            totals[actual] += count
    for (actual, predicted), count in pixels.items():
        yield run, actual, predicted, count, count / totals[actual]


def _list_bin_rows(run: str, evaluations: Sequence[EvaluationFolder]) -> Iterator[tuple[object, ...]]:
    """Average the confidence and the accuracy of each bin over the pixels of one or more evaluations."""
    for split, bins in combine_bins([evaluated.read_calibration() for evaluated in evaluations]).items():
        for pixels, *means in zip(bins.pixels, bins.confidence, bins.accuracy, strict=True):
            if pixels:
                yield run, split, int(pixels), *map(float, means)


def _select_metrics(summary: Summary) -> dict[str, dict[str, object]]:
    """Select the metrics of the best setting for `dvc metrics` and `dvc exp show`; undefined ones are left out."""
    if summary.best is None:
        return {}
    values, ranked = describe_best(summary), summary.rank_by
    names = dict.fromkeys((*DVC_SETTING, ranked, f"{ranked}_sd", *DVC_METRICS, name_on_test(ranked)))
    return {"best": {name: values[name] for name in names if values[name] is not None}}
