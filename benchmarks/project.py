"""Create temporary copies of the project, so that benchmarks do not change the project itself."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.artifacts.project import PREPARED

ROOT = Path(__file__).parents[1]
PROJECT_FILES = (
    "pipeline",
    "custom",
    "weights",
    "data/sample",
    "reports",
    "params.yaml",
    "dvc.yaml",
    ".dvcignore",
    ".dvc/config",
    "pyproject.toml",
)


def copy_project(target: Path, changes: dict[str, dict[str, Any]]) -> None:
    """Copy the project without its git repository.

    Args:
        target: The new folder.
        changes: Values to replace in params.yaml, by section and key.
    """
    for name in PROJECT_FILES:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target / name)
    (target / ".dvc/config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
    yaml = YAML()
    params = yaml.load(target / "params.yaml")
    for section, values in changes.items():
        params[section] |= values
    yaml.dump(params, target / "params.yaml")


def link_prepared_data(project: Path, target: Path) -> None:
    """Copy params.yaml and link the prepared data of a project to a folder, so that runs can be trained in it."""
    if not (project / PREPARED).exists():
        raise SystemExit(f"{PREPARED} is missing. Run `pipeline prepare` first.")
    (target / PREPARED).parent.mkdir(parents=True)
    (target / PREPARED).symlink_to(project / PREPARED)
    shutil.copy(project / "params.yaml", target)
