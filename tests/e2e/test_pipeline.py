"""The whole way, with the real commands: what is made, what a change runs, and that nothing runs twice."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page, sync_playwright

from tests.e2e.conftest import Project, copy_project
from tests.preloaded import PreloadedCommands

RUNS = {"unet-0.01-0", "unet_no_skip-0.01-0"}


@pytest.fixture
def page() -> Iterator[Page]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Debian's chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(20_000)
        yield page
        browser.close()


def test_the_report_shows_the_grid(swept: Project, page: Page) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((swept.root / "reports/learning-report.html").as_uri())
    text = page.inner_text("body")
    assert set(text.split()) >= RUNS
    best = swept.read("comparison/summary.json")["best"]
    assert f"{best['test']['loss']:.3f}" in text
    assert errors == []


def test_mlflow_holds_every_run_once_with_its_curve(swept: Project) -> None:
    with sqlite3.connect(swept.root / "mlflow.db") as store:
        runs = dict(store.execute("SELECT name, status FROM runs").fetchall())
        points = store.execute("SELECT COUNT(*) FROM metrics WHERE key = 'loss/val'").fetchone()[0]
    store.close()
    (grid,) = runs.keys() - RUNS  # what the runs came to together, which the stage compare sends
    assert grid.startswith("grid-")
    assert runs == dict.fromkeys({*RUNS, grid}, "FINISHED")
    assert points == 2 * 2
    assert len(list((swept.root / "mlruns").rglob("model.safetensors"))) == 2


def test_the_lock_file_is_as_dvc_writes_it(swept: Project) -> None:
    lock = swept.root / "dvc.lock"
    recorded = lock.read_text(encoding="utf-8")
    swept.run("dvc", "commit", "--force", "train")
    assert lock.read_text(encoding="utf-8") == recorded


def test_nothing_is_done_twice_although_bytecode_was_written(swept: Project) -> None:
    assert list(swept.root.glob("pipeline/train/__pycache__/*.pyc"))
    assert swept.stale() == set()
    assert swept.run("pipeline", "sweep") == "2 runs: 2 up to date\n"
    assert swept.repro() == []


def test_git_sees_nothing_that_was_trained(swept: Project) -> None:
    made = swept.run("git", "status", "--porcelain", "--untracked-files=all").split("\n")
    assert {line for line in made if line} == {"?? dvc.lock", "?? metrics.json"}


def test_dvc_alone_gives_the_bits_of_the_sweep(swept: Project) -> None:
    run = "unet_no_skip-0.01-0"

    def content() -> dict[str, bytes]:
        files = [*(swept.root / "runs" / run).iterdir(), *(swept.root / "evaluation" / run).rglob("*")]
        return {str(path): path.read_bytes() for path in files if path.is_file() and path.name != "timing.json"}

    swept_content = content()
    swept.run("dvc", "repro", "--single-item", "--force", f"train@{run}")
    swept.run("dvc", "repro", "--single-item", "--force", f"evaluate@{run}")
    assert content() == swept_content
    assert swept.stale() == set()  # the other times in timing.json are not hashed


def test_a_rate_added_trains_exactly_its_runs_and_removed_leaves_the_report(swept: Project) -> None:
    swept.change(grid={"learning_rate": [0.01, 0.003]})
    added = {f"{stage}@{variant}-0.003-0" for stage in ("train", "evaluate") for variant in ("unet", "unet_no_skip")}
    # compare lists the grid among its parameters; report as well
    assert swept.stale() == added | {"compare", "report"}
    said = swept.run("pipeline", "sweep")
    assert "2 runs to do" in said
    assert swept.repro() == ["compare", "showcase", "report"]
    assert "unet-0.003-0" in (swept.root / "reports/learning-report.html").read_text(encoding="utf-8")

    swept.change()
    assert swept.repro() == ["compare"]  # it moves the folders, and the rest is in DVC's cache
    summary = swept.read("comparison/summary.json")
    assert {row["run"] for row in summary["runs"]} == RUNS
    assert {path.name for path in (swept.root / "runs").iterdir()} == RUNS
    report = (swept.root / "reports/learning-report.html").read_text(encoding="utf-8")
    assert "unet-0.003-0" not in report


def test_one_variant_changed_trains_exactly_that_variant(swept: Project) -> None:
    swept.change(variants={"unet_no_skip": {"model": {"skip_connections": "none", "upsampling": "bilinear"}}})
    assert swept.stale() == {"train@unet_no_skip-0.01-0"}
    ran = swept.repro()
    assert ran == ["train@unet_no_skip-0.01-0", "evaluate@unet_no_skip-0.01-0", "compare", "showcase", "report"]
    swept.change()
    said = swept.run("pipeline", "sweep")
    assert "2 runs: 1 restored, 1 up to date" in said  # what was trained before is not trained again
    assert "runs to do" not in said
    swept.repro()


def test_an_edited_template_only_renders(swept: Project) -> None:
    template = swept.root / "reports/templates/page.html"
    template.write_text(template.read_text(encoding="utf-8") + "<!-- edited -->\n", encoding="utf-8")
    assert swept.stale() == {"report"}
    assert swept.repro() == ["report"]


def test_a_failing_cell_does_not_stop_the_others(swept: Project) -> None:
    network = swept.root / "pipeline/models/unet.py"
    good = network.read_text(encoding="utf-8")
    broken = good.replace(
        "        self.skip_connections = skip_connections\n",
        '        self.skip_connections = skip_connections\n        assert skip_connections != "none", "broken"\n',
    )
    assert broken != good
    network.write_text(broken, encoding="utf-8")
    said = swept.run("pipeline", "sweep", code=1)
    assert re.search(r"unet-0.01-0 +trained .* s  best epoch", said)
    assert re.search(r"unet_no_skip-0.01-0 +failed .* s  AssertionError: broken", said)
    assert "pipeline sweep unet_no_skip-0.01-0" in said
    swept.run("pipeline", "failure")
    page = (swept.root / "reports/failure.html").read_text(encoding="utf-8")
    assert "AssertionError: broken" in page
    assert "pipeline/models/unet.py" in page  # its last lines
    report = (swept.root / "reports/learning-report.html").read_text(encoding="utf-8")
    assert "1 run failed: unet_no_skip-0.01-0 (AssertionError: broken)" in report
    assert not {"train@unet-0.01-0", "evaluate@unet-0.01-0"} & swept.stale()
    network.write_text(good, encoding="utf-8")
    assert "2 runs: 1 restored, 1 up to date" in swept.run("pipeline", "sweep")  # as it was before
    swept.repro()
    assert not list(swept.root.glob(".cache/attempts/*.json"))
    assert "failed" not in {row["status"] for row in swept.read("comparison/summary.json")["runs"]}


def test_parameters_that_change_while_a_sweep_trains_are_not_recorded_as_trained(swept: Project) -> None:
    swept.change(train={"epochs": 40})
    with swept.start("pipeline", "sweep", "--workers", "1") as sweep:
        assert sweep.stdout is not None
        next(line for line in sweep.stdout if "epoch 1/40" in line)
        swept.change(train={"epochs": 41})
        said = sweep.stdout.read()
    assert sweep.returncode == 1
    named = re.search(r"Not recorded, because parameters, data or code changed while they ran: (.*)", said)
    assert named is not None
    assert {"train@unet-0.01-0", "train@unet_no_skip-0.01-0"} <= set(named[1].split(", "))  # as they finished
    assert {"train@unet-0.01-0", "train@unet_no_skip-0.01-0"} <= swept.stale()
    swept.change()
    swept.run("pipeline", "sweep")
    swept.repro()


def sweep_until(
    swept: Project, epoch: str, number: int, *arguments: str, times: int, known: str = ""
) -> tuple[int, str]:
    """Sweep until an epoch has ended, then send a signal to all of the terminal; the exit code, and what was said.

    MLflow is told beside the epochs, so that it may hear of a run when some are over; `known` are runs to wait for.
    """
    with swept.start(
        "pipeline",
        "sweep",
        *arguments,
        start_new_session=True,
        # A shell's background job ignores Ctrl-C and hands that on; these tests may run in one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as sweep:
        assert sweep.stdout is not None
        said = next(line for line in sweep.stdout if epoch in line and (not known or states(swept, known)))
        os.killpg(sweep.pid, number)
        for _ in range(times - 1):
            said += next(line for line in sweep.stdout if "Ctrl-C again" in line)
            os.killpg(sweep.pid, number)
        said += sweep.stdout.read()
    return sweep.returncode, said


def states(swept: Project, runs: str) -> dict[str, str]:
    with sqlite3.connect(swept.root / "mlflow.db") as store:
        found = store.execute("SELECT name, status FROM runs WHERE name LIKE ?", (runs,)).fetchall()
    store.close()
    assert len({name for name, _ in found}) == len(found)
    return dict(found)


def checkpoints(swept: Project) -> list[str]:
    return sorted(path.name for path in swept.root.glob(".cache/unfinished/*/*.checkpoint"))


def test_ctrl_c_lets_the_epochs_end_and_the_same_command_goes_on(swept: Project) -> None:
    earlier = checkpoints(swept)  # of trainings that DVC did not take
    swept.change(train={"epochs": 80}, grid={"seed": [1]})
    code, said = sweep_until(swept, "epoch 3/80", signal.SIGINT, times=1)
    assert code == 130
    last = re.search(r"^unet-0.01-1 +stopped +\d+ s  stopped after epoch (\d+) of 80", said, re.MULTILINE)
    assert last is not None
    assert "run the same command again" in said
    assert set(states(swept, "%-0.01-1").values()) == {"KILLED"}
    assert not list(swept.root.glob("runs/*-0.01-1"))
    assert len(checkpoints(swept)) > len(earlier)
    assert "training" in swept.read(".cache/attempts/train@unet-0.01-1.json")["reason"]
    said = swept.run("pipeline", "sweep")
    first = re.search(r"^unet-0.01-1: epoch (\d+)/", said, re.MULTILINE)
    assert first is not None
    assert int(first[1]) == int(last[1]) + 1
    assert "2 runs: 2 trained" in said
    assert set(states(swept, "%-0.01-1").values()) == {"FINISHED"}
    assert checkpoints(swept) == earlier
    swept.change()


def test_ctrl_c_twice_ends_a_sweep_now(swept: Project) -> None:
    swept.change(train={"epochs": 400}, grid={"seed": [5]})
    code, said = sweep_until(swept, "epoch 2/400", signal.SIGINT, "--workers", "1", times=2)
    assert code in (1, 130)  # the epochs may have ended before the second one came
    assert "Traceback" not in said
    assert set(states(swept, "%-0.01-5").values()) == {"KILLED"}
    swept.change()


def test_what_was_killed_without_a_word_does_not_stay_running(swept: Project) -> None:
    """The next command marks them, and other parameters do not resume from the checkpoints."""
    swept.change(train={"epochs": 500}, grid={"seed": [2]})
    code, _ = sweep_until(swept, "/500 ", signal.SIGKILL, "--workers", "1", times=1, known="%-0.01-2")
    assert code == -signal.SIGKILL
    assert "RUNNING" in states(swept, "%-0.01-2").values()
    swept.change()
    assert "to do" not in swept.run("pipeline", "sweep")
    assert set(states(swept, "%-0.01-2").values()) == {"KILLED"}


def test_what_finished_is_not_lost_between_two_writes_of_dvc(swept: Project) -> None:
    swept.change(train={"epochs": 3}, grid={"seed": [6]})
    with swept.start("pipeline", "sweep", "--workers", "1") as sweep:
        assert sweep.stdout is not None
        next(line for line in sweep.stdout if "(1 of 2)" in line)
        sweep.kill()
    assert {"train@unet-0.01-6", "evaluate@unet-0.01-6"} <= swept.stale()  # only DVC's run cache has them
    said = swept.run("pipeline", "sweep")
    assert set(states(swept, "%-0.01-6").values()) == {"FINISHED"}
    assert "unet-0.01-6: epoch" not in said
    assert "2 runs: 1 restored, 1 trained" in said
    assert not {stage for stage in swept.stale() if "@" in stage}
    swept.change()


def test_half_a_lock_file_is_no_end(swept: Project) -> None:
    """DVC writes it in place, where a kill may leave half of it."""
    swept.run("pipeline", "sweep")
    lock = swept.root / "dvc.lock"
    lock.write_text("schema: '2.0'\nstages:\n  prepare:\n    outs:\n    - pa", encoding="utf-8")
    said = swept.run("pipeline", "sweep")
    assert "to do" not in said  # DVC's run cache has all of it
    assert "renamed to dvc.lock.broken" in said
    assert not {stage for stage in swept.stale() if "@" in stage}
    (swept.root / "dvc.lock.broken").unlink()


def test_a_second_command_says_who_is_at_work_and_workers_end_with_their_sweep(swept: Project) -> None:
    swept.change(train={"epochs": 700}, grid={"seed": [3]})
    with swept.start("pipeline", "sweep", "--workers", "1") as sweep:
        assert sweep.stdout is not None
        # MLflow is written in the background: wait until it has the run.
        next(line for line in sweep.stdout if "/700 " in line and states(swept, "%-0.01-3"))
        said = swept.run("pipeline", "sweep", code=1)
        assert f"Another sweep of this folder is running (process {sweep.pid} on " in said
        said = swept.run("dvc", "repro", code=255)
        assert "is busy, it is being blocked by:" in said
        assert re.search(rf"\(PID {sweep.pid}\): .*pipeline sweep", said)
        assert "Running stage 'train" not in said
        workers = psutil.Process(sweep.pid).children(recursive=True)
        assert len(workers) >= 2
        sweep.kill()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive
    swept.change()
    swept.run("pipeline", "sweep")  # marks the runs of the killed one
    assert set(states(swept, "%-0.01-3").values()) == {"KILLED"}


def test_a_sweep_of_a_part_of_the_grid(swept: Project) -> None:
    swept.run("pipeline", "sweep")  # the grid of the test before was another one
    swept.change(grid={"learning_rate": [0.01, 0.02]})
    said = swept.run("pipeline", "sweep", "unet-*")
    assert "2 runs: 1 trained, 1 up to date" in said
    assert swept.stale() >= {"train@unet_no_skip-0.02-0", "evaluate@unet_no_skip-0.02-0"}
    assert "train@unet-0.02-0" not in swept.stale()
    said = swept.run("pipeline", "sweep", "lite0-*", code=1)
    assert "'lite0-*' matches no run of the grid" in said
    swept.change()


def test_reports_by_hand(swept: Project) -> None:
    assert "reports/best.html" in swept.run("pipeline", "report", "--runs", "best")
    assert "mine.html" in swept.run(
        "pipeline", "report", "--runs", "variant == 'unet' and seed < 1", "--out", "mine.html"
    )
    assert "unet-0.01-0" in (swept.root / "mine.html").read_text(encoding="utf-8")
    said = swept.run("pipeline", "report", "--runs", "mlflow:metrics.val_loss_best < 100")
    assert "reports/mlflow-" in said
    fetched = (swept.root / said.strip().splitlines()[-1]).read_text(encoding="utf-8")
    assert all(f'<tr id="run-{run}"' in fetched for run in RUNS)
    said = swept.run("pipeline", "report", "--runs", "unet-0.1-0", code=1)
    assert "unet-0.01-0" in said


def test_an_unpacked_archive_without_git(tmp_path: Path, commands: PreloadedCommands) -> None:
    """As `make report` prepares it: DVC is told, in a file that git would ignore, that there is no repository."""
    project = copy_project(tmp_path / "archive", commands)
    project.change(grid={"variant": ["unet"]})
    assert "core.no_scm true" in project.run("pipeline", "sweep", code=1)
    project.run("dvc", "config", "--local", "core.no_scm", "true")
    project.run("pipeline", "sweep")
    assert project.repro() == ["compare", "showcase", "report"]
    assert project.repro() == []
    assert (project.root / "reports/learning-report.html").exists()
