"""Concurrent commands: a sweep and DVC refuse to use each other's runs and name the running command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from tests.preloaded import PreloadedCommands
from tests.sweep.conftest import SmallProject

Repro = Callable[..., str]


@pytest.fixture
def run_dvc_repro(commands: PreloadedCommands) -> Repro:
    """Return a function that runs `dvc repro` in the current folder and returns its output."""

    def run_dvc_repro(*targets: str) -> str:
        done = commands.run("dvc", "repro", *targets, folder=Path.cwd(), environment=os.environ)
        return done.stdout + done.stderr

    return run_dvc_repro


@pytest.mark.parametrize("reserved", [None, ["a"]], ids=["all", "a"])
def test_dvc_does_not_remove_or_train_reserved_runs(
    finished: SmallProject, run_dvc_repro: Repro, reserved: list[str] | None
) -> None:
    (finished.root / "code.txt").write_text("edited")
    ran = (finished.root / "ran.txt").read_text()
    with finished.load_stages().reserve(reserved):
        output = run_dvc_repro("train@a")
        assert "is busy, it is being blocked by:" in output
        assert f"(PID {os.getpid()}): {' '.join(sys.argv)}" in output
        assert (finished.root / "runs/a/run.json").exists()
        assert (finished.root / "ran.txt").read_text() == ran
        assert ("is busy" in run_dvc_repro("train@b")) == (reserved is None)
    assert "is busy" not in run_dvc_repro("train@a")


def test_sweep_can_use_its_reserved_runs(small: SmallProject) -> None:
    stages = small.load_stages()
    with stages.reserve(None):
        (small.root / "raw.txt").write_text("edited")
        stages.reproduce("prepare")
        assert (small.root / "data/prepared/raw.txt").read_text() == "edited"
        hashes = stages.hash_dependencies(["train@a"])
        (small.root / "runs/a").mkdir(parents=True)
        (small.root / "runs/a/run.json").write_text("trained")
        assert stages.commit(hashes) == {}
        assert stages.find_stale(["a", "b"]) == (["b"], ["a", "b"])
    assert json.loads((small.root / ".dvc/tmp/rwlock").read_text()).get("write", {}) == {}


def test_reserve_names_the_running_dvc_command(small: SmallProject) -> None:
    go_file = small.root / "go"
    text = (small.root / "dvc.yaml").read_text()
    (small.root / "dvc.yaml").write_text(
        text.replace("echo ${item}", "while [ ! -e go ]; do sleep 0.1; done; echo ${item}")
    )
    with subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "train@a"], cwd=small.root, stdout=subprocess.PIPE
    ) as dvc:
        try:
            assert dvc.stdout is not None
            next(line for line in dvc.stdout if b"> while" in line)
            message = rf"Another DVC command uses these runs: `.* repro train@a` \(process {dvc.pid}\)"
            with pytest.raises(PipelineError, match=message), small.load_stages().reserve(None):
                pass
            with small.load_stages().reserve(["b"]):
                pass
        finally:
            go_file.touch()
            dvc.communicate()
    assert dvc.returncode == 0


def test_reservation_of_a_killed_sweep_is_ignored(small: SmallProject, run_dvc_repro: Repro) -> None:
    lines = [
        "import pathlib, sys",
        "from pipeline.sweep.dvc_internals.stages import DvcStages",
        "with DvcStages(pathlib.Path()).reserve(None): print('held', flush=True); sys.stdin.read()",
    ]
    code = "\n".join(lines)
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=small.root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as sweep:
        assert sweep.stdout is not None
        assert sweep.stdout.readline() == b"held\n"
        sweep.kill()
    assert "is busy" not in run_dvc_repro("train@a")
    with small.load_stages().reserve(None):
        pass


def test_removed_rwlock_is_not_an_error(small: SmallProject) -> None:
    with small.load_stages().reserve(None):
        (small.root / ".dvc/tmp/rwlock").unlink()


@pytest.mark.parametrize(
    ("change", "reason"),
    [("code.txt", "DEPENDENCIES"), ("runs/a", "OUTPUTS"), ("dvc.yaml", "GONE")],
)
def test_commit_returns_the_reason_of_a_refusal(finished: SmallProject, change: str, reason: str) -> None:
    stages = finished.load_stages()
    hashes = stages.hash_dependencies(["train@a"])
    path = finished.root / change
    if change == "dvc.yaml":
        finished.write("b")
    elif path.is_dir():
        path.rename(finished.root / "elsewhere")
    else:
        path.write_text("edited")
    assert {stage: refusal.name for stage, refusal in finished.load_stages().commit(hashes).items()} == {
        "train@a": reason
    }
