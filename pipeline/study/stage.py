"""Makes a study's folder, or renews it: `studies/<name>/` with a `params.yaml` and a `dvc.yaml` of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.atomic_io import write_text
from pipeline.params import Params
from pipeline.params.file import PARAMS_FILE
from pipeline.project import STUDIES
from pipeline.study.compose import check_data, compose
from pipeline.study.sets import find_set
from pipeline.study.stages import STAGES_FILE, study_stages


@dataclass(frozen=True)
class Study:
    """A study that is ready to run."""

    folder: Path  # in the project's folder
    params: Params


def make_study(name: str, project: Path, data: Path | None = None) -> Study:
    """Write what a study's folder lacks or has otherwise, and nothing else.

    Args:
        name: of the parameter set.
        project: the project's folder.
        data: where the user's pictures lie, other than the set says; see `compose`.

    Raises:
        PipelineError: There is no such set, it is wrong, or its data is not there; then nothing is written.
    """
    chosen = find_set(name, project)
    composed = compose(chosen, project, data)
    check_data(composed, chosen, project)
    folder = STUDIES / name
    _renew(project / folder / PARAMS_FILE, composed.text)
    _renew(project / folder / STAGES_FILE, study_stages(name, project, composed.data_paths))
    return Study(folder, composed.params)


def _renew(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
