"""The artifacts and the selected runs that the sections of a page show."""

from __future__ import annotations

from functools import cached_property

from pipeline.analysis.ranked_metric import RankedMetric, get_ranked_metric, list_grid_metrics, rank_settings
from pipeline.artifacts.comparison import BestSetting, RunSummary, Setting
from pipeline.artifacts.project import Project
from pipeline.params.data import Data
from pipeline.report.context import ReportContext
from pipeline.report.run_selection import RunSelection

MAX_LISTED_RUNS = 1_500  # runs that a page lists one by one; a larger table is slow to open and hard to read
MAX_BEST_RUNS = 200  # runs of the best settings that a page lists if there are more than `MAX_LISTED_RUNS`


class PageContext(ReportContext):
    """Access to the artifacts of a project, and to the selected runs of a page.

    Args:
        project: See `ReportContext`.
        data: See `ReportContext`.
        selection: The runs of the page.
    """

    def __init__(self, project: Project, data: Data, selection: RunSelection) -> None:
        super().__init__(project, data)
        self.selection = selection

    @cached_property
    def shown_settings(self) -> frozenset[Setting]:
        """The settings of the selected runs."""
        return frozenset(row.setting for row in self.selection.rows)

    @cached_property
    def shown_best_setting(self) -> BestSetting | None:
        """The best setting of the grid; None if there is none, or if its best run is not selected."""
        best = self.summary.best
        return best if best is not None and best.run in self.selection.names else None

    @cached_property
    def shown_best_runs(self) -> tuple[str, ...]:
        """The best run of each variant, if it is selected."""
        selected = set(self.selection.names)
        return tuple(setting.run for setting in self.summary.best_of_variant if setting.run in selected)

    @cached_property
    def ordering_metric(self) -> RankedMetric:
        """The metric that orders the selected runs: the one of the grid, or the loss if no run has it."""
        metric = get_ranked_metric(self.summary)
        if any(row.get_metric(metric.name) is not None for row in self.selection.rows if row.is_complete):
            return metric
        return next(metric for metric in list_grid_metrics(self.summary) if metric.name == "val_loss")

    @cached_property
    def leading_run(self) -> str | None:
        """The run to show in detail: the grid's best run if selected, else the best one by `ordering_metric`."""
        if self.shown_best_setting is not None:
            return self.shown_best_setting.run
        metric = self.ordering_metric
        values = [(row.get_metric(metric.name), row.run) for row in self.selection.rows if row.is_complete]
        ordered = sorted((metric.orient(value), run) for value, run in values if value is not None)
        return ordered[0][1] if ordered else None

    @cached_property
    def listed_runs(self) -> tuple[RunSummary, ...]:
        """The runs that the page lists one by one: all, or those of the best settings if there are too many."""
        if len(self.selection.rows) <= MAX_LISTED_RUNS:
            return self.selection.rows
        selected, listed = set(self.selection.names), set[str]()
        for setting in rank_settings(self.summary.settings, self.ordering_metric):
            runs = {row.run for row in self.summary.list_runs(setting)} & selected
            if len(listed) + len(runs) > MAX_BEST_RUNS:
                break
            listed |= runs
        return tuple(row for row in self.selection.rows if row.run in listed)

    def list_best_variants(self, count: int) -> tuple[str, ...]:
        """List the selected variants in the order of the grid, but at most the `count` best ones."""
        variants = tuple(dict.fromkeys(row.variant for row in self.selection.rows))
        if len(variants) <= count:
            return variants
        ranked = rank_settings(self.summary.settings, self.ordering_metric)
        ordered = dict.fromkeys((*(setting.variant for setting in ranked if setting.variant in variants), *variants))
        best = list(ordered)[:count]
        return tuple(variant for variant in variants if variant in best)
