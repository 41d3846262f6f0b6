"""The runs and settings that a page of selected runs shows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pipeline.analysis.ranked_metric import get_metric
from pipeline.artifacts.comparison import Setting
from pipeline.compare.summary_tables import summarize_settings
from pipeline.report import page_context
from pipeline.report.run_selection import select_runs

if TYPE_CHECKING:
    from tests.report.conftest import ReportProject


def test_page_of_all_runs_shows_the_best_runs(project: ReportProject) -> None:
    context, best = project.create_context(), project.summary.best
    assert best is not None
    assert context.shown_best_setting == best
    assert context.leading_run == best.run
    assert context.shown_best_runs == tuple(setting.run for setting in project.summary.best_of_variant)
    assert context.shown_settings == {setting.setting for setting in project.summary.settings}


def test_page_without_the_best_run_leads_with_the_best_selected_run(project: ReportProject) -> None:
    context, best = project.create_context("unet_no_skip-*"), project.summary.best
    assert best is not None
    assert best.variant == "unet"
    assert context.shown_best_setting is None
    losses = {row.val_loss: row.run for row in context.selection.rows if row.val_loss is not None}
    assert context.leading_run == losses[min(losses)]
    (best_of_variant,) = (one.run for one in project.summary.best_of_variant if one.variant == "unet_no_skip")
    assert context.shown_best_runs == (best_of_variant,)
    assert context.shown_settings == {Setting("unet_no_skip", 0.01), Setting("unet_no_skip", 0.001)}


def test_page_of_a_diverged_run_has_no_leading_run(project: ReportProject) -> None:
    context = project.create_context(project.diverged)
    assert (context.leading_run, context.shown_best_runs) == (None, ())


def test_page_of_too_many_runs_lists_those_of_the_best_setting(
    project: ReportProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = project.summary.best
    assert project.create_context().listed_runs == project.summary.runs
    monkeypatch.setattr(page_context, "MAX_LISTED_RUNS", len(project.summary.runs) - 1)
    monkeypatch.setattr(page_context, "MAX_BEST_RUNS", 3)  # two settings have four runs
    assert best is not None
    assert list(project.create_context().listed_runs) == project.summary.list_runs(best)


def test_best_variants_are_in_the_order_of_the_grid(project: ReportProject) -> None:
    context, best = project.create_context(), project.summary.best
    assert best is not None
    assert context.list_best_variants(1) == (best.variant,)
    assert context.list_best_variants(2) == project.variants


def test_best_settings_and_the_leading_run_follow_the_ranked_metric(project: ReportProject) -> None:
    rows = [
        replace(row, val_metrics={"nsd": place / 10}) if row.is_complete else row
        for place, row in enumerate(project.summary.runs)
    ]
    settings = summarize_settings(rows, get_metric("nsd", (), ("border",)))
    summary = replace(project.summary, runs=tuple(rows), settings=tuple(settings), rank_by="nsd")
    assert select_runs(summary, "best:1").names == ("unet_no_skip-0.001-1",)  # the better one of two in the middle
    project.write_summary(summary)
    shown = project.create_context("unet-0.01-*")
    assert shown.leading_run == "unet-0.01-1"
    assert shown.ordering_metric.name == "nsd"
    diverged = [replace(row, status="diverged") if row.run == "unet-0.01-1" else row for row in rows]
    project.write_summary(replace(summary, runs=tuple(diverged)))  # the diverged run keeps its scores
    assert project.create_context("unet-0.01-*").leading_run == "unet-0.01-0"
    project.write_summary(replace(summary, runs=tuple(replace(row, val_metrics={}) for row in rows)))
    assert project.create_context("unet-0.01-*").ordering_metric.name == "val_loss"
