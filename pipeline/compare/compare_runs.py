"""Compare the runs of the grid, and write `comparison/` and `metrics.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.analysis.baselines import compute_class_prior_baseline
from pipeline.analysis.best_setting import describe_best, name_on_test
from pipeline.analysis.evaluation_metrics import compute_run_metrics
from pipeline.analysis.ranked_metric import get_metric
from pipeline.analysis.verdict import Thresholds
from pipeline.artifacts.comparison import BestSetting, RunSummary, Summary
from pipeline.artifacts.prepared_data import PreparedData, compute_class_shares
from pipeline.artifacts.project import METRICS, Project
from pipeline.artifacts.scores import Scores
from pipeline.atomic_io import to_json, write_text
from pipeline.compare.compared_runs import ComparedRuns
from pipeline.compare.comparison_tables import write_tables
from pipeline.compare.findings import list_findings
from pipeline.compare.learning_curves import fit_learning_curves
from pipeline.compare.out_of_fold import compute_folded_gap
from pipeline.compare.summary_tables import add_folded_gap, group_by_setting, select_best_settings, summarize_settings
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
    compared = params.cells() if cells is None else cells
    runs = ComparedRuns.judge(compared, project, Thresholds(**params.verdict.model_dump()), lost)
    summary = _summarize(runs, params, is_grid=is_grid)
    with project.comparison.replace() as new:
        new.write_summary(summary)
        margin = params.compare.equivalence_margin if is_grid else None
        new.write_findings(list_findings(summary, runs.gap_parts, margin))
        write_tables(new, runs, summary)
    write_text(project.root / METRICS, to_json(_select_metrics(summary)))
    return summary


def _summarize(runs: ComparedRuns, params: Params, *, is_grid: bool) -> Summary:
    """Summarize the settings, select the best ones on validation, and add the test scores of the best one of a grid."""
    prepared = runs.project.prepared
    data, rows = prepared.dataset, runs.rows
    foreground = tuple(item.name for item in data.classes if item.foreground)
    boundary = tuple(item.name for item in data.classes if item.is_boundary)
    metric = get_metric(params.compare.rank_by, foreground, boundary, runs.distances)
    settings = [
        add_folded_gap(setting, compute_folded_gap(seeds, runs.folders, prepared.samples))
        for setting, seeds in zip(summarize_settings(rows, metric), group_by_setting(rows).values(), strict=True)
    ]
    selected = select_best_settings(settings, metric, rows)
    summary = Summary(
        baseline=_compute_baseline(prepared),
        runs=tuple(rows),
        settings=tuple(settings),
        best_of_variant=tuple(selected),
        best=selected[0] if selected else None,
        foreground=foreground,
        boundary=boundary,
        rank_by=metric.name,
        folds=data.folds,
        distances=runs.distances,
    )
    if not is_grid:
        return summary
    curves = fit_learning_curves(runs.cells, rows, settings, runs.num_train_images)
    # Only the setting selected on validation gets test scores.
    best = summary.best and _add_test_scores(summary.best, summary.list_ensemble(), runs)
    return replace(summary, best=best, learning_curves=tuple(curves))


def _add_test_scores(best: BestSetting, seeds: Sequence[RunSummary], runs: ComparedRuns) -> BestSetting:
    tests = {row.run: test for row in seeds if (test := runs.folders[row.run][1].metrics.test)}
    classes = runs.project.prepared.dataset.classes
    metrics = [compute_run_metrics(*runs.evaluated[run], "test", classes).values for run in tests]
    return replace(
        best,
        test=tests.get(best.run),
        test_by_seed=tuple(tests.values()),
        test_metrics_by_seed=tuple(metrics),
    )


def _compute_baseline(prepared: PreparedData) -> Scores:
    """Compute the scores of the class-prior baseline on validation, or with cross-validation on all folds."""
    samples, data = prepared.samples, prepared.dataset
    train_shares = compute_class_shares(samples, "train", data.classes)
    val_shares = train_shares if data.folds else compute_class_shares(samples, "validation", data.classes)
    return compute_class_prior_baseline(train_shares, val_shares, data.classes)


def _select_metrics(summary: Summary) -> dict[str, dict[str, object]]:
    """Select the metrics of the best setting for `dvc metrics` and `dvc exp show`; undefined ones are left out."""
    if summary.best is None:
        return {}
    values, ranked = describe_best(summary), summary.rank_by
    names = dict.fromkeys((*DVC_SETTING, ranked, f"{ranked}_sd", *DVC_METRICS, name_on_test(ranked)))
    return {"best": {name: values[name] for name in names if values[name] is not None}}
