"""The stages `compare` and `report` upload their results to MLflow."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from filelock import FileLock

from pipeline.artifacts.project import COMPARISON, REPORT, TEMPLATES, Project
from pipeline.cli import main
from pipeline.evaluate.evaluate_run import evaluate_run
from pipeline.params.file import read_params
from pipeline.tracking.mlflow_run import LOCK
from pipeline.tracking.store import open_client
from pipeline.tracking.sync import sync_runs
from pipeline.tracking.tags import BEST_OF, BEST_RUN, DVC_EXPERIMENT, VERDICT
from pipeline.train.train_cell import train_and_log
from tests.conftest import ROOT, write_params

if TYPE_CHECKING:
    from mlflow.entities import Run

RUN = "unet-0.01-0"


@pytest.fixture(scope="module")
def evaluated(prepared: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with a trained and evaluated run and its store, `live.db`, which the tests copy."""
    root = tmp_path_factory.mktemp("after") / "project"
    shutil.copytree(prepared, root)
    shutil.copy(store, root / "live.db")
    for name in (TEMPLATES, Path("reports/notes.md")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(ROOT / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("DVC_ROOT", raising=False)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/live.db")
        params = read_params(write_params(root, {"grid": {"variant": ["unet"], "learning_rate": [0.01], "seed": [0]}}))
        train_and_log(params, params.cells()[0])
        evaluate_run(params, RUN)
        list(sync_runs(params, [RUN], Project()))
        yield root


@pytest.fixture
def uri(evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store with the run, without its comparison."""
    monkeypatch.chdir(evaluated)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    shutil.copy(evaluated / "live.db", tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


def run_stage(*arguments: str) -> Result:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    return done


def load_runs(uri: str) -> list[Run]:
    client = open_client(uri)
    experiment = client.get_experiment_by_name("learning-report")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def load_trained_run(uri: str) -> Run:
    (run,) = [run for run in load_runs(uri) if run.info.run_name == RUN]
    return run


def load_grid_runs(uri: str) -> list[Run]:
    return [run for run in load_runs(uri) if run.info.run_name != RUN]


def list_folders(uri: str, run: Run) -> list[str]:
    return sorted(item.path for item in open_client(uri).list_artifacts(run.info.run_id))


def test_compare_and_report_upload_everything(uri: str) -> None:
    (REPORT).unlink(missing_ok=True)
    run_stage("compare")
    assert load_trained_run(uri).data.tags[VERDICT]
    assert BEST_OF in load_trained_run(uri).data.tags
    (grid,) = load_grid_runs(uri)
    assert grid.data.tags[BEST_RUN] == RUN
    assert list_folders(uri, grid) == ["comparison"]
    run_stage("report")
    assert list_folders(uri, grid) == ["comparison", "report"]
    assert "1 run, nothing to upload." in run_stage("sync").stdout
    before = [run.to_dictionary() for run in load_runs(uri)]
    run_stage("compare")
    run_stage("report")
    assert [run.to_dictionary() for run in load_runs(uri)] == before


def test_compare_uploads_a_run_missing_in_mlflow(uri: str) -> None:
    client = open_client(uri)
    lost = load_trained_run(uri)
    client.set_tag(lost.info.run_id, "pipeline.replaced_by", "nothing")  # prevents that it is restored
    client.delete_run(lost.info.run_id)
    run_stage("compare")
    uploaded = load_trained_run(uri)
    assert uploaded.info.run_id != lost.info.run_id
    assert uploaded.data.metrics == lost.data.metrics
    assert list_folders(uri, uploaded) == ["evaluation", "images", "run"]
    assert uploaded.data.tags[VERDICT]


def test_compare_uploads_an_evaluation_missing_in_mlflow(evaluated: Path, uri: str) -> None:
    """The stage `evaluate` does not upload to MLflow when run by `dvc repro`."""
    client, run = open_client(uri), load_trained_run(uri)
    client.delete_tag(run.info.run_id, "pipeline.sha256.evaluation")
    shutil.rmtree(Path(run.info.artifact_uri) / "evaluation")
    run_stage("compare")
    assert list_folders(uri, load_trained_run(uri)) == ["evaluation", "images", "run"]


def test_stages_with_an_unreachable_store_write_the_same_files_and_warn_once(
    evaluated: Path, uri: str, closed_port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run_stage("compare")
    with_store = {path: path.read_bytes() for path in (evaluated / COMPARISON).iterdir()}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed_port}")
    caplog.clear()
    run_stage("compare")
    assert {path: path.read_bytes() for path in (evaluated / COMPARISON).iterdir()} == with_store
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "pipeline.tracking"]
    assert warning.startswith(f"MLflow at http://127.0.0.1:{closed_port} does not answer")
    assert "run `pipeline sync` to upload" in warning
    assert "\n" not in warning
    caplog.clear()
    run_stage("report")
    assert len([record for record in caplog.records if record.name == "pipeline.tracking"]) == 1


def test_compare_does_not_create_a_store(evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(evaluated)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    run_stage("compare")
    assert not (tmp_path / "mlflow.db").exists()


def test_compare_with_a_held_upload_lock_warns_and_finishes(
    evaluated: Path, uri: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pipeline.tracking.sync.STAGE_LOCK_SECONDS", 0.0)
    (evaluated / LOCK).parent.mkdir(exist_ok=True)
    with FileLock(evaluated / LOCK):
        run_stage("compare")
    assert "Another process is uploading runs to MLflow" in caplog.text
    assert load_grid_runs(uri) == []


def test_dvc_experiments_have_separate_runs(
    uri: str, tmp_path: Path, evaluated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`dvc exp run --temp` runs stages in a copy, with DVC_ROOT and DVC_EXP_NAME in the environment."""
    run_stage("compare")
    view = "mlflow.sharedViewState.best"

    def load_columns() -> list[str]:
        experiment = open_client(uri).get_experiment_by_name("learning-report")
        assert experiment is not None
        selected: list[str] = json.loads(json.loads(experiment.tags[view])["state"])["selectedColumns"]
        return selected

    assert f"tags.`{DVC_EXPERIMENT}`" not in load_columns()
    shutil.copytree(evaluated, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("DVC_ROOT", str(evaluated))
    for name, epochs in (("brisk-owl", 1), ("calm-fox", 3)):
        monkeypatch.setenv("DVC_EXP_NAME", name)
        changes = {"grid": {"variant": ["unet"], "learning_rate": [0.01], "seed": [0]}, "train": {"epochs": epochs}}
        params = read_params(write_params(Path(), changes))
        train_and_log(params, params.cells()[0])
        evaluate_run(params, RUN)
        run_stage("compare")
    experiments = sorted(run.data.tags.get(DVC_EXPERIMENT, "") for run in load_runs(uri) if run.info.run_name == RUN)
    assert experiments == ["", "brisk-owl", "calm-fox"]
    assert sorted(run.data.tags.get(DVC_EXPERIMENT, "") for run in load_grid_runs(uri)) == experiments
    assert all(run.data.tags[VERDICT] for run in load_runs(uri) if run.info.run_name == RUN)
    assert f"tags.`{DVC_EXPERIMENT}`" in load_columns()
