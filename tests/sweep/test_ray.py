"""`pipeline sweep --ray` on a local cluster: the same bytes as without Ray, even if a node is lost."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pipeline.artifacts import project as artifacts
from pipeline.params.file import read_params
from pipeline.train.train_cell import train_cell
from tests.e2e.conftest import Project, copy_project
from tests.optional import import_or_skip
from tests.preloaded import PreloadedCommands

EPOCHS = 80
CLUSTER_SCRIPT = Path(__file__).with_name("ray_cluster.py")


def can_unshare() -> bool:
    tool = shutil.which("unshare")
    return (
        bool(tool and shutil.which("ip"))
        and not subprocess.run([str(tool), "-nm", "true"], capture_output=True).returncode
    )


@pytest.fixture
def cluster_project(tmp_path: Path, commands: PreloadedCommands) -> Project:
    import_or_skip("ray")
    project = copy_project(tmp_path / "project", commands)
    project.run("dvc", "config", "--local", "core.no_scm", "true")
    project.change(
        train={"epochs": EPOCHS},
        grid={"learning_rate": [0.01, 0.001]},
        variants={"unet_no_skip": {"data": {"max_train_images": 8}}},
    )
    return project


@pytest.mark.slow
@pytest.mark.skipif(not can_unshare(), reason="needs root, to run Ray in a network namespace")
def test_ray_cluster_gives_the_same_bytes_after_a_lost_node(
    cluster_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = cluster_project.root
    command = ["unshare", "-n", "bash", "-c", f"ip link set lo up; exec {sys.executable} {CLUSTER_SCRIPT}"]
    with subprocess.Popen(
        command,
        cwd=root,
        env=cluster_project.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as cluster:
        try:
            output, _ = cluster.communicate(timeout=300)
        except subprocess.TimeoutExpired:  # end the processes of a cluster that did not start
            for process in (*psutil.Process(cluster.pid).children(recursive=True), cluster):
                process.kill()
            raise
    assert cluster.returncode == 0, output
    result = json.loads(output.splitlines()[-1])
    assert result["codes"] == [0, 0], result["first"] + result["second"]
    killed = result["killed"]
    assert killed, result

    # The killed run was resumed from its checkpoint: no epoch was trained twice.
    epochs = [int(number) for number in re.findall(rf"^{killed}: epoch (\d+)/", result["first"], re.MULTILINE)]
    assert epochs == sorted(set(epochs))
    assert epochs[-1] == EPOCHS

    with sqlite3.connect(root / "mlflow.db") as store:
        runs = dict(store.execute("SELECT name, status FROM runs").fetchall())
        points = store.execute("SELECT COUNT(*) FROM metrics WHERE key = 'loss/val'").fetchone()[0]
    store.close()
    assert runs == dict.fromkeys(
        {f"{variant}-{learning_rate}-0" for variant in ("unet", "unet_no_skip") for learning_rate in (0.01, 0.001)},
        "FINISHED",
    )
    assert points == 4 * EPOCHS

    assert not {name for name in cluster_project.find_stale_stages() if "@" in name}
    assert not list(root.glob(".cache/unfinished/*"))

    local = root.parent / "local"
    shutil.copytree(root / "data/prepared", local / "data/prepared")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{local}/mlflow.db")
    params = read_params(root / "params.yaml")
    for cell in params.cells():
        train_cell(cell, artifacts.Project(local))
        for path in (local / "runs" / cell.name).iterdir():
            if path.name != "timing.json":
                assert (root / "runs" / cell.name / path.name).read_bytes() == path.read_bytes(), path


def test_sweep_on_ray_without_a_cluster_is_reported(cluster_project: Project) -> None:
    output = cluster_project.run("pipeline", "sweep", "--ray", "127.0.0.1:1", code=1)
    assert "No Ray cluster answers at 127.0.0.1:1" in output
    assert "Traceback" not in output
