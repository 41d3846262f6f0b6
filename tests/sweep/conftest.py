"""A DVC project with the sweep's stage names, whose stages take milliseconds."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from pipeline.sweep.dvc_internals.stages import DvcStages


@dataclass
class SmallProject:
    """A project whose stages copy `code.txt` into the folders of runs and evaluations."""

    root: Path

    def write(self, *names: str) -> None:
        """Write dvc.yaml with these runs."""

        def cells(cmd: str, deps: Sequence[str], out: str) -> dict[str, Any]:
            return {"foreach": list(names), "do": {"cmd": cmd, "deps": list(deps), "outs": [out]}}

        stages = {
            "prepare": {"cmd": "mkdir -p data/prepared; cp raw.txt data/prepared", "deps": ["raw.txt"]},
            "train": cells(
                "echo ${item} >> ran.txt; mkdir -p runs/${item}; cat code.txt noise.txt > runs/${item}/run.json",
                ["data/prepared", "code.txt"],
                "runs/${item}",
            ),
            "evaluate": cells(
                "mkdir -p evaluation/${item}; cp runs/${item}/run.json evaluation/${item}/metrics.json",
                ["runs/${item}"],
                "evaluation/${item}",
            ),
            "compare": {
                "cmd": "cat runs/*/run.json > comparison",
                "deps": ["runs", "evaluation"],
                "outs": ["comparison"],
            },
        }
        stages["prepare"]["outs"] = ["data/prepared"]
        with (self.root / "dvc.yaml").open("w", encoding="utf-8") as file:
            YAML().dump({"stages": stages}, file)  # typ="safe" would sort the stages

    def repro(self, *arguments: str) -> None:
        """Run `dvc repro` in this process."""
        with warnings.catch_warnings(), contextlib.chdir(self.root), Repo(str(self.root)) as repo:
            warnings.simplefilter("ignore")  # pygtrie's deprecation warning in DVC
            targets = [argument for argument in arguments if argument != "--force"]
            repo.reproduce(targets or None, force="--force" in arguments)

    def read_lock(self) -> str:
        return (self.root / "dvc.lock").read_text(encoding="utf-8")

    def list_lock_entries(self) -> list[str]:
        """List the stages in dvc.lock, in its order."""
        content: Mapping[str, Any] = YAML(typ="safe").load(self.read_lock())
        return list(content["stages"])

    def merge(self, base: str, theirs: str, style: str = "--zdiff3") -> None:
        """Merge another dvc.lock into the current one with git; there must be a conflict."""
        for name, text in (("base.lock", base), ("theirs.lock", theirs)):
            (self.root / name).write_text(text, encoding="utf-8")
        command = ["git", "merge-file", style, "dvc.lock", "base.lock", "theirs.lock"]
        assert subprocess.run(command, cwd=self.root, capture_output=True).returncode > 0

    def load_stages(self) -> DvcStages:
        return DvcStages(self.root)


def create_small_project(root: Path) -> SmallProject:
    """Create a project with the runs a and b."""
    project = SmallProject(root)
    root.mkdir()
    Repo.init(str(root), no_scm=True)
    for name in ("raw", "code", "noise"):
        (root / f"{name}.txt").write_text(name)
    project.write("a", "b")
    return project


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallProject:
    """A project with the runs a and b, before the first `dvc repro`, as the current folder."""
    project = create_small_project(tmp_path / "small")
    monkeypatch.chdir(project.root)
    return project


@pytest.fixture(scope="session")
def finished_small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project after the first `dvc repro`, to be copied."""
    project = create_small_project(tmp_path_factory.mktemp("finished") / "small")
    project.repro()
    return project.root


@pytest.fixture
def finished(finished_small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallProject:
    """A project with the runs a and b, after the first `dvc repro`, as the current folder."""
    project = SmallProject(shutil.copytree(finished_small, tmp_path / "small"))
    monkeypatch.chdir(project.root)
    return project
