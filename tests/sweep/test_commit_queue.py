"""Committing finished jobs to DVC, also if the sweep is killed before or after."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

from pipeline.artifacts.format import FORMAT
from pipeline.artifacts.project import Project
from pipeline.artifacts.run_folder import RunRecord
from pipeline.errors import PipelineError
from pipeline.params.file import read_params
from pipeline.runtime.work_lock import RunLock, list_unfinished
from pipeline.sweep.commit_queue import CommitQueue
from pipeline.sweep.dvc_internals.stages import DvcStages, Refusal
from pipeline.sweep.worker import Job, JobResult
from tests.conftest import write_params
from tests.sweep.conftest import SmallProject

RUN = "unet-0.01-0"
KEY = "a" * 64


def run_cell(small: SmallProject, stages: DvcStages) -> JobResult:
    """Write the outputs and the checkpoint folder of a training and an evaluation."""
    params = read_params(write_params(small.root, {}))
    record = RunRecord(FORMAT, RUN, KEY, "finished", 1, 1, None, "float32", 1, "data", {})
    (small.root / "code.txt").write_text(json.dumps(dataclasses.asdict(record)))  # DVC's commands copy it
    (small.root / "noise.txt").write_text("")
    hashes = stages.hash_dependencies([f"train@{RUN}", f"evaluate@{RUN}"])
    for path in ("runs/{}/run.json", "evaluation/{}/metrics.json"):
        file = small.root / path.format(RUN)
        file.parent.mkdir(parents=True)
        shutil.copy(small.root / "code.txt", file)
    with RunLock(KEY).hold():
        pass
    job = Job(params.cell("unet", 0.01, 0), hashes[f"train@{RUN}"], hashes[f"evaluate@{RUN}"])
    return JobResult(job, trained=True, evaluated=True, message="")


@pytest.fixture
def stages(small: SmallProject) -> DvcStages:
    small.write(RUN, "b")
    stages = small.load_stages()
    stages.reproduce("prepare")
    return stages


def test_sweep_killed_before_dvc_lock_is_written_restores_the_run(small: SmallProject, stages: DvcStages) -> None:
    CommitQueue(stages, Project()).add(run_cell(small, stages))
    assert list_unfinished() == []
    assert RUN not in small.read_lock()
    reloaded = small.load_stages()
    assert reloaded.find_stale([RUN]) == ([RUN], [RUN])
    assert (reloaded.restore("train", [RUN]), reloaded.restore("evaluate", [RUN])) == ([RUN], [RUN])
    assert reloaded.find_stale([RUN]) == ([], [])
    small.repro()
    assert (small.root / "ran.txt").read_text() == "b\n"  # `dvc repro` restores it too


def test_close_writes_the_same_lock_as_dvc(small: SmallProject, stages: DvcStages) -> None:
    queue = CommitQueue(stages, Project())
    queue.add(run_cell(small, stages))
    queue.close()
    assert queue.refused == {}
    assert small.list_lock_entries() == ["prepare", f"train@{RUN}", f"evaluate@{RUN}"]
    text = small.read_lock()
    (small.root / "dvc.lock").unlink()
    for folder in (".dvc/cache/runs", "runs", "evaluation"):
        shutil.rmtree(small.root / folder)
    small.repro("prepare", f"train@{RUN}", f"evaluate@{RUN}")
    assert small.read_lock() == text


def test_changed_parameters_keep_the_checkpoints(small: SmallProject, stages: DvcStages) -> None:
    result, queue = run_cell(small, stages), CommitQueue(stages, Project())
    (small.root / "code.txt").write_text("edited")
    queue.add(result)
    queue.close()
    assert queue.refused == {f"train@{RUN}": Refusal.DEPENDENCIES}
    assert [run.key for run in list_unfinished()] == [KEY]


def test_failed_commit_is_retried_on_close(
    small: SmallProject, stages: DvcStages, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    queue, commit = CommitQueue(stages, Project()), stages.commit

    def fail(finished: object) -> dict[str, Refusal]:
        raise PipelineError("the lock is held")

    monkeypatch.setattr(stages, "commit", fail)
    queue.add(run_cell(small, stages))
    assert "the lock is held" in capsys.readouterr().err
    monkeypatch.setattr(stages, "commit", commit)
    queue.close()
    assert small.load_stages().find_stale([RUN]) == ([], [])


def test_run_outside_the_grid_is_refused(small: SmallProject, stages: DvcStages) -> None:
    queue = CommitQueue(stages, Project())
    queue.add(run_cell(small, stages))
    small.write("b")
    queue.close()
    assert queue.refused == {f"train@{RUN}": Refusal.GONE, f"evaluate@{RUN}": Refusal.GONE}
