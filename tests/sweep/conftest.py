"""A DVC project whose stages take milliseconds, with the names that the sweep expects."""

from __future__ import annotations

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
    """A folder in which `dvc repro` writes each run's and evaluation's content from `code.txt`."""

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
        """Do what `dvc repro` does, without the start of a process."""
        with warnings.catch_warnings(), Repo(str(self.root)) as repo:
            warnings.simplefilter("ignore")  # DVC's own use of pygtrie
            targets = [argument for argument in arguments if argument != "--force"]
            repo.reproduce(targets or None, force="--force" in arguments)

    def lock(self) -> str:
        """The text of dvc.lock."""
        return (self.root / "dvc.lock").read_text(encoding="utf-8")

    def entries(self) -> list[str]:
        """Names of the stages in dvc.lock, in its order."""
        content: Mapping[str, Any] = YAML(typ="safe").load(self.lock())
        return list(content["stages"])

    def merge(self, base: str, theirs: str, style: str = "--zdiff3") -> None:
        """Merge another dvc.lock into the one that is there, as git does; there must be a conflict."""
        for name, text in (("base.lock", base), ("theirs.lock", theirs)):
            (self.root / name).write_text(text, encoding="utf-8")
        command = ["git", "merge-file", style, "dvc.lock", "base.lock", "theirs.lock"]
        assert subprocess.run(command, cwd=self.root, capture_output=True).returncode > 0

    def dvc_stages(self) -> DvcStages:
        """DVC's view of the project."""
        return DvcStages(self.root)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallProject:
    """A project with the runs a and b, before the first `dvc repro`."""
    project = SmallProject(tmp_path / "small")
    project.root.mkdir()
    monkeypatch.chdir(project.root)
    Repo.init(no_scm=True)
    for name in ("raw", "code", "noise"):
        (project.root / f"{name}.txt").write_text(name)
    project.write("a", "b")
    return project
