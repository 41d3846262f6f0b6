"""Paths of all artifacts in a project's folder, and the commands to show in messages."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

from pipeline.artifacts.comparison import Comparison
from pipeline.artifacts.ensemble_folder import EnsembleFolder, EnsembleRecord
from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.prepared_data import PreparedData
from pipeline.artifacts.run_folder import RunFolder
from pipeline.artifacts.showcase_predictions import ShowcasePredictions
from pipeline.artifacts.weights_folder import WeightsFolder
from pipeline.errors import PipelineError

STUDIES = Path("studies")  # in the project's folder, one folder per study
RUNS, EVALUATION, PREPARED = Path("runs"), Path("evaluation"), Path("data/prepared")
COMPARISON, SHOWCASE_PREDICTIONS = Path("comparison"), Path("showcase_predictions")
ENSEMBLE = Path("ensemble")
METRICS = Path("metrics.json")  # for `dvc metrics`; not in comparison/, because DVC allows no metrics inside an output
CACHE = Path(".cache")  # files that no stage reads; may be removed at any time
EXPORTS = Path("exports")  # models that were written to files
REPORTS = Path("reports")
REPORT = REPORTS / "learning-report.html"
FAILURE = REPORTS / "failure.html"
DATA_CHECK = REPORTS / "data-check.html"
GROWING_REPORT = REPORTS / "growing-report.html"  # not REPORT, because DVC refuses to restore over an unknown file
TEMPLATES = REPORTS / "templates"
SHOWCASE_IMAGES = REPORTS / "showcase"  # the user's own images
EXTERNAL_RESULTS = REPORTS / "external_results"  # the user's files with curves and results from elsewhere


class Project:
    """The folder of a project or of a study in it.

    A study is a folder `studies/<name>/` with its own parameters and artifacts. It shares the templates, custom code,
    weights and MLflow store of the project that contains it.
    """

    def __init__(self, root: Path = Path()) -> None:
        self.root = root

    @cached_property
    def prepared(self) -> PreparedData:
        """The prepared data."""
        return PreparedData(self.root / PREPARED, self.root, self.make_command("report"))

    def run(self, name: str) -> RunFolder:
        """Return the folder of a run; raise `PipelineError` if the name is a path."""
        return RunFolder(self.root / RUNS / _check_name(name), self.root, self.make_command("report"))

    def evaluation(self, name: str) -> EvaluationFolder:
        """Return the folder of a run's evaluation; raise `PipelineError` if the name is a path."""
        return EvaluationFolder(self.root / EVALUATION / _check_name(name), self.root, self.make_command("report"))

    @cached_property
    def comparison(self) -> Comparison:
        """The comparison of the grid."""
        return Comparison(self.root / COMPARISON, self.root, self.make_command("report"))

    @cached_property
    def showcase(self) -> ShowcasePredictions:
        """Predictions on the user's own images."""
        return ShowcasePredictions(self.root / SHOWCASE_PREDICTIONS, self.root, self.make_command("report"))

    @cached_property
    def ensemble(self) -> EnsembleFolder:
        """Scores and uncertainty of the ensemble of the best setting's runs."""
        return EnsembleFolder(self.root / ENSEMBLE, self.root, self.make_command("report"))

    def read_ensemble_record(self) -> EnsembleRecord:
        """Read the record of the ensemble, and check that it is of the runs of the best setting.

        Raises:
            PipelineError: The record is missing, broken or of other runs.
        """
        record = self.ensemble.record
        runs = [row.run for row in self.comparison.summary.list_ensemble()]
        if [(one.run, one.key) for one in record.members] != [(run, self.run(run).record.key) for run in runs]:
            raise PipelineError(
                f"{self.ensemble.display(EnsembleFolder.RECORD)} is out of date: it is not of the current runs of the "
                f"best setting. Run `{self.ensemble.produced_by}`."
            )
        return record

    @property
    def weights(self) -> WeightsFolder:
        """Weights that networks start from; a study shares those of its project."""
        return WeightsFolder(self.home)

    @property
    def home(self) -> Path:
        """The project's folder: `root` or its nearest parent with the report's templates; `root` if there is none."""
        here = self.root.absolute()
        return next((folder for folder in (here, *here.parents) if (folder / TEMPLATES).is_dir()), here)

    @property
    def original_home(self) -> Path:
        """The project's original folder: like `home`, except in a temporary copy in which DVC runs an experiment."""
        return Path(os.environ.get("DVC_ROOT") or self.home).absolute()

    @property
    def study(self) -> str | None:
        """Name of the study; None for the project itself."""
        here = self.root.absolute()
        return here.name if here.parent == self.home / STUDIES else None

    def make_command(self, target: str) -> str:
        """Return the command for a make target, to be run in the project's folder; for a study, it has `SET=<name>`."""
        return f"make {target} SET={self.study}" if self.study else f"make {target}"

    def shell_command(self, command: str) -> str:
        """Return a shell command that runs `command` in this folder, to be entered in the project's folder."""
        return f"cd {STUDIES / self.study} && {command}" if self.study else command


def _check_name(name: str) -> str:
    if Path(name).name != name:
        raise PipelineError(
            f"'{name}' is a path; give the name of the run instead, such as {Path(name).name or 'unet-0.004-0'}."
        )
    return name
