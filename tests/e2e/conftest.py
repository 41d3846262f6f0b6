"""A copy of the whole project with a tiny grid, in a git repository of its own, as a user has it."""

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

# What git would ignore, and what no project of a user's needs.
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "runs", "evaluation", "comparison", "prepared", "mlflow.db*", "mlruns", "cache", "tmp", "ready",
    "config.local", "learning-report.html", "dvc.lock", "metrics.json", "*.egg-info", ".mypy_cache", ".pytest_cache",
    ".ruff_cache", ".hypothesis", "tests", "docs", "studies",
)  # fmt: skip


@dataclass
class Project:
    """A project's folder and its commands."""

    root: Path
    commands: PreloadedCommands

    def environment(self) -> dict[str, str]:
        # The copy's code, with bytecode caches on: a stage must not become stale by being imported.
        variables = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**variables, "PATH": path, "PYTHONPATH": str(self.root), "MLFLOW_TRACKING_URI": "", "COLUMNS": "120"}

    def run(self, *command: str, code: int = 0) -> str:
        """Run a command and return what it printed; its exit code must be `code`."""
        done = self.commands.run(*command, folder=self.root, environment=self.environment())
        printed = done.stdout + done.stderr
        assert done.returncode == code, f"{command} ended with {done.returncode}:\n{printed}"
        return printed

    def start(self, *command: str, **how: Any) -> subprocess.Popen[str]:
        """Start a command in a new interpreter; its `stdout` has everything that it prints."""
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, cwd=self.root, env=self.environment(), **pipes, **how)

    def repro(self) -> list[str]:
        """Run `dvc repro` and name the stages whose commands ran."""
        return re.findall(r"Running stage '(.+)':", self.run("dvc", "repro"))

    def stale(self) -> set[str]:
        """The stages that DVC says are stale."""
        done = self.commands.run("dvc", "status", "--json", folder=self.root, environment=self.environment())
        return set(json.loads(done.stdout))  # stderr may have warnings

    def change(self, **changes: Any) -> None:
        """Lay changes over the tiny parameters."""
        write_params(self.root, merged_grid(changes))

    def read(self, name: str) -> Any:
        return json.loads((self.root / name).read_text(encoding="utf-8"))


def merged_grid(changes: dict[str, Any]) -> dict[str, Any]:
    """The grid of these tests: two variants, a rate, a seed; a start-up costs seconds."""
    grid = {"variant": ["unet", "unet_no_skip"], "learning_rate": [0.01], "seed": [0]}
    return {**changes, "grid": {**grid, **changes.get("grid", {})}}


def copy_project(root: Path, commands: PreloadedCommands) -> Project:
    shutil.copytree(ROOT, root, ignore=LEFT_OUT)
    project = Project(root, commands)
    project.change()
    return project


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, commands: PreloadedCommands, store: Path) -> Project:
    """A project after `pipeline sweep` and `dvc repro`; tests change it and leave it reproduced."""
    project = copy_project(tmp_path_factory.mktemp("e2e") / "project", commands)
    shutil.copy(store, project.root / "mlflow.db")
    project.run("git", "init", "--quiet")
    project.run("git", "add", "--all")
    project.run("git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "--message", "start")
    project.run("pipeline", "sweep")
    assert project.repro() == ["compare", "showcase", "report"]
    return project
