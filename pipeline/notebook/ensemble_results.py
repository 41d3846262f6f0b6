"""Results of the ensemble of the best setting's runs as tables."""

from __future__ import annotations

from functools import cached_property
from html import escape
from typing import TYPE_CHECKING

from pipeline.artifacts.ensemble_folder import RUN_NAME
from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError
from pipeline.notebook.segmentation import Segmenter
from pipeline.params import Params
from pipeline.wording import join_words

if TYPE_CHECKING:
    import pandas as pd


class EnsembleResults(Segmenter):
    """Results of the ensemble.

    Args:
        params: The parameters of the project.
        project: The project.

    Raises:
        PipelineError: The best setting has only one run, or the ensemble of its runs has not been scored.
    """

    def __init__(self, params: Params, project: Project) -> None:
        super().__init__(RUN_NAME, params, project)
        if reason := project.comparison.summary.explain_missing_ensemble():
            raise PipelineError(reason)
        self._record = project.read_ensemble_record()

    @property
    def members(self) -> list[str]:
        """Names of the runs whose class probabilities are averaged."""
        return [member.run for member in self._record.members]

    @property
    def temperature(self) -> float:
        """The number by which the logits are divided; 1 if none was fitted."""
        return self._record.temperature.value

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row per split, score and class: the ensemble, its members' mean and sd, and the difference."""
        import pandas as pd

        return pd.DataFrame([vars(row) for row in self._record.scores])

    @cached_property
    def images(self) -> pd.DataFrame:
        """One row per image of the scored splits: losses, accuracy, entropy and disagreement, in nats."""
        return self._project.ensemble.read_images()

    def __repr__(self) -> str:
        """Return the names of the members."""
        return f"<{type(self).__name__} of {join_words(self.members)}>"

    def _repr_html_(self) -> str:
        """Show the scores in a notebook."""
        table = self.scores.to_html(index=False, na_rep="", float_format=lambda value: f"{value:.3g}", border=0)
        return f"<h4>Ensemble of {escape(join_words(self.members))}</h4>{table}"
