"""A project's folder: where every artifact is, and how commands that run in it are written."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

from pipeline.artifacts.comparison import Comparison
from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.prepared_data import PreparedData
from pipeline.artifacts.run_folder import RunFolder
from pipeline.artifacts.showcase_predictions import ShowcasePredictions
from pipeline.artifacts.weights_folder import WeightsFolder
from pipeline.errors import PipelineError

STUDIES = Path("studies")  # in the project's folder, one folder per study
RUNS, EVALUATION, PREPARED = Path("runs"), Path("evaluation"), Path("data/prepared")
COMPARISON, SHOWCASE_PREDICTIONS = Path("comparison"), Path("showcase_predictions")
METRICS = Path("metrics.json")  # for `dvc metrics`: outside of comparison/, because DVC allows no metric in an output
CACHE = Path(".cache")  # files that no stage reads; may be removed at any time
REPORTS = Path("reports")
REPORT = REPORTS / "learning-report.html"
FAILURE = REPORTS / "failure.html"
TEMPLATES = REPORTS / "templates"
SHOWCASE_IMAGES = REPORTS / "showcase"  # the user's own images
EXTERNAL_RESULTS = REPORTS / "external_results"  # curves and results of other people


class Project:
    """The folder of a project or of a study in it.

    A study is a folder `studies/<name>/` with its own parameters and artifacts; templates, custom code and the MLflow
    store are those of the project around it.
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

    @property
    def weights(self) -> WeightsFolder:
        """Weights that networks start from; a study shares those of the project around it."""
        return WeightsFolder(self.home)

    @property
    def home(self) -> Path:
        """The nearest folder upward that has the report's templates; the root itself if none has."""
        here = self.root.absolute()
        return next((folder for folder in (here, *here.parents) if (folder / TEMPLATES).is_dir()), here)

    @property
    def original_home(self) -> Path:
        """`home`, or the folder that DVC works for: it runs queued experiments in a temporary copy (`DVC_ROOT`)."""
        return Path(os.environ.get("DVC_ROOT") or self.home).absolute()

    @property
    def study(self) -> str | None:
        """Name of the study; None for the project's own folder."""
        here = self.root.absolute()
        return here.name if here.parent == self.home / STUDIES else None

    def make_command(self, target: str) -> str:
        """Return `make report` or `make ui` as typed in the project's folder, with `SET=` for a study."""
        return f"make {target} SET={self.study}" if self.study else f"make {target}"

    def shell_command(self, command: str) -> str:
        """Return a command that must run in this folder as it is typed in the project's folder."""
        return f"cd {STUDIES / self.study} && {command}" if self.study else command


def _check_name(name: str) -> str:
    if Path(name).name != name:
        raise PipelineError(
            f"'{name}' is a path; give the name of the run instead, such as {Path(name).name or 'unet-0.001-0'}."
        )
    return name
