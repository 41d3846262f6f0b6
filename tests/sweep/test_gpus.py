"""One GPU per job, with a fake nvidia-smi."""

from __future__ import annotations

import os
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from pipeline.artifacts.project import Project
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.sweep import pool
from pipeline.sweep.gpus import VISIBLE, find_least_used, list_gpus
from pipeline.sweep.pool import run_jobs
from pipeline.sweep.run_sweep import _default_workers
from pipeline.sweep.worker import STOP, Job, JobResult
from tests.conftest import write_params

pytestmark = pytest.mark.usefixtures("preloaded_workers")

GPU_LIST = "GPU-aaaa\nGPU-bbbb\n"


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An nvidia-smi on the PATH that lists two GPUs."""
    command = tmp_path / "bin" / "nvidia-smi"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\nprintf '{GPU_LIST}'\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv(VISIBLE, raising=False)
    return command


def test_list_gpus_returns_the_driver_list(nvidia_smi: Path) -> None:
    assert list_gpus() == ["GPU-aaaa", "GPU-bbbb"]


@pytest.mark.usefixtures("nvidia_smi")
@pytest.mark.parametrize(("visible", "expected"), [("1", ["1"]), ("0,3", ["0", "3"]), ("", []), ("-1", [])])
def test_list_gpus_respects_visible_devices(visible: str, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, visible)
    assert list_gpus() == expected


def test_list_gpus_is_empty_if_the_driver_fails(nvidia_smi: Path) -> None:
    nvidia_smi.write_text("#!/bin/sh\necho 'No devices were found'\nexit 6\n")
    assert list_gpus() == []


def test_find_least_used_returns_the_first_of_the_least_used() -> None:
    assert [find_least_used(["a", "b"], used) for used in ([], ["a"], ["b", "a"], ["a", "b", "a"])] == [
        "a",
        "b",
        "a",
        "b",
    ]
    assert find_least_used([], [None]) is None


def serve(pipe: Connection, params: Params, root: Path) -> None:
    """Replace a worker: return the visible GPU after both workers have started a job."""
    while (job := pipe.recv()) != STOP:
        (root / job.cell.name).touch()
        while len(list(root.glob("unet-*"))) < 2:
            time.sleep(0.01)
        pipe.send(JobResult(job, trained=True, evaluated=True, message=os.environ.get(VISIBLE, "")))


@pytest.mark.usefixtures("nvidia_smi")
def test_parallel_jobs_see_one_gpu_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "serve", serve)
    params = read_params(write_params(tmp_path, {}))
    jobs = [Job(params.cell("unet", 0.1, seed), "made", "made") for seed in range(5)]
    assert _default_workers(jobs) == 2
    results = list(run_jobs(params, jobs, 2, Project(tmp_path), print, lambda: False))
    assert len(results) == 5
    assert {result.message for result in results} == {"GPU-aaaa", "GPU-bbbb"}
    assert VISIBLE not in os.environ


def test_default_workers_without_a_gpu_is_cores_per_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "")
    params = read_params(write_params(tmp_path, {"train": {"num_threads": 64_000}}))
    assert _default_workers([Job(params.cell("unet", 0.1, 0), "made", "made")]) == 1
