"""Describe a grid in MLflow as a run with findings, comparison and report, and tag the grid's best run.

The grid summary is not the parent of the grid's runs, because MLflow's table would then show one collapsed row, and its
charts would be empty.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.analysis.ranked_metric import get_ranked_metric, list_shown_metrics, order_settings
from pipeline.analysis.seed_statistics import summarize_seeds
from pipeline.artifacts.comparison import Summary
from pipeline.artifacts.folder import list_files
from pipeline.artifacts.project import REPORT, Project
from pipeline.number_format import format_spread
from pipeline.params import Grid
from pipeline.tracking.mlflow_run import search_run
from pipeline.tracking.run_content import DataSummary, RunContent
from pipeline.tracking.tags import (
    BEATS_BASELINE,
    BEST_OF,
    BEST_RUN,
    DATA_FINGERPRINT,
    GRID_STAGE,
    NOTE,
    RANK_BY,
    SEPARATOR,
    create_standard_tags,
    format_beats_baseline,
    get_dvc_experiment,
    get_user,
    hash_grid,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

MAX_SETTINGS = 30  # rows of the table of settings; MLflow limits the length of a description


def describe_grid(
    grid: Grid, summary: Summary, data: DataSummary, project: Project, *, with_report: bool
) -> RunContent:
    """Describe a compared grid as a run, with the findings as its description, and comparison and report as its files.

    The run has no metrics, because MLflow would show each as a chart with one bar, above the charts of the other runs.
    `with_report` is false if the report may be older than the comparison.
    """
    began_ms, ended_ms = _find_span(summary, project)
    note = "\n\n".join(
        [
            _format_findings(project),
            format_settings(summary),
            f"The report is among the artifacts: `report/{REPORT.name}`.",
        ]
    )
    tags = {**create_standard_tags(GRID_STAGE, data.fingerprint, grid), NOTE: note}
    if summary.best:
        row = next(row for row in summary.runs if row.run == summary.best.run)
        tags[BEST_RUN] = summary.best.run
        tags[RANK_BY] = summary.rank_by
        tags[BEATS_BASELINE] = format_beats_baseline(row.judgment.beats_baseline if row.judgment else None)
    return RunContent(
        name=f"grid-{hash_grid(grid)}",
        key=compute_grid_key(grid, data.fingerprint),
        status="FINISHED",
        began_ms=began_ms,
        ended_ms=ended_ms,
        parameters={"grid": grid.model_dump(mode="json")},
        tags=tags,
        data=data,
        files={
            "comparison": list_files(project.comparison.path),
            **(list_report_files(project) if with_report else {}),
        },
    )


def compute_grid_key(grid: Grid, fingerprint: str) -> str:
    """Return the run key of a grid summary.

    It depends on the user and the DVC experiment, because each may have different results for the same grid.
    """
    parts = [hash_grid(grid), fingerprint, get_user(), *filter(None, [get_dvc_experiment()])]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def list_report_files(project: Project) -> Mapping[str, Mapping[str, Path]]:
    """Return the report as an artifact folder of the grid summary; empty if there is no report."""
    path = project.root / REPORT
    return {"report": {path.name: path}} if path.exists() else {}


def _find_span(summary: Summary, project: Project) -> tuple[int | None, int | None]:
    """Return the start of the first and the end of the last training, in milliseconds since 1970; None if unknown."""
    timings = [project.run(row.run).read_timing() for row in summary.runs if row.trained]
    if None in timings:  # the known times may cover only part of the grid
        return None, None
    began = [timing.began_ms for timing in timings if timing and timing.began_ms is not None]
    ended = [timing.last_ms for timing in timings if timing and timing.last_ms is not None]
    return min(began, default=None), max(ended, default=None)


def _format_findings(project: Project) -> str:
    """Format the findings as a Markdown list."""
    return "\n".join(f"- {finding.sentence}" for finding in project.comparison.findings)


def format_settings(summary: Summary) -> str:
    """Format the settings as a Markdown table, ranked like in the report, with standard deviations over seeds.

    MLflow's groups of runs show means only, and include settings that are not ranked because a seed is missing.
    """
    metric = get_ranked_metric(summary)
    shown = order_settings(summary.settings, metric)[:MAX_SETTINGS]
    metrics = list_shown_metrics(summary, ("val_loss", "mean_iou"))
    lines = []
    for place, row in enumerate(shown, start=1):
        start = (place if row.ranked else "–", row.variant, row.learning_rate, f"{row.finished} of {row.seeds}")
        numbers = [format_spread(*row.get_spread(one.name), one.digits) for one in metrics]
        cells = (*start, *numbers, format_spread(row.gap_mean, row.gap_sd))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    titles = ("rank", "variant", "learning rate", "finished seeds", *(one.title for one in metrics), "gap")
    text = "\n".join([f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}", *lines])
    omitted = len(summary.settings) - len(shown)
    rest = f" `comparison/settings.csv` has {omitted} more." if omitted else ""
    note = f"Means ± standard deviations over seeds, ranked by {metric.title}."
    return f"{text}\n\n{note}{rest}{_describe_test(summary)}"


def _describe_test(summary: Summary) -> str:
    """Describe the test scores, which only the best setting has."""
    if summary.best is None or not summary.best.test_by_seed:
        return ""
    metrics = list_shown_metrics(summary, ("val_loss", "mean_iou"))
    spreads = [summarize_seeds(summary.best.list_test_values(one.name)) for one in metrics]
    scores = [
        f"{one.short_title} {format_spread(*spread, one.digits)}"
        for one, spread in zip(metrics, spreads, strict=True)
        if spread[0] is not None
    ]
    return f" Test, best setting only: {', '.join(scores)}."


def mark_best_run(client: MlflowClient, experiment: str, summary: Summary, fingerprint: str, project: Project) -> None:
    """Add the user's name to the tag of the grid's best run, and remove it from earlier best runs on the same data.

    The best run is the one in the report: the median run of the best setting. The tag lists names, because one run may
    be the best run of several users.
    """
    best = None
    if summary.best:
        best = search_run(client, experiment, project.run(summary.best.run).record.key)
    condition = f"tags.`{DATA_FINGERPRINT}` = '{fingerprint}' and tags.`{BEST_OF}` != ''"
    for run in client.search_runs([experiment], condition):
        if best is None or run.info.run_id != best.info.run_id:
            _set_names(client, run, _get_names(run) - {get_user()})
    if best is not None:
        _set_names(client, best, _get_names(best) | {get_user()})


def _get_names(run: Run) -> set[str]:
    return set(filter(None, run.data.tags.get(BEST_OF, "").split(SEPARATOR)))


def _set_names(client: MlflowClient, run: Run, names: set[str]) -> None:
    if names == _get_names(run):
        return
    if names:
        client.set_tag(run.info.run_id, BEST_OF, SEPARATOR.join(sorted(names)))
    else:
        client.delete_tag(run.info.run_id, BEST_OF)
