"""The whole pipeline with the real commands: its outputs, the stages that a change runs, interrupted sweeps."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.chromium import open_chromium
from tests.e2e.conftest import Project, copy_project
from tests.preloaded import PreloadedCommands

if TYPE_CHECKING:
    from playwright.sync_api import Page

RUNS = {"unet-0.01-0", "unet_no_skip-0.01-0"}


@pytest.fixture
def page() -> Iterator[Page]:
    with open_chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(20_000)
        yield page


def test_report_shows_the_grid(swept_project: Project, page: Page) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((swept_project.root / "reports/learning-report.html").as_uri())
    text = page.inner_text("body")
    assert set(text.split()) >= RUNS
    best = swept_project.read("comparison/summary.json")["best"]
    assert f"{best['test']['loss']:.3f}" in text
    assert errors == []


def test_mlflow_has_each_run_once_with_its_curve(swept_project: Project) -> None:
    with sqlite3.connect(swept_project.root / "mlflow.db") as store:
        runs = dict(store.execute("SELECT name, status FROM runs").fetchall())
        points = store.execute("SELECT COUNT(*) FROM metrics WHERE key = 'loss/val'").fetchone()[0]
    store.close()
    (grid,) = runs.keys() - RUNS  # the summary run, which compare logs
    assert grid.startswith("grid-")
    assert runs == dict.fromkeys({*RUNS, grid}, "FINISHED")
    assert points == 2 * 2
    assert len(list((swept_project.root / "mlruns").rglob("model.safetensors"))) == 2


def test_sweep_writes_the_lock_file_as_dvc_does(swept_project: Project) -> None:
    lock = swept_project.root / "dvc.lock"
    recorded = lock.read_text(encoding="utf-8")
    swept_project.run("dvc", "commit", "--force", "train")
    assert lock.read_text(encoding="utf-8") == recorded


def test_sweep_and_repro_with_bytecode_caches_run_nothing_again(swept_project: Project) -> None:
    assert list(swept_project.root.glob("pipeline/train/__pycache__/*.pyc"))
    assert swept_project.find_stale_stages() == set()
    assert swept_project.run("pipeline", "sweep", "--report") == "2 runs: 2 up to date\n"
    assert swept_project.repro() == []


def test_git_ignores_outputs_of_training(swept_project: Project) -> None:
    lines = swept_project.run("git", "status", "--porcelain", "--untracked-files=all").split("\n")
    assert {line for line in lines if line} == {"?? dvc.lock", "?? metrics.json"}


def test_dvc_repro_gives_the_bytes_of_the_sweep(swept_project: Project) -> None:
    run = "unet_no_skip-0.01-0"

    def content() -> dict[str, bytes]:
        files = [*(swept_project.root / "runs" / run).iterdir(), *(swept_project.root / "evaluation" / run).rglob("*")]
        return {str(path): path.read_bytes() for path in files if path.is_file() and path.name != "timing.json"}

    swept_content = content()
    swept_project.run("dvc", "repro", "--single-item", "--force", f"train@{run}")
    swept_project.run("dvc", "repro", "--single-item", "--force", f"evaluate@{run}")
    assert content() == swept_content
    assert swept_project.find_stale_stages() == set()  # timing.json differs, but is not hashed


def test_added_learning_rate_trains_only_its_runs_and_a_removed_one_leaves_the_report(swept_project: Project) -> None:
    swept_project.change(grid={"learning_rate": [0.01, 0.003]})
    added = {f"{stage}@{variant}-0.003-0" for stage in ("train", "evaluate") for variant in ("unet", "unet_no_skip")}
    # The grid is a parameter of compare and report.
    assert swept_project.find_stale_stages() == added | {"compare", "report"}
    output = swept_project.run("pipeline", "sweep")
    assert "2 runs to do" in output
    assert swept_project.repro() == ["compare", "showcase", "ensemble", "report"]
    assert "unet-0.003-0" in (swept_project.root / "reports/learning-report.html").read_text(encoding="utf-8")

    swept_project.change()
    assert swept_project.repro() == ["compare"]  # it moves the folders; the other outputs are in DVC's cache
    summary = swept_project.read("comparison/summary.json")
    assert {row["run"] for row in summary["runs"]} == RUNS
    assert {path.name for path in (swept_project.root / "runs").iterdir()} == RUNS
    report = (swept_project.root / "reports/learning-report.html").read_text(encoding="utf-8")
    assert "unet-0.003-0" not in report


def test_changed_variant_trains_only_its_runs(swept_project: Project) -> None:
    swept_project.change(variants={"unet_no_skip": {"model": {"skip_connections": "none", "upsampling": "bilinear"}}})
    assert swept_project.find_stale_stages() == {"train@unet_no_skip-0.01-0"}
    ran = swept_project.repro()
    later = ["compare", "showcase", "ensemble", "report"]
    assert ran == ["train@unet_no_skip-0.01-0", "evaluate@unet_no_skip-0.01-0", *later]
    swept_project.change()
    output = swept_project.run("pipeline", "sweep")
    assert "2 runs: 1 restored, 1 up to date" in output  # the first run is in DVC's cache
    assert "runs to do" not in output
    swept_project.repro()


def test_edited_template_runs_only_the_report(swept_project: Project) -> None:
    template = swept_project.root / "reports/templates/page.html"
    template.write_text(template.read_text(encoding="utf-8") + "<!-- edited -->\n", encoding="utf-8")
    assert swept_project.find_stale_stages() == {"report"}
    assert swept_project.repro() == ["report"]


def test_failing_run_does_not_stop_the_others(swept_project: Project) -> None:
    network = swept_project.root / "pipeline/models/unet.py"
    original = network.read_text(encoding="utf-8")
    assignment = "        self.skip_connections = model.skip_connections\n"
    broken = original.replace(assignment, f'{assignment}        assert self.skip_connections != "none", "broken"\n')
    assert broken != original
    network.write_text(broken, encoding="utf-8")
    output = swept_project.run("pipeline", "sweep", code=1)
    assert re.search(r"unet-0.01-0 +trained .* s  best epoch", output)
    assert re.search(r"unet_no_skip-0.01-0 +failed .* s  AssertionError: broken", output)
    assert "pipeline sweep unet_no_skip-0.01-0" in output
    swept_project.run("pipeline", "failure")
    page = (swept_project.root / "reports/failure.html").read_text(encoding="utf-8")
    assert "AssertionError: broken" in page
    assert "pipeline/models/unet.py" in page  # the end of the traceback
    report = (swept_project.root / "reports/learning-report.html").read_text(encoding="utf-8")
    assert "1 run failed: unet_no_skip-0.01-0 (AssertionError: broken)" in report
    assert not {"train@unet-0.01-0", "evaluate@unet-0.01-0"} & swept_project.find_stale_stages()
    network.write_text(original, encoding="utf-8")
    assert "2 runs: 1 restored, 1 up to date" in swept_project.run("pipeline", "sweep")
    swept_project.repro()
    assert not list(swept_project.root.glob(".cache/attempts/*.json"))
    assert "failed" not in {row["status"] for row in swept_project.read("comparison/summary.json")["runs"]}


def test_sweep_with_parameters_changed_during_training_records_no_run(swept_project: Project) -> None:
    swept_project.change(train={"epochs": 8})
    with swept_project.start("pipeline", "sweep", "--workers", "1") as sweep:
        assert sweep.stdout is not None
        next(line for line in sweep.stdout if "epoch 1/8" in line)
        swept_project.change(train={"epochs": 9})
        output = sweep.stdout.read()
    assert sweep.returncode == 1
    reason = "parameters, data or code changed while they ran"
    unrecorded = re.search(rf"Not recorded in DVC, because {reason}: (.*)", output)
    assert unrecorded is not None
    # The message lists them in the order in which they finished.
    assert {"train@unet-0.01-0", "train@unet_no_skip-0.01-0"} <= set(unrecorded[1].split(", "))
    assert {"train@unet-0.01-0", "train@unet_no_skip-0.01-0"} <= swept_project.find_stale_stages()
    swept_project.change()
    swept_project.run("pipeline", "sweep")
    swept_project.repro()


def interrupt_sweep(swept_project: Project, epoch: str, *arguments: str, presses: int) -> tuple[int, str]:
    """Sweep until an epoch has ended, then press Ctrl-C; return the exit code and the output."""
    with swept_project.start(
        "pipeline",
        "sweep",
        *arguments,
        start_new_session=True,
        # Background jobs of a shell ignore Ctrl-C, and their children inherit this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as sweep:
        assert sweep.stdout is not None
        output = next(line for line in sweep.stdout if epoch in line)
        os.killpg(sweep.pid, signal.SIGINT)
        for _ in range(presses - 1):
            output += next(line for line in sweep.stdout if "Ctrl-C again" in line)
            os.killpg(sweep.pid, signal.SIGINT)
        output += sweep.stdout.read()
    return sweep.returncode, output


def read_run_statuses(swept_project: Project, runs: str) -> dict[str, str]:
    with sqlite3.connect(swept_project.root / "mlflow.db") as store:
        rows = store.execute("SELECT name, status FROM runs WHERE name LIKE ?", (runs,)).fetchall()
    store.close()
    assert len({name for name, _ in rows}) == len(rows)
    return dict(rows)


def list_checkpoints(swept_project: Project) -> list[str]:
    return sorted(path.name for path in swept_project.root.glob(".cache/unfinished/*/*.checkpoint"))


def test_ctrl_c_finishes_the_epochs_and_the_same_command_resumes(swept_project: Project) -> None:
    earlier = list_checkpoints(swept_project)  # of runs that were not recorded in DVC
    swept_project.change(train={"epochs": 20}, grid={"seed": [1]})
    code, output = interrupt_sweep(swept_project, "epoch 3/20", presses=1)
    assert code == 130
    last = re.search(r"^unet-0.01-1 +stopped +\d+ s  stopped after epoch (\d+) of 20", output, re.MULTILINE)
    assert last is not None
    assert "run the same command again" in output
    assert set(read_run_statuses(swept_project, "%-0.01-1").values()) == {"KILLED"}
    assert not list(swept_project.root.glob("runs/*-0.01-1"))
    assert len(list_checkpoints(swept_project)) > len(earlier)
    assert "training" in swept_project.read(".cache/attempts/train@unet-0.01-1.json")["reason"]
    output = swept_project.run("pipeline", "sweep")
    first = re.search(r"^unet-0.01-1: epoch (\d+)/", output, re.MULTILINE)
    assert first is not None
    assert int(first[1]) == int(last[1]) + 1
    assert "2 runs: 2 trained" in output
    assert set(read_run_statuses(swept_project, "%-0.01-1").values()) == {"FINISHED"}
    assert list_checkpoints(swept_project) == earlier
    swept_project.change()


def test_second_ctrl_c_stops_the_sweep_immediately(swept_project: Project) -> None:
    swept_project.change(train={"epochs": 400}, grid={"seed": [5]})
    code, output = interrupt_sweep(swept_project, "epoch 2/400", "--workers", "1", presses=2)
    assert code in (1, 130)  # the epochs may end before the second signal
    assert "Traceback" not in output
    assert set(read_run_statuses(swept_project, "%-0.01-5").values()) == {"KILLED"}
    swept_project.change()


def test_sweep_restores_runs_that_finished_before_a_kill_truncated_the_lock_file(swept_project: Project) -> None:
    """DVC writes dvc.lock in place: a kill can truncate it."""
    swept_project.change(train={"epochs": 3}, grid={"seed": [6]})
    with swept_project.start("pipeline", "sweep", "--workers", "1") as sweep:
        assert sweep.stdout is not None
        next(line for line in sweep.stdout if "(1 of 2)" in line)
        sweep.kill()
    # Only DVC's run cache has them.
    assert {"train@unet-0.01-6", "evaluate@unet-0.01-6"} <= swept_project.find_stale_stages()
    lock = swept_project.root / "dvc.lock"
    lock.write_text("schema: '2.0'\nstages:\n  prepare:\n    outs:\n    - pa", encoding="utf-8")
    output = swept_project.run("pipeline", "sweep")
    assert set(read_run_statuses(swept_project, "%-0.01-6").values()) == {"FINISHED"}
    assert "unet-0.01-6: epoch" not in output
    assert "2 runs: 1 restored, 1 trained" in output
    assert "renamed to dvc.lock.broken" in output
    assert not {stage for stage in swept_project.find_stale_stages() if "@" in stage}
    (swept_project.root / "dvc.lock.broken").unlink()
    swept_project.change()


def test_second_command_names_the_running_sweep_and_workers_end_with_it(swept_project: Project) -> None:
    swept_project.change(train={"epochs": 700}, grid={"seed": [3]})
    with swept_project.start("pipeline", "sweep", "--workers", "1") as sweep:
        assert sweep.stdout is not None
        # MLflow logging runs in the background: wait until it has the run.
        next(line for line in sweep.stdout if "/700 " in line and read_run_statuses(swept_project, "%-0.01-3"))
        output = swept_project.run("pipeline", "sweep", code=1)
        assert f"Another sweep of this folder is running (process {sweep.pid} on " in output
        output = swept_project.run("dvc", "repro", code=255)
        assert "is busy, it is being blocked by:" in output
        assert re.search(rf"\(PID {sweep.pid}\): .*pipeline sweep", output)
        assert "Running stage 'train" not in output
        workers = psutil.Process(sweep.pid).children(recursive=True)
        assert len(workers) >= 2
        sweep.kill()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive
    assert "RUNNING" in read_run_statuses(swept_project, "%-0.01-3").values()
    swept_project.change()
    swept_project.run("pipeline", "sweep")  # marks the runs of the killed sweep
    assert set(read_run_statuses(swept_project, "%-0.01-3").values()) == {"KILLED"}


def test_sweep_of_a_pattern_trains_only_matching_runs(swept_project: Project) -> None:
    swept_project.run("pipeline", "sweep")  # the previous test had another grid
    swept_project.change(grid={"learning_rate": [0.01, 0.02]})
    output = swept_project.run("pipeline", "sweep", "unet-*")
    assert "2 runs: 1 trained, 1 up to date" in output
    assert swept_project.find_stale_stages() >= {"train@unet_no_skip-0.02-0", "evaluate@unet_no_skip-0.02-0"}
    assert "train@unet-0.02-0" not in swept_project.find_stale_stages()
    output = swept_project.run("pipeline", "sweep", "lite0-*", code=1)
    assert "'lite0-*' matches no run of the grid" in output
    swept_project.change()


def test_report_command_renders_selected_runs(swept_project: Project) -> None:
    assert "reports/best.html" in swept_project.run("pipeline", "report", "--runs", "best")
    assert "mine.html" in swept_project.run(
        "pipeline", "report", "--runs", "variant == 'unet' and seed < 1", "--out", "mine.html"
    )
    assert "unet-0.01-0" in (swept_project.root / "mine.html").read_text(encoding="utf-8")
    # Other tests trained seeds with other parameters.
    query = "metrics.val_loss_best < 100 and attributes.run_name LIKE '%-0.01-0'"
    output = swept_project.run("pipeline", "report", "--runs", f"mlflow:{query}")
    assert "reports/mlflow-" in output
    fetched = (swept_project.root / output.strip().splitlines()[-1]).read_text(encoding="utf-8")
    assert set(re.findall(r'<tr id="run-([^"]+)"', fetched)) >= RUNS, output
    output = swept_project.run("pipeline", "report", "--runs", "unet-0.1-0", code=1)
    assert "unet-0.01-0" in output


def test_project_without_git_requires_no_scm(tmp_path: Path, commands: PreloadedCommands, store: Path) -> None:
    """`make report` sets core.no_scm in an unpacked archive."""
    project = copy_project(tmp_path / "archive", commands)
    shutil.copy(store, project.root / "mlflow.db")
    project.change(grid={"variant": ["unet"]})
    assert "core.no_scm true" in project.run("pipeline", "sweep", code=1)
    project.run("dvc", "config", "--local", "core.no_scm", "true")
    project.run("pipeline", "sweep")
    assert "Running stage 'compare'" in project.run("dvc", "repro", "compare")
    assert "Running stage" not in project.run("dvc", "repro", "compare")
