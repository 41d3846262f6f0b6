"""The tags of a run in MLflow: where its numbers come from, and what was left out or cut."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pipeline.params import Grid
from pipeline.project import project_root
from pipeline.runs import MissedClass

RUN_KEY = "pipeline.run_key"
STAGE = "pipeline.stage"  # what made the run: train, track, or grid for what a grid came to
GRID_STAGE = "grid"
BEST_RUN = "pipeline.best_run"  # the name of the best run, at a grid's own run
BEST_OF = "pipeline.best_of"  # at the best run: the people whose last compared grid it is the best of
SEPARATOR = "; "  # between the entries of a tag
STATUS = "pipeline.status"
GIT_COMMIT = "pipeline.git_commit"
DATA_FINGERPRINT = "pipeline.data_fingerprint"
GRID = "pipeline.grid"
NONFINITE_METRICS = "pipeline.nonfinite_metrics"  # values that were NaN or infinite
TRUNCATED = "pipeline.truncated"  # parameters and tags that are longer than MLflow keeps
RENAMED = "pipeline.renamed"  # metrics and parameters whose names hold what MLflow refuses
VERDICT = "pipeline.verdict"
BEATS_BASELINE = "pipeline.beats_baseline"  # predicting one class everywhere: true, false, or not checked
MISSED_CLASSES = "pipeline.missed_classes"  # on validation, with their IoU; or none
DVC_EXPERIMENT = "dvc.experiment"
USER = "mlflow.user"  # MLflow's own, as the next
NOTE = "mlflow.note.content"
REPLACES = "pipeline.replaces"  # MLflow's id of the run whose place this one took
REPLACED_BY = "pipeline.replaced_by"

UNKNOWN = "unknown"
DIRTY = "-dirty"
_GIT_SECONDS = 5


def standard_tags(stage: str, data_fingerprint: str, grid: Grid) -> dict[str, str]:
    """The tags of every run; never raises."""
    commit = git_commit(project_root())
    tags = {
        STAGE: stage,
        GIT_COMMIT: commit,
        DATA_FINGERPRINT: data_fingerprint,
        GRID: grid_digest(grid),
        USER: user(),
        "mlflow.source.name": f"pipeline {stage}",  # MLflow would name the interpreter's script
        "mlflow.source.type": "LOCAL",
    }
    if name := dvc_experiment():
        tags[DVC_EXPERIMENT] = name
    if commit != UNKNOWN:
        tags["mlflow.source.git.commit"] = commit.removesuffix(DIRTY)
    return tags


def dvc_experiment() -> str | None:
    """Return the name of the experiment that `dvc exp run` runs the stage in; None outside of one."""
    return os.environ.get("DVC_EXP_NAME", "").strip() or None


def beats_baseline(value: bool | None) -> str:
    """Spell the value of the tag `BEATS_BASELINE`."""
    return "not checked" if value is None else str(value).lower()


def missed_classes(classes: tuple[MissedClass, ...]) -> str:
    """Spell the value of the tag `MISSED_CLASSES`."""
    return ", ".join(map(str, classes)) or "none"


def grid_digest(grid: Grid) -> str:
    """Twelve hex digits that name a grid: of the SHA-256 over its canonical JSON."""
    canonical = json.dumps(grid.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def git_commit(folder: Path) -> str:
    """The commit that is checked out, with `-dirty` where a tracked file differs from it; else `unknown`.

    `dvc.lock` is not looked at: DVC writes it after each stage, so that only a first cell would ever be clean.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return UNKNOWN
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)dvc.lock")
    return commit if changes == "" else f"{commit}{DIRTY}"


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, None where it fails, is missing or takes too long."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=_GIT_SECONDS,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},  # cells run side by side
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def author(tags: Mapping[str, str]) -> str:
    """Whose a run is."""
    return tags.get(USER, "").strip() or UNKNOWN


def user() -> str:
    """The name of who is at MLflow's server, or else logged in here; never raises.

    The server's comes first: on a laboratory's machines all are logged in by one name.
    """
    try:
        return os.environ.get("MLFLOW_TRACKING_USERNAME", "").strip() or getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return UNKNOWN
