"""What MLflow has after the stages `compare` and `report`, without `pipeline sync`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from filelock import FileLock

from pipeline.artifacts.project import COMPARISON, REPORT, TEMPLATES
from pipeline.cli import main
from pipeline.evaluate.stage import evaluate_run
from pipeline.params.file import read_params
from pipeline.tracking.mlflow_run import LOCK
from pipeline.tracking.store import open_client
from pipeline.tracking.sync import sync_runs
from pipeline.tracking.tags import BEST_OF, BEST_RUN, DVC_EXPERIMENT, VERDICT
from pipeline.train.stage import train_and_log
from tests.conftest import ROOT, write_params

if TYPE_CHECKING:
    from mlflow.entities import Run

RUN = "unet-0.01-0"


@pytest.fixture(scope="module")
def evaluated(prepared: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with a trained and evaluated run, which `live.db` has; that file does not change."""
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
        list(sync_runs(params, [RUN]))
        yield root


@pytest.fixture
def uri(evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store with the run and without its comparison."""
    monkeypatch.chdir(evaluated)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    shutil.copy(evaluated / "live.db", tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


def stage(*arguments: str) -> Result:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    return done


def stored(uri: str) -> list[Run]:
    client = open_client(uri)
    experiment = client.get_experiment_by_name("learning-report")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def trained_run(uri: str) -> Run:
    (run,) = [run for run in stored(uri) if run.info.run_name == RUN]
    return run


def grid_runs(uri: str) -> list[Run]:
    return [run for run in stored(uri) if run.info.run_name != RUN]


def folders(uri: str, run: Run) -> list[str]:
    return sorted(item.path for item in open_client(uri).list_artifacts(run.info.run_id))


def test_compare_and_report_leave_nothing_for_track(uri: str) -> None:
    (REPORT).unlink(missing_ok=True)
    stage("compare")
    assert trained_run(uri).data.tags[VERDICT]
    assert BEST_OF in trained_run(uri).data.tags
    (grid,) = grid_runs(uri)
    assert grid.data.tags[BEST_RUN] == RUN
    assert folders(uri, grid) == ["comparison"]
    stage("report")
    assert folders(uri, grid) == ["comparison", "report"]
    assert "1 run, complete before." in stage("sync").stdout
    before = [run.to_dictionary() for run in stored(uri)]
    stage("compare")
    stage("report")
    assert [run.to_dictionary() for run in stored(uri)] == before


def test_compare_run_missing_in_mlflow_uploads_it(uri: str) -> None:
    client = open_client(uri)
    lost = trained_run(uri)
    client.set_tag(lost.info.run_id, "pipeline.replaced_by", "nothing")  # so that it is not restored
    client.delete_run(lost.info.run_id)
    stage("compare")
    found = trained_run(uri)
    assert found.info.run_id != lost.info.run_id
    assert found.data.metrics == lost.data.metrics
    assert folders(uri, found) == ["evaluation", "run"]
    assert found.data.tags[VERDICT]


def test_compare_evaluation_missing_in_mlflow_uploads_it(evaluated: Path, uri: str) -> None:
    """As with `dvc repro`, whose stage `evaluate` does not write to MLflow."""
    client, run = open_client(uri), trained_run(uri)
    client.delete_tag(run.info.run_id, "pipeline.sha256.evaluation")
    shutil.rmtree(Path(run.info.artifact_uri) / "evaluation")
    stage("compare")
    assert folders(uri, trained_run(uri)) == ["evaluation", "run"]


def test_stages_store_down_write_the_same_files_and_warn_once(
    evaluated: Path, uri: str, closed_port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stage("compare")
    with_store = {path: path.read_bytes() for path in (evaluated / COMPARISON).iterdir()}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed_port}")
    caplog.clear()
    stage("compare")
    assert {path: path.read_bytes() for path in (evaluated / COMPARISON).iterdir()} == with_store
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "pipeline.tracking"]
    assert warning.startswith(f"MLflow at http://127.0.0.1:{closed_port} does not answer")
    assert "`pipeline sync` uploads" in warning
    assert "\n" not in warning
    caplog.clear()
    stage("report")
    assert len([record for record in caplog.records if record.name == "pipeline.tracking"]) == 1


def test_compare_without_a_store_creates_none(evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(evaluated)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    stage("compare")
    assert not (tmp_path / "mlflow.db").exists()


def test_compare_upload_lock_held_warns_and_ends(
    evaluated: Path, uri: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pipeline.tracking.sync.STAGE_LOCK_SECONDS", 0.0)
    (evaluated / LOCK).parent.mkdir(exist_ok=True)
    with FileLock(evaluated / LOCK):
        stage("compare")
    assert "Another process uploads runs to MLflow" in caplog.text
    assert grid_runs(uri) == []


def test_compare_dvc_experiments_have_runs_of_their_own(
    uri: str, tmp_path: Path, evaluated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `dvc exp run --temp` runs a stage: in a copy, with the project's folder and a name in the environment."""
    stage("compare")
    view = "mlflow.sharedViewState.best"

    def columns() -> list[str]:
        experiment = open_client(uri).get_experiment_by_name("learning-report")
        assert experiment is not None
        found: list[str] = json.loads(experiment.tags[view])["selectedColumns"]
        return found

    assert f"tags.`{DVC_EXPERIMENT}`" not in columns()
    shutil.copytree(evaluated, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("DVC_ROOT", str(evaluated))
    for name, epochs in (("brisk-owl", 1), ("calm-fox", 3)):
        monkeypatch.setenv("DVC_EXP_NAME", name)
        changes = {"grid": {"variant": ["unet"], "learning_rate": [0.01], "seed": [0]}, "train": {"epochs": epochs}}
        params = read_params(write_params(Path(), changes))
        train_and_log(params, params.cells()[0])
        evaluate_run(params, RUN)
        stage("compare")
    experiments = sorted(run.data.tags.get(DVC_EXPERIMENT, "") for run in stored(uri) if run.info.run_name == RUN)
    assert experiments == ["", "brisk-owl", "calm-fox"]
    assert sorted(run.data.tags.get(DVC_EXPERIMENT, "") for run in grid_runs(uri)) == experiments
    assert all(run.data.tags[VERDICT] for run in stored(uri) if run.info.run_name == RUN)
    assert f"tags.`{DVC_EXPERIMENT}`" in columns()
