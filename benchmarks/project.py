"""Folders to work in, so that nothing of this project is changed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.artifacts.project import PREPARED

ROOT = Path(__file__).parents[1]
PARTS = (
    "pipeline",
    "custom",
    "data/sample",
    "reports",
    "params.yaml",
    "dvc.yaml",
    ".dvcignore",
    ".dvc/config",
    "pyproject.toml",
)


def copy_project(to: Path, changes: dict[str, dict[str, Any]]) -> None:
    """Copy what a project consists of, without git; changes are laid over the sections of its params.yaml."""
    for name in PARTS:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, to / name)
    (to / ".dvc/config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
    yaml = YAML()
    params = yaml.load(to / "params.yaml")
    for section, values in changes.items():
        params[section] |= values
    yaml.dump(params, to / "params.yaml")


def lend_prepared(project: Path, to: Path) -> None:
    """Make a folder one to train in: a project's parameters, and a link to its prepared data."""
    if not (project / PREPARED).exists():
        raise SystemExit(f"{PREPARED} is missing; `pipeline prepare` makes it")
    (to / PREPARED).parent.mkdir(parents=True)
    (to / PREPARED).symlink_to(project / PREPARED)
    shutil.copy(project / "params.yaml", to)
