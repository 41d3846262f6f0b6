"""Results of a run as tables."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

from pipeline.artifacts.comparison import RunSummary, list_run_values
from pipeline.artifacts.project import Project
from pipeline.artifacts.scores import Scores
from pipeline.errors import PipelineError
from pipeline.notebook.segmentation import Segmenter
from pipeline.params import Params
from pipeline.wording import suggest_closest

if TYPE_CHECKING:
    import pandas as pd


class RunResults(Segmenter):
    """Results of a run.

    Args:
        name: Name of the run, or `best`.
        params: The parameters of the project.
        project: The project.

    Raises:
        PipelineError: There is no such run, or no setting is ranked.
    """

    def __init__(self, name: str, params: Params, project: Project) -> None:
        summary = project.comparison.summary
        if name == "best":
            if summary.best is None:
                raise PipelineError("There is no best run, because no setting has finished all its seeds. Name a run.")
            name = summary.best.run
        names = [row.run for row in summary.runs]
        if name not in names:
            raise PipelineError(f"The grid has no run '{name}'; {suggest_closest(str(name), names)}")
        super().__init__(name, params, project)
        self._summary: RunSummary = summary.get_run(name)

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The parameters of the run: variant, learning rate, seed, `model` and `train`."""
        return self._project.run(self.name).record.cell

    @property
    def verdict(self) -> str | None:
        """The verdict, such as learning or memorizing; None if the run has not been trained."""
        return self._summary.judgment.verdict if self._summary.judgment else None

    @property
    def evidence(self) -> tuple[str, ...]:
        """Phrases with the numbers that the verdict is based on."""
        return self._summary.judgment.evidence if self._summary.judgment else ()

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row per epoch: learning rate, losses in nats per pixel, IoU by class."""
        return self._project.run(self.name).history

    @cached_property
    def images(self) -> pd.DataFrame:
        """One row per image of every split: loss, accuracy and IoU; loss and IoU also by class."""
        return self._project.evaluation(self.name).read_per_image()

    @property
    def scores(self) -> dict[str, Scores | None]:
        """Scores on the compared training images, validation and test; None if the run has no weights."""
        metrics = self._project.evaluation(self.name).metrics
        return {"train": metrics.train, "validation": metrics.validation, "test": metrics.test}

    def __repr__(self) -> str:
        """Return the name and the verdict."""
        return f"<{type(self).__name__} {self.name}: {self.verdict or self._summary.status}>"

    def _repr_html_(self) -> str:
        """Show the run's numbers in a notebook."""
        cells = "".join(
            f"<tr><th style='text-align: left'>{escape(name)}</th><td>{escape(_format(value))}</td></tr>"
            for name, value in list_run_values(self._summary).items()
            if value is not None
        )
        evidence = "".join(f"<li>{escape(phrase)}</li>" for phrase in self.evidence)
        return f"<table>{cells}</table><ul>{evidence}</ul>"


def _format(value: str | float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
