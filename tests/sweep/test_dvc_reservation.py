"""Concurrent commands: DVC stops at the runs of a sweep, and a sweep at those of DVC; each names the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from pipeline.errors import PipelineError
from tests.sweep.conftest import SmallProject

DVC = [sys.executable, "-m", "dvc"]


def repro(small: SmallProject, *targets: str) -> str:
    done = subprocess.run([*DVC, "repro", *targets], cwd=small.root, capture_output=True, text=True)
    return done.stdout + done.stderr


@pytest.mark.parametrize("among", [None, ["a"]], ids=["all", "a"])
def test_dvc_stops_before_it_removes_or_trains_reserved_runs(small: SmallProject, among: list[str] | None) -> None:
    small.repro()
    (small.root / "code.txt").write_text("edited")
    ran = (small.root / "ran.txt").read_text()
    with small.dvc_stages().reserve(among):
        said = repro(small, "train@a")
        assert "is busy, it is being blocked by:" in said
        assert f"(PID {os.getpid()}): {' '.join(sys.argv)}" in said
        assert (small.root / "runs/a/run.json").exists()
        assert (small.root / "ran.txt").read_text() == ran
        assert ("is busy" in repro(small, "train@b")) == (among is None)
    assert "is busy" not in repro(small, "train@a")


def test_sweep_can_use_what_it_reserved(small: SmallProject) -> None:
    stages = small.dvc_stages()
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
    go = small.root / "go"
    text = (small.root / "dvc.yaml").read_text()
    (small.root / "dvc.yaml").write_text(
        text.replace("echo ${item}", "while [ ! -e go ]; do sleep 0.1; done; echo ${item}")
    )
    with subprocess.Popen([*DVC, "repro", "train@a"], cwd=small.root, stdout=subprocess.PIPE) as at_work:
        try:
            assert at_work.stdout is not None
            next(line for line in at_work.stdout if b"> while" in line)
            named = rf"Another DVC command uses these runs: `.* repro train@a` \(process {at_work.pid}\)"
            with pytest.raises(PipelineError, match=named), small.dvc_stages().reserve(None):
                pass
            with small.dvc_stages().reserve(["b"]):
                pass
        finally:
            go.touch()
            at_work.communicate()
    assert at_work.returncode == 0


def test_reservation_of_a_killed_sweep_is_ignored(small: SmallProject) -> None:
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
    assert "is busy" not in repro(small, "train@a")
    with small.dvc_stages().reserve(None):
        pass


def test_removed_list_is_not_an_error(small: SmallProject) -> None:
    with small.dvc_stages().reserve(None):
        (small.root / ".dvc/tmp/rwlock").unlink()


@pytest.mark.parametrize(
    ("change", "reason"),
    [("code.txt", "DEPENDENCIES"), ("runs/a", "OUTPUTS"), ("dvc.yaml", "GONE")],
)
def test_commit_names_the_reason_of_a_refusal(small: SmallProject, change: str, reason: str) -> None:
    small.repro()
    stages = small.dvc_stages()
    hashes = stages.hash_dependencies(["train@a"])
    path = small.root / change
    if change == "dvc.yaml":
        small.write("b")
    elif path.is_dir():
        path.rename(small.root / "elsewhere")
    else:
        path.write_text("edited")
    assert {stage: why.name for stage, why in small.dvc_stages().commit(hashes).items()} == {"train@a": reason}
