"""Results of a project as tables and figures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from pipeline.analysis.best_setting import Value, describe_best
from pipeline.analysis.ranked_metric import get_ranked_metric
from pipeline.artifacts.comparison import Comparison, tabulate_runs
from pipeline.artifacts.ensemble_folder import RUN_NAME
from pipeline.artifacts.project import Project
from pipeline.notebook.ensemble_results import EnsembleResults
from pipeline.notebook.run_results import RunResults
from pipeline.params.file import PARAMS_FILE, read_params

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.summary.figures import SelfShowingFigure


class ProjectResults:
    """Results of the grid of a project or study.

    Args:
        path: The folder that contains `params.yaml`.

    Raises:
        PipelineError: The folder has no results yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._project = Project(path)
        self._params = read_params(path / PARAMS_FILE)
        self._summary = self._project.comparison.summary

    @property
    def best(self) -> Mapping[str, Value]:
        """The best setting: its variant, learning rate and scores by name, as in `pipeline summary --json`."""
        return describe_best(self._summary)

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row per run, with its verdict and its numbers at the best epoch. Losses are in nats per pixel."""
        return tabulate_runs(self._summary.runs)

    @cached_property
    def settings(self) -> pd.DataFrame:
        """One row per variant and learning rate, with means and standard deviations over seeds."""
        comparison = self._project.comparison
        return comparison.read_table(Comparison.SETTINGS, Comparison.SETTING_COLUMNS, {"variant": str})

    @property
    def curves(self) -> pd.DataFrame:
        """Losses by run, epoch and split, one row per value."""
        return self._project.comparison.curves

    @property
    def findings(self) -> list[str]:
        """Sentences on the results, most important first."""
        return [finding.sentence for finding in self._project.comparison.findings]

    @property
    def baseline_loss(self) -> float:
        """Loss of predicting the class frequencies for every validation pixel, in nats per pixel."""
        return self._summary.baseline_loss

    @overload
    def run(self, name: Literal["ensemble"]) -> EnsembleResults: ...  # type: ignore[overload-overlap]

    @overload
    def run(self, name: str = "best") -> RunResults: ...

    def run(self, name: str = "best") -> RunResults | EnsembleResults:
        """Return the results of a run, by its name.

        `best` is the median run of the best setting, and `ensemble` the ensemble of all runs of this setting.

        Raises:
            PipelineError: There is no such run, no setting is ranked, or the best one has only one run.
        """
        if name == RUN_NAME:
            return EnsembleResults(self._params, self._project)
        return RunResults(name, self._params, self._project)

    def plot_curves(self) -> SelfShowingFigure:
        """Plot training and validation loss by epoch, one panel per variant."""
        from pipeline.summary.figures import plot_loss_curves

        return plot_loss_curves(self._project.comparison)

    def plot_settings(self) -> SelfShowingFigure:
        """Plot the validation loss and the gap of every run, one row per setting."""
        from pipeline.summary.figures import plot_settings

        return plot_settings(self._project.comparison)

    def __repr__(self) -> str:
        """Return the path and the number of runs."""
        return f"<{type(self).__name__} of {self.path.resolve()}: {len(self._summary.runs)} runs>"

    def _repr_html_(self) -> str:
        """Show the title, the main finding and the table of settings in a notebook."""
        metric = get_ranked_metric(self._summary)
        ranked = f"{metric.column}_mean"
        shown = dict.fromkeys(["variant", "learning_rate", ranked, "val_loss_mean", "gap_mean", "val_mean_iou_mean"])
        table = self.settings.sort_values(ranked, ascending=metric.is_lower_better)[[*shown, "finished"]]
        first = f"<p>{escape(self.findings[0])}</p>" if self.findings else ""
        return (
            f"<h4>{escape(self._params.report.title)}</h4>{first}"
            f"{table.to_html(index=False, float_format=lambda value: f'{value:.3g}', border=0)}"
        )
