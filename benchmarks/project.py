"""A copy of this project to do harm to."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
PARTS = ("pipeline", "data/sample", "reports", "params.yaml", "dvc.yaml", ".dvcignore", ".dvc/config", "pyproject.toml")


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
