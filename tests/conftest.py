"""Shared fixtures: a tiny project that trains in about a second."""

from __future__ import annotations

import errno
import gc
import multiprocessing
import multiprocessing.spawn
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from ruamel.yaml import YAML

from pipeline.cli import GC_THRESHOLDS
from pipeline.params import Params
from pipeline.params.file import read_params
from tests.chromium import open_chromium
from tests.preloaded import PreloadedCommands

if TYPE_CHECKING:
    from playwright.sync_api import Browser

MEMORY_FILES = Path("/dev/shm")
MIN_FREE_BYTES = 4_000_000_000  # of MEMORY_FILES; containers often have much less


def use_memory_for_files() -> None:
    """Write the files of tests to memory instead of the disk, if there is enough and TMPDIR is not set.

    Otherwise, every commit to SQLite and every atomic write waits for the disk.
    """
    if "TMPDIR" in os.environ or not os.access(MEMORY_FILES, os.W_OK):
        return
    found = os.statvfs(MEMORY_FILES)
    if not found.f_flag & os.ST_NOEXEC and found.f_bavail * found.f_frsize >= MIN_FREE_BYTES:
        os.environ["TMPDIR"] = str(MEMORY_FILES)
        tempfile.tempdir = None  # tempfile reads TMPDIR again


use_memory_for_files()

gc.set_threshold(*GC_THRESHOLDS)


def pytest_collection_finish() -> None:
    """Exclude everything that was imported until now from garbage collections, which would visit a million objects."""
    gc.freeze()


# No deadline: on a busy machine, Hypothesis would fail slow examples.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

ROOT = Path(__file__).parents[1]
TRAINED = "unet-0.01-0"

StartProcess = Callable[..., BaseProcess]  # from a function and its arguments

TINY: dict[str, Any] = {
    "data": {"image_size": 32, "samples": {"train": 12, "validation": 6, "test": 6}},
    "model": {"base_channels": 4, "depth": 2},
    "train": {"epochs": 2, "batch_size": 4},
    "grid": {"variant": ["unet", "unet_no_skip"], "learning_rate": [0.01, 0.001], "seed": [0, 1]},
    "evaluation": {"examples": 2},
}


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Merge changes into the base recursively and return the result."""
    result = dict(base)
    for key, value in changes.items():
        are_sections = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merge(result[key], value) if are_sections else value
    return result


@cache
def load_shipped_params() -> dict[str, Any]:
    """Load the shipped params.yaml once, because this takes long; callers must not change the result."""
    content: dict[str, Any] = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    return content


def write_params(folder: Path, changes: dict[str, Any]) -> Path:
    """Write the shipped params.yaml, overridden by `TINY` and then by these changes."""
    path = folder / "params.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(merge(merge(load_shipped_params(), TINY), changes), file)
    return path


@pytest.fixture(autouse=True)
def _forget_custom_modules() -> Iterator[None]:
    """Remove modules of `custom/` from `sys.modules`, because each test has its own project."""
    yield
    if "custom" in sys.modules:
        for name in [name for name in sys.modules if name.partition(".")[0] == "custom"]:
            del sys.modules[name]


@pytest.fixture
def skip_grid_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the training steps that `init` times on blank images, which take seconds."""
    monkeypatch.setattr("pipeline.init.grid_time.measure_grid_time", lambda *_: None)


def write_custom(project: Path, **modules: str) -> Path:
    """Write modules, given by name, into a project's `custom/`."""
    folder = project / "custom"
    folder.mkdir(exist_ok=True)
    for name, source in {"__init__": "", **modules}.items():
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
    return folder


@pytest.fixture
def deny_reading(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Return a function that makes a folder unreadable, also for root, whom permissions do not stop."""

    def deny(folder: Path) -> None:
        refused = os.path.realpath(folder)

        def wrap(original: Any) -> Callable[..., Any]:
            def call(path: Any = ".") -> Any:
                if not isinstance(path, int) and os.path.realpath(path) == refused:
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
                return original(path)

            return call

        monkeypatch.setattr(os, "scandir", wrap(os.scandir))
        monkeypatch.setattr(os, "listdir", wrap(os.listdir))

    return deny


@pytest.fixture
def params_with(tmp_path: Path) -> Callable[[dict[str, Any]], Params]:
    """Return a function that reads the tiny parameters with changes applied."""
    return lambda changes: read_params(write_params(tmp_path, changes))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; without it, the test is skipped."""
    with open_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def commands() -> Iterator[PreloadedCommands]:
    """`pipeline` and `dvc` in processes with their imports already loaded."""
    with PreloadedCommands.running() as commands:
        yield commands


@pytest.fixture
def preloaded_workers(commands: PreloadedCommands) -> Iterator[None]:
    """Start worker processes of `multiprocessing` with their imports already loaded."""
    interpreter = multiprocessing.spawn.get_executable()
    multiprocessing.set_executable(commands.worker)
    yield
    multiprocessing.set_executable(interpreter)


def _call_with_environment(
    environment: dict[str, str], target: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    target(*arguments)


@pytest.fixture(scope="session")
def start_process() -> StartProcess:
    """Return a function that calls a function in a new process, in which MLflow and torch are already imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow.store.tracking.sqlalchemy_store", "torch._dynamo"])

    def start(target: Callable[..., None], *arguments: Any) -> BaseProcess:
        # The server has the environment in which it was started.
        process = context.Process(target=_call_with_environment, args=(dict(os.environ), target, arguments))
        process.start()
        return process

    return start


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow SQLite store, created once because creating its tables takes seconds."""
    from pipeline.tracking.store import open_client

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    open_client(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder after `prepare` has run on the bundled data."""
    from pipeline.prepare.prepare_data import prepare

    folder = tmp_path_factory.mktemp("prepared")
    changes = {"data": {"path": str(ROOT / "data/sample")}}
    prepare(read_params(write_params(folder, changes)), folder / "data/prepared")
    return folder


@pytest.fixture
def project(prepared: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the prepared project with its own MLflow store, as the current folder."""
    root = tmp_path / "project"
    shutil.copytree(prepared, root)
    shutil.copy(store, root / "mlflow.db")
    monkeypatch.chdir(root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
    return root


@pytest.fixture(scope="session")
def trained(prepared: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with one evaluated and compared run, `TRAINED`, and its own MLflow store (mlflow.db).

    Tests may add files to it, but must not change its run and results.
    """
    from pipeline.compare.compare_runs import compare
    from pipeline.evaluate.evaluate_run import evaluate_run
    from pipeline.train.train_cell import train_and_log

    root = tmp_path_factory.mktemp("trained") / "project"
    shutil.copytree(prepared, root)
    shutil.copy(store, root / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("DVC_ROOT", raising=False)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        params = read_params(write_params(root, {"grid": {"variant": ["unet"], "learning_rate": [0.01], "seed": [0]}}))
        train_and_log(params, params.cells()[0])
        evaluate_run(params, TRAINED)
        compare(params)
    return root


@pytest.fixture
def trained_copy(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project `trained` with its own MLflow store, as the current folder."""
    root = tmp_path / "project"
    shutil.copytree(trained, root)
    monkeypatch.chdir(root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
    return root
