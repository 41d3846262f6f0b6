"""Tags of runs in MLflow: provenance, results, and values that MLflow did not accept unchanged."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifacts.project import Project
from pipeline.artifacts.run_folder import RunRecord
from pipeline.artifacts.scores import MissedClass
from pipeline.params import Grid

if TYPE_CHECKING:
    from pipeline.artifacts.comparison import RunSummary

RUN_KEY = "pipeline.run_key"
STAGE = "pipeline.stage"  # command that created the run: train or sync; grid for a grid summary
GRID_STAGE = "grid"
BEST_RUN = "pipeline.best_run"  # in a grid summary: the name of the grid's best run
RANK_BY = "pipeline.rank_by"  # in a grid summary: the metric that settings are ranked by
BEST_OF = "pipeline.best_of"  # in a run: names of users for whom it is the best run of the last compared grid
SEPARATOR = "; "  # between the entries of a tag
SETTING = "pipeline.setting"  # equal for runs that differ only in the seed; MLflow groups runs by it
STATUS = "pipeline.status"
GIT_COMMIT = "pipeline.git_commit"
DATA_FINGERPRINT = "pipeline.data_fingerprint"
GRID = "pipeline.grid"
NONFINITE_METRICS = "pipeline.nonfinite_metrics"  # metrics that were NaN or infinite
TRUNCATED = "pipeline.truncated"  # parameters and tags that were too long for MLflow
RENAMED = "pipeline.renamed"  # metrics and parameters whose names have characters that MLflow refuses
VERDICT = "pipeline.verdict"
BEATS_BASELINE = "pipeline.beats_baseline"  # better than predicting one class everywhere: true, false, or not checked
WEIGHTS = "pipeline.weights"  # initial weights of the network, with their SHA-256 and license
MISSED_CLASSES = "pipeline.missed_classes"  # classes missed on validation, with their IoU; or "none"
MEASUREMENT = "pipeline.measurement"  # how distances and objects were measured, as JSON by name of a parameter
DVC_EXPERIMENT = "dvc.experiment"
USER = "mlflow.user"  # a tag of MLflow, like the next two
NOTE = "mlflow.note.content"
LOGGED_IMAGES = "mlflow.loggedImages"  # MLflow's pages show the images only of runs with this tag
REPLACES = "pipeline.replaces"  # MLflow's id of the run that this run replaced
REPLACED_BY = "pipeline.replaced_by"  # MLflow's id of the run that replaced this run

UNKNOWN = "unknown"
DIRTY = "-dirty"
_GIT_SECONDS = 5
_SETTING_DIGITS = 4


def create_standard_tags(stage: str, data_fingerprint: str, grid: Grid) -> dict[str, str]:
    """Create the tags that every run has: command, git commit, data, grid and user. No error is raised."""
    commit = read_git_commit(Project().original_home)
    tags = {
        STAGE: stage,
        GIT_COMMIT: commit,
        DATA_FINGERPRINT: data_fingerprint,
        GRID: hash_grid(grid),
        USER: get_user(),
        "mlflow.source.name": f"pipeline {stage}",  # by default the path of the Python script
        "mlflow.source.type": "LOCAL",
    }
    if name := get_dvc_experiment():
        tags[DVC_EXPERIMENT] = name
    if commit != UNKNOWN:
        tags["mlflow.source.git.commit"] = commit.removesuffix(DIRTY)
    return tags


def get_dvc_experiment() -> str | None:
    """Return the name of the DVC experiment if `dvc exp run` runs this stage, otherwise None."""
    return os.environ.get("DVC_EXP_NAME", "").strip() or None


def format_beats_baseline(value: bool | None) -> str:
    """Format the value of the tag `BEATS_BASELINE`."""
    return "not checked" if value is None else str(value).lower()


def format_missed_classes(classes: tuple[MissedClass, ...]) -> str:
    """Format the value of the tag `MISSED_CLASSES`."""
    return ", ".join(map(str, classes)) or "none"


def create_result_tags(record: RunRecord, row: RunSummary | None) -> dict[str, str]:
    """Create the tags of a finished run: its status and data, and its verdict if it was compared."""
    tags: dict[str, str] = {
        STATUS: record.status,
        SETTING: name_setting(record.cell, record.data_fingerprint),
        DATA_FINGERPRINT: record.data_fingerprint,  # replaces the standard tag, which is of the prepared data
    }
    if record.weights is not None:
        tags[WEIGHTS] = record.weights.describe()
    if row is not None and row.judgment is not None:
        tags |= {VERDICT: row.judgment.verdict, NOTE: _describe_verdict(row)}
        tags[BEATS_BASELINE] = format_beats_baseline(row.judgment.beats_baseline)
        tags[MISSED_CLASSES] = format_missed_classes(row.missed_classes)
    return tags


def _describe_verdict(row: RunSummary) -> str:
    """Describe a run in Markdown: missed classes first, then the verdict on its loss curve and its evidence."""
    assert row.judgment is not None
    evidence = "; ".join(row.judgment.evidence)
    best = f" Best epoch: {row.best_epoch} of {row.epochs}." if row.best_epoch else ""
    missed = f"Missed classes: {format_missed_classes(row.missed_classes)}. " if row.missed_classes else ""
    return f"{missed}Verdict on the loss curve: **{row.judgment.verdict}**: {evidence}.{best}"


def name_setting(cell: Mapping[str, Any], data_fingerprint: str) -> str:
    """Return the name of a run's setting, such as `0.002 unet (3fa2)`: the learning rate, the variant, and a hash.

    The hash distinguishes settings with other parameters or data that have the same name. The learning rate is first,
    because MLflow's list of groups has room for only a few characters.

    Args:
        cell: `pipeline.params.Cell` as JSON.
        data_fingerprint: fingerprint of the data that the run was trained on.
    """
    parameters = {name: value for name, value in cell.items() if name not in ("seed", "fold")}
    digest = hashlib.sha256(f"{_to_canonical_json(parameters)} {data_fingerprint}".encode()).hexdigest()
    return f"{cell['learning_rate']} {cell['variant']} ({digest[:_SETTING_DIGITS]})"


def hash_grid(grid: Grid) -> str:
    """Return the first twelve hexadecimal digits of the SHA-256 of a grid's canonical JSON."""
    return hashlib.sha256(_to_canonical_json(grid.model_dump(mode="json")).encode()).hexdigest()[:12]


def _to_canonical_json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def read_git_commit(folder: Path) -> str:
    """Return the current commit, followed by `-dirty` if a tracked file was changed; `unknown` if git reports none.

    Changes to `dvc.lock` are ignored: DVC writes it after each stage, so all later runs would be dirty.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return UNKNOWN
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)dvc.lock")
    return commit if changes == "" else f"{commit}{DIRTY}"


def _git(folder: Path, *arguments: str) -> str | None:
    """Run a git command and return its output; None if git fails, is missing or takes too long."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=_GIT_SECONDS,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},  # several processes may call git in parallel
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def get_author(tags: Mapping[str, str]) -> str:
    """Return the name of the user who trained a run from the run's tags, or `unknown` if they have none."""
    return tags.get(USER, "").strip() or UNKNOWN


def get_user() -> str:
    """Return the user's name on the MLflow server, or else their login name. No error is raised.

    The name on the server comes first, because machines in a laboratory often share one login.
    """
    try:
        return os.environ.get("MLFLOW_TRACKING_USERNAME", "").strip() or getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return UNKNOWN
