"""Full disks, read-only folders and removed data: a run fails with a message, and leaves no partial folder."""

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


def can_mount() -> bool:
    unshare = shutil.which("unshare")
    return bool(unshare) and not subprocess.run([str(unshare), "-m", "true"], capture_output=True).returncode


requires_mount = pytest.mark.skipif(not can_mount(), reason="requires root to mount a file system")


def sweep_with_mount(project: Project, mount: str) -> str:
    """Sweep with runs/ on another file system; return the output, followed by the contents of runs/."""
    (project.root / "runs").mkdir(exist_ok=True)
    script = f"mount -t tmpfs {mount} none runs && cd . && pipeline sweep --workers 1; code=$?"
    script += "; echo left: $(ls -A runs); exit $code"
    with project.start("unshare", "-m", "bash", "-c", script) as sweep:
        output = sweep.communicate()[0]
    assert sweep.returncode == 1, output
    return str(output)


@requires_mount
@pytest.mark.slow
def test_sweep_on_a_full_disk_fails_the_run_and_leaves_no_partial_folder(project: Project) -> None:
    project.run("pipeline", "sweep", "unet-0.01-0")
    sizes = [-(-path.stat().st_size // 4096) * 4 for path in (project.root / "runs/unet-0.01-0").iterdir()]
    shutil.rmtree(project.root / "runs")
    (project.root / "dvc.lock").unlink()
    shutil.rmtree(project.root / ".dvc/cache/runs")
    output = sweep_with_mount(project, f"-o size={round(sum(sizes) * 1.5)}k")
    assert "2 runs: 1 failed, 1 trained" in output
    assert re.search(r"unet_no_skip-0.01-0 +failed .*runs/unet_no_skip-0.01-0: the disk is full", output)
    assert "Traceback" not in output
    assert "\nleft: unet-0.01-0\n" in output  # nothing of the other run
    assert "1 failed" not in project.run("pipeline", "sweep")  # on a disk with enough space


@requires_mount
@pytest.mark.slow
def test_sweep_with_a_read_only_folder_keeps_the_epochs(project: Project) -> None:
    output = sweep_with_mount(project, "-o ro")
    assert "2 runs: 2 failed" in output
    assert "the disk is read-only" in output
    assert "Traceback" not in output
    # The epochs are in checkpoints: only the run folders are written.
    output = project.run("pipeline", "sweep")
    assert "epoch" not in re.sub("best epoch", "", output)
    assert "2 runs: 2 trained" in output


@pytest.mark.slow
def test_sweep_with_data_removed_during_training_fails_the_runs(project: Project) -> None:
    project.change(train={"epochs": 40})
    with project.start("pipeline", "sweep", "--workers", "1") as sweep:
        assert sweep.stdout is not None
        next(line for line in sweep.stdout if "epoch 1/40" in line)
        shutil.rmtree(project.root / "data/prepared")
        output = sweep.stdout.read()
    assert sweep.returncode == 1
    assert "Traceback" not in output
    assert "2 runs: 2 failed" in output
    assert "data/prepared" in output
    assert "2 runs: 2 trained" in project.run("pipeline", "sweep")
