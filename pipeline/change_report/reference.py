"""Open the grid that the current one is compared with: of a git revision, in a folder, or in MLflow."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts.prepared_data import PreparedData
from pipeline.artifacts.project import CACHE, COMPARISON, EVALUATION, PREPARED, RUNS, Project
from pipeline.artifacts.run_folder import RunFolder
from pipeline.errors import PipelineError
from pipeline.params import Params

if TYPE_CHECKING:
    from dvc.api import DVCFileSystem

REVISIONS = CACHE / "revisions"  # files of other revisions, one folder per commit
MLFLOW = "mlflow:"
SHORT = 8  # characters of a commit in names


@dataclass(frozen=True)
class Reference:
    """A grid that the current one is compared with."""

    project: Project  # folder with its comparison, run records, and the evaluation of its best run
    name: str  # as shown on the page
    notices: tuple[str, ...] = ()  # sentences on runs that were skipped


def open_reference(spec: str, params: Params, project: Project) -> Reference:
    """Open the grid `spec`: a folder with a comparison, `mlflow:QUERY`, or a git revision.

    Raises:
        PipelineError: There is no such grid, or its results are not in DVC's cache or remote.
    """
    if spec.lower().startswith(MLFLOW):
        from pipeline.mlflow_report.fetch_grid import fetch_grid

        grid = fetch_grid(params, spec[len(MLFLOW) :], project)
        return Reference(Project(grid.folder), spec, grid.skipped)
    if Path(spec).is_dir():
        found = Project(Path(spec))
        if not found.comparison.exists():
            raise PipelineError(f"--against: {spec} has no {COMPARISON}/. Give the folder of a project or a study.")
        return Reference(found, spec)
    return _open_revision(spec, project)


def _open_revision(revision: str, project: Project) -> Reference:
    """Copy the results of a git revision from DVC's cache or remote, unless an earlier call has done so."""
    commit = _resolve(revision, project)
    inside = project.root.absolute().relative_to(project.home)
    found = Project(project.root / REVISIONS / commit)
    if not found.comparison.exists():
        shutil.rmtree(found.root, ignore_errors=True)
        with _read_revision(revision, commit, project) as files:
            base = f"/{inside.as_posix()}/" if inside.parts else "/"
            for name in (PreparedData.MAIN, PreparedData.SAMPLES):
                _copy(files, base, PREPARED / name, found.root)
            for file in files.find(f"{base}{RUNS.as_posix()}"):
                if file.endswith(f"/{RunFolder.RECORD}"):
                    _copy(files, base, Path(file.removeprefix(base)), found.root)
            partial = Project(found.root / "partial")
            _copy(files, base, COMPARISON, partial.root)
            if best := partial.comparison.summary.best:
                _copy(files, base, EVALUATION / best.run, found.root)
            partial.comparison.path.rename(found.comparison.path)  # last, because it marks a complete copy
    return Reference(found, revision if revision.startswith(commit[:SHORT]) else f"{revision} ({commit[:SHORT]})")


def _resolve(revision: str, project: Project) -> str:
    command = ["git", "-C", str(project.home), "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise PipelineError(
            f"--against: '{revision}' is neither a git revision of this project, nor a folder, nor mlflow:QUERY."
        )
    return result.stdout.strip()


@contextlib.contextmanager
def _read_revision(revision: str, commit: str, project: Project) -> Iterator[DVCFileSystem]:
    """Yield DVC's view of the files of a commit, and convert the errors of the block."""
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException

    try:
        yield DVCFileSystem(str(project.home), rev=commit)
    except (DvcException, OSError) as error:
        raise PipelineError(
            f"--against: the results of {revision} are neither in DVC's cache nor in its remote ({error}). The commit "
            "must contain dvc.lock after a complete `make report`; then `dvc push` there, or `dvc fetch --rev` here."
        ) from None


def _copy(files: DVCFileSystem, base: str, path: Path, root: Path) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    files.get(f"{base}{path.as_posix()}", str(target), recursive=True)
