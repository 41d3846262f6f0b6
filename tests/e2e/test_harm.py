"""What a machine may do to a sweep: its cell fails with a sentence, the rest goes on, and nothing half is left."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Project, copy_project
from tests.preloaded import PreloadedCommands


@pytest.fixture
def project(tmp_path: Path, commands: PreloadedCommands) -> Project:
    project = copy_project(tmp_path / "project", commands)
    project.run("dvc", "config", "--local", "core.no_scm", "true")
    return project


def may_mount() -> bool:
    unshare = shutil.which("unshare")
    return bool(unshare) and not subprocess.run([str(unshare), "-m", "true"], capture_output=True).returncode


needs_mounts = pytest.mark.skipif(not may_mount(), reason="needs to be root: a small disk is mounted")


def swept_with(project: Project, mount: str) -> str:
    """What a sweep says whose runs/ is another file system; runs/ is listed behind it."""
    (project.root / "runs").mkdir(exist_ok=True)
    script = f"mount -t tmpfs {mount} none runs && cd . && pipeline sweep --workers 1; code=$?"
    script += "; echo left: $(ls -A runs); exit $code"
    with project.start("unshare", "-m", "bash", "-c", script) as sweep:
        said = sweep.communicate()[0]
    assert sweep.returncode == 1, said
    return str(said)


@needs_mounts
@pytest.mark.slow
def test_a_full_disk(project: Project) -> None:
    project.run("pipeline", "sweep", "unet-0.01-0")
    sizes = [-(-path.stat().st_size // 4096) * 4 for path in (project.root / "runs/unet-0.01-0").iterdir()]
    shutil.rmtree(project.root / "runs")
    (project.root / "dvc.lock").unlink()
    shutil.rmtree(project.root / ".dvc/cache/runs")
    said = swept_with(project, f"-o size={round(sum(sizes) * 1.5)}k")
    assert "2 runs: 1 failed, 1 trained" in said
    assert re.search(r"unet_no_skip-0.01-0 +failed .*No space left on device: 'runs/unet_no_skip-0.01-0'", said)
    assert "Traceback" not in said
    assert "\nleft: unet-0.01-0\n" in said  # of the other one nothing
    assert "1 failed" not in project.run("pipeline", "sweep")  # on a disk that has room


@needs_mounts
@pytest.mark.slow
def test_a_folder_that_may_not_be_written(project: Project) -> None:
    said = swept_with(project, "-o ro")
    assert "2 runs: 2 failed" in said
    assert "Read-only file system" in said
    assert "Traceback" not in said
    # The epochs are not lost: only the folders are written.
    said = project.run("pipeline", "sweep")
    assert "epoch" not in re.sub("best epoch", "", said)
    assert "2 runs: 2 trained" in said


@pytest.mark.slow
def test_data_that_is_removed_while_a_sweep_trains(project: Project) -> None:
    project.change(train={"epochs": 40})
    with project.start("pipeline", "sweep", "--workers", "1") as sweep:
        assert sweep.stdout is not None
        next(line for line in sweep.stdout if "epoch 1/40" in line)
        shutil.rmtree(project.root / "data/prepared")
        said = sweep.stdout.read()
    assert sweep.returncode == 1
    assert "Traceback" not in said
    assert "2 runs: 2 failed" in said
    assert "data/prepared" in said
    assert "2 runs: 2 trained" in project.run("pipeline", "sweep")
