"""A copy of the project with a tiny grid, as users have it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, write_params
from tests.preloaded import PreloadedCommands

# Files that git ignores or that a user's project does not need.
EXCLUDED = shutil.ignore_patterns(
    ".git", ".venv*", "runs", "evaluation", "comparison", "prepared", "mlflow.db*", "mlruns", "cache", "tmp", "ready",
    "config.local", "learning-report.html", "dvc.lock", "metrics.json", "*.egg-info", ".mypy_cache", ".pytest_cache",
    ".ruff_cache", ".hypothesis", "tests", "docs", "studies",
)  # fmt: skip


@dataclass
class Project:
    """A project folder and the commands that run in it."""

    root: Path
    commands: PreloadedCommands

    def environment(self) -> dict[str, str]:
        # Import the copy's code, with bytecode caches: an import must not make a stage stale.
        variables = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**variables, "PATH": path, "PYTHONPATH": str(self.root), "MLFLOW_TRACKING_URI": "", "COLUMNS": "120"}

    def run(self, *command: str, code: int = 0) -> str:
        """Run a command, check its exit code, and return its output."""
        result = self.commands.run(*command, folder=self.root, environment=self.environment())
        output = result.stdout + result.stderr
        assert result.returncode == code, f"{command} ended with {result.returncode}:\n{output}"
        return output

    def start(self, *command: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command in a new interpreter; `stdout` has all of its output."""
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, cwd=self.root, env=self.environment(), **pipes, **options)

    def repro(self) -> list[str]:
        """Run `dvc repro` and return the stages that ran."""
        return re.findall(r"Running stage '(.+)':", self.run("dvc", "repro"))

    def find_stale_stages(self) -> set[str]:
        """Return the stages that are stale according to DVC."""
        result = self.commands.run("dvc", "status", "--json", folder=self.root, environment=self.environment())
        return set(json.loads(result.stdout))  # stderr may have warnings

    def change(self, **changes: Any) -> None:
        """Write the tiny parameters, overridden by changes."""
        write_params(self.root, merge_grid(changes))

    def read(self, name: str) -> Any:
        return json.loads((self.root / name).read_text(encoding="utf-8"))


def merge_grid(changes: dict[str, Any]) -> dict[str, Any]:
    """Add the grid of these tests: only two runs, because each process takes seconds to start."""
    grid = {"variant": ["unet", "unet_no_skip"], "learning_rate": [0.01], "seed": [0]}
    return {**changes, "grid": {**grid, **changes.get("grid", {})}}


def copy_project(root: Path, commands: PreloadedCommands) -> Project:
    shutil.copytree(ROOT, root, ignore=EXCLUDED)
    project = Project(root, commands)
    project.change()
    return project


@pytest.fixture(scope="module")
def swept_project(tmp_path_factory: pytest.TempPathFactory, commands: PreloadedCommands, store: Path) -> Project:
    """Return a project after `pipeline sweep` and `dvc repro`; tests that change it reproduce it."""
    project = copy_project(tmp_path_factory.mktemp("e2e") / "project", commands)
    shutil.copy(store, project.root / "mlflow.db")
    project.run("git", "init", "--quiet")
    project.run("git", "add", "--all")
    project.run("git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "--message", "start")
    project.run("pipeline", "sweep")
    assert project.repro() == ["compare", "showcase", "ensemble", "report"]
    return project
