"""The package without the calls that only some operating systems have."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import pipeline
from pipeline.atomic_io import atomic_directory
from pipeline.runtime import operating_system
from tests.conftest import ROOT, TRAINED, write_params
from tests.e2e.conftest import copy_project
from tests.preloaded import PreloadedCommands
from tests.runtime.hidden_calls import CALLS, MODULES

PACKAGE = Path(pipeline.__file__).parent
SCRIPT = Path(__file__).with_name("hidden_calls.py")
# Starts a child process, prints its id and waits.
FAMILY = "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"


def find_system_calls(module: Path) -> set[str]:
    """Find the calls and imports in a module that do not exist on every system."""
    calls = {
        "os.kill",
        "os.fork",
        "signal.SIGKILL",
        *(f"{owner.__name__}.{name}" for owner, names in CALLS.items() for name in names),
    }
    nodes = list(ast.walk(ast.parse(module.read_text(encoding="utf-8"))))
    used = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)} & calls
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return used | imported & {*MODULES, "ctypes", "select"}


def test_only_operating_system_uses_system_calls() -> None:
    modules = {str(module.relative_to(PACKAGE)): find_system_calls(module) for module in PACKAGE.rglob("*.py")}
    assert [name for name, calls in modules.items() if calls] == ["runtime/operating_system.py"]


def run_hidden(folder: Path, *arguments: str, code_folder: Path = ROOT) -> str:
    """Run `pipeline` with the calls hidden, and return its output."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(code_folder), "USER": "someone"},  # DVC reads the user's name
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.process
def test_without_system_calls_all_modules_are_imported(tmp_path: Path) -> None:
    assert "Edit params.yaml" in run_hidden(tmp_path)


@pytest.mark.process
def test_without_system_calls_a_cell_is_trained(project: Path) -> None:
    write_params(project, {"grid": {"variant": ["unet"], "learning_rate": [0.01], "seed": [0]}})
    run_hidden(project, "train", "--variant", "unet", "--learning-rate", "0.01", "--seed", "0")
    assert (project / "runs" / TRAINED / "run.json").exists()


@pytest.mark.slow
def test_without_system_calls_the_grid_is_trained(tmp_path: Path, commands: PreloadedCommands) -> None:
    copy = copy_project(tmp_path / "project", commands)
    copy.run("dvc", "config", "--local", "core.no_scm", "true")
    output = run_hidden(copy.root, "sweep", "--workers", "2", code_folder=copy.root)
    assert "2 runs: 2 trained" in output


def test_count_cores_without_affinity_counts_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert operating_system.count_cores() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    assert operating_system.count_cores() == os.cpu_count()
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert operating_system.count_cores() == 1


def test_read_peak_memory_without_proc_is_close(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    peak = operating_system.read_peak_memory()
    monkeypatch.setattr(operating_system, "_STATUS", tmp_path / "missing")
    assert 0.5 * peak < operating_system.read_peak_memory() < 2 * peak


@pytest.mark.process
@pytest.mark.parametrize("has_groups", [True, False])
def test_kill_group_kills_child_processes(has_groups: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_groups:
        monkeypatch.delattr(os, "killpg")
    command = [sys.executable, "-c", FAMILY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, **operating_system.NEW_GROUP) as process:
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        operating_system.kill_group(process)
        process.wait()
        child.wait(30)
        operating_system.kill_group(process)  # a group that has ended


@pytest.mark.process
@pytest.mark.parametrize("has_timer", [True, False])
def test_limit_remaining_time_ends_the_process(has_timer: bool) -> None:
    hide = "" if has_timer else "del signal.setitimer; "
    code = (
        f"import signal, time; {hide}from pipeline.runtime.operating_system import limit_remaining_time; "
        "limit_remaining_time(0.1); time.sleep(60)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == (-14 if has_timer else 143)


@pytest.mark.process
@pytest.mark.parametrize("is_windows", [False, True])
def test_terminate_this_process_runs_the_handler(is_windows: bool) -> None:
    code = (
        "import signal, sys; from pipeline.runtime import operating_system; "
        f"operating_system._IS_WINDOWS = {is_windows}; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); "
        "operating_system.terminate_this_process()"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 7


def test_has_reader_without_poll_is_false(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    assert operating_system.has_reader(writing)
    os.close(reading)
    assert not operating_system.has_reader(writing)
    monkeypatch.delattr("select.poll")
    assert not operating_system.has_reader(1)
    os.close(writing)


def test_folder_is_written_where_folders_cannot_be_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    synced = []
    open_file = os.open

    def open_no_folder(path: Path, flags: int) -> int:
        assert not path.is_dir()
        synced.append(path.name)
        return open_file(path, flags)

    monkeypatch.setattr(operating_system, "_IS_WINDOWS", True)
    monkeypatch.setattr(operating_system.os, "open", open_no_folder)
    with atomic_directory(tmp_path / "folder") as new:
        (new / "file").write_text("text")
    assert (tmp_path / "folder/file").read_text() == "text"
    assert synced == ["file"]
