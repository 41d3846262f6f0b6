"""`pipeline sync` uploads the same content from run folders as `pipeline train` does during training."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pipeline.artifacts.comparison import list_run_values
from pipeline.artifacts.prepared_data import PreparedData
from pipeline.artifacts.project import PREPARED, RUNS, TEMPLATES, Project
from pipeline.artifacts.run_folder import RunFolder
from pipeline.cli import main
from pipeline.compare.compare_runs import compare
from pipeline.evaluate.evaluate_run import evaluate_run
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.report.write_report import write_report
from pipeline.tracking.mlflow_run import upload_lock
from pipeline.tracking.run_content import DataSummary, collect_parameters, name_in_mlflow, read_history
from pipeline.tracking.store import open_client
from pipeline.tracking.sync import sync_runs
from pipeline.tracking.tags import DATA_FINGERPRINT
from pipeline.train.train_cell import train_and_log
from tests.conftest import ROOT, write_params
from tests.tracking.conftest import create_epochs, upload_content

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

OTHER_KEY = "0e" * 32
NAMES = ("unet-0.01-0", "unet-0.001-0")
CHANGES: dict[str, Any] = {"grid": {"variant": ["unet"], "learning_rate": [0.01, 0.001], "seed": [0]}}


@dataclass(frozen=True)
class TrainedProject:
    """A project with trained, evaluated and compared runs and a report, and the store they were logged to."""

    root: Path
    params: Params
    live_uri: str


@pytest.fixture(scope="module")
def trained(prepared: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrainedProject]:
    root = tmp_path_factory.mktemp("sync") / "project"
    shutil.copytree(prepared, root)
    for name in (TEMPLATES, Path("reports/notes.md")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(ROOT / name)
    shutil.copy(store, root / "live.db")
    live_uri = f"sqlite:///{root}/live.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("DVC_ROOT", raising=False)
        patch.setenv("MLFLOW_TRACKING_URI", live_uri)
        params = read_params(write_params(root, CHANGES))
        for cell in params.cells():
            train_and_log(params, cell)
            evaluate_run(params, cell.name)
        list(sync_runs(params, NAMES, Project()))
        compare(params)
        write_report(params)
        yield TrainedProject(root, params, live_uri)


@pytest.fixture
def uri(trained: TrainedProject, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store without runs."""
    monkeypatch.chdir(trained.root)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    shutil.copy(store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


def sync(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["sync", *arguments])
    assert done.exit_code == code, done.output
    return done.output


def load_runs(uri: str, trained: TrainedProject) -> tuple[MlflowClient, dict[str, Run]]:
    """Load the runs by name; names must be unique."""
    client = open_client(uri)
    experiment = client.get_experiment_by_name(trained.params.tracking.experiment)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    by_name = {run.info.run_name: run for run in runs}
    assert len(by_name) == len(runs)
    return client, by_name


def load_run(uri: str, trained: TrainedProject, name: str) -> Run:
    client = open_client(uri)
    experiment = client.get_experiment_by_name(trained.params.tracking.experiment)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], f"attributes.run_name = '{name}'")
    return run


def load_points(client: MlflowClient, run: Run) -> dict[str, list[tuple[int, int, float]]]:
    return {
        name: [(point.step, point.timestamp, point.value) for point in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }


def list_files(client: MlflowClient, run: Run, folder: str) -> list[str]:
    return sorted(item.path for item in client.list_artifacts(run.info.run_id, folder))


@contextlib.contextmanager
def other_data_prepared(trained: TrainedProject) -> Iterator[None]:
    """Change the fingerprint of the prepared data for a block."""
    path = trained.root / PREPARED / PreparedData.MAIN
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(PreparedData(trained.root / PREPARED).dataset.fingerprint, "0f" * 32))
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


def test_sync_uploads_the_same_content_as_train(trained: TrainedProject, uri: str) -> None:
    output = sync("--tracking-uri", uri)
    assert "2 runs, 2 of them new" in output
    (live_client, live), (client, synced) = load_runs(trained.live_uri, trained), load_runs(uri, trained)
    assert set(live) == set(NAMES) < set(synced)
    for name in NAMES:
        assert load_points(client, synced[name]) == load_points(live_client, live[name])
        assert synced[name].data.params == live[name].data.params
        assert synced[name].info.status == live[name].info.status == "FINISHED"
        assert synced[name].data.tags["pipeline.run_key"] == live[name].data.tags["pipeline.run_key"]
        assert synced[name].inputs == live[name].inputs
        inputs = synced[name].inputs.dataset_inputs
        assert {item.dataset.digest for item in inputs} == {read_expected_digest(trained)}
        contexts = {item.tags[0].value: item.dataset.name for item in inputs}
        assert sorted(contexts) == ["train", "validation"]
        assert len({*contexts.values()}) == 2
        for folder in ("run", "evaluation", "evaluation/examples"):
            assert list_files(client, synced[name], folder) == list_files(live_client, live[name], folder) != []


def test_metrics_have_the_names_and_values_of_the_columns_of_runs_csv(trained: TrainedProject, uri: str) -> None:
    sync("--tracking-uri", uri)
    _, synced = load_runs(uri, trained)
    table = Project(trained.root).comparison.summary.runs
    for row in table:
        columns = {name: value for name, value in list_run_values(row).items() if name.startswith("val_")}
        found = {name: synced[row.run].data.metrics.get(name_in_mlflow(name)) for name in columns}
        assert found == columns
        assert {"val_dice", "val_image_dice", "val_nsd"} <= synced[row.run].data.metrics.keys()


@pytest.fixture(params=["missing", "of another training"])
def unknown_times(trained: TrainedProject, request: pytest.FixtureRequest) -> Iterator[None]:
    """Remove the times of both runs, as in runs that DVC has restored."""
    paths = [trained.root / RUNS / name / RunFolder.TIMING for name in NAMES]
    kept = [path.read_text(encoding="utf-8") for path in paths]
    for path, text in zip(paths, kept, strict=True):
        path.unlink()
        if request.param != "missing":
            path.write_text(json.dumps({**json.loads(text), "key": "another"}), encoding="utf-8")
    yield
    for path, text in zip(paths, kept, strict=True):
        path.write_text(text, encoding="utf-8")


@pytest.mark.usefixtures("unknown_times")
def test_run_without_times_is_uploaded_without_durations(trained: TrainedProject, uri: str) -> None:
    assert "2 runs, 2 of them new" in sync("--tracking-uri", uri)
    (live_client, live), (client, synced) = load_runs(trained.live_uri, trained), load_runs(uri, trained)
    for name in NAMES:
        uploaded, complete = load_points(client, synced[name]), load_points(live_client, live[name])
        assert complete.keys() - uploaded.keys() == {"training_seconds"}
        assert [point[::2] for point in uploaded["loss/val"]] == [point[::2] for point in complete["loss/val"]]
        assert {time for series in uploaded.values() for _, time, _ in series} == {synced[name].info.start_time}
        assert synced[name].info.end_time == synced[name].info.start_time
        assert set(list_files(live_client, live[name], "run")) - set(list_files(client, synced[name], "run")) == {
            "run/timing.json"
        }
    grid = next(run for name, run in synced.items() if name not in NAMES)
    assert grid.info.end_time == grid.info.start_time
    assert "2 runs, nothing to upload." in sync("--tracking-uri", uri)


def test_first_metric_of_a_run_is_the_validation_loss(trained: TrainedProject, uri: str) -> None:
    """MLflow's comparison of runs starts with the metric that was logged first."""
    sync("--tracking-uri", uri)
    for store in (trained.live_uri, uri):
        _, synced = load_runs(store, trained)
        assert {next(iter(synced[name].data.metrics)) for name in NAMES} == {"loss/val"}


def test_run_parameters_have_the_size_of_the_data(trained: TrainedProject, uri: str) -> None:
    sync("--tracking-uri", uri)
    _, synced = load_runs(uri, trained)
    sizes = {name: value for name, value in synced[NAMES[0]].data.params.items() if name.startswith("data.")}
    assert sizes == {
        "data.image_size": "32",
        "data.num_train_images": "12",
        "data.num_val_images": "6",
        "data.num_test_images": "6",
    }
    prepared = DataSummary.read(Project(trained.root))
    assert prepared.parameters({"max_train_images": 5})["data.num_train_images"] == 5
    cell = trained.params.cells()[0].model_dump(mode="json")
    assert not any(name.startswith("data.") for name in collect_parameters(cell, "float32", None))


def read_expected_digest(trained: TrainedProject) -> str:
    return PreparedData(trained.root / PREPARED).dataset.fingerprint[:36]


def test_repeated_sync_uploads_nothing(trained: TrainedProject, uri: str) -> None:
    sync("--tracking-uri", uri)
    client, first = load_runs(uri, trained)
    before = {name: load_points(client, run) for name, run in first.items()}
    assert "2 runs, nothing to upload." in sync("--tracking-uri", uri)
    client, again = load_runs(uri, trained)
    assert {len(run.inputs.dataset_inputs) for run in again.values()} == {2}
    assert {name: load_points(client, run) for name, run in again.items()} == before
    assert {name: run.info.end_time for name, run in again.items()} == {
        name: run.info.end_time for name, run in first.items()
    }


def test_sync_adds_the_verdict_to_runs_of_train(trained: TrainedProject, uri: str) -> None:
    assert "2 runs, 0 of them new; uploaded 0 metric values" in sync(*NAMES)
    _, synced = load_runs(trained.live_uri, trained)
    for name in NAMES:
        assert synced[name].data.tags["pipeline.verdict"] in synced[name].data.tags["mlflow.note.content"]
        assert synced[name].data.tags["pipeline.beats_baseline"] in ("true", "false")
        assert synced[name].data.tags["pipeline.stage"] == "train"  # as logged by `pipeline train`


def test_sync_completes_a_partial_run(trained: TrainedProject, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record = RunFolder(trained.root / RUNS / NAMES[0]).record
    history = read_history(Project(trained.root).run(NAMES[0]))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    partial_run = upload_content(
        trained.params.tracking, name=NAMES[0], key=record.key, status="RUNNING", epochs=create_epochs(history[0])
    )
    sync(NAMES[0])
    client, synced = load_runs(uri, trained)
    run = synced[NAMES[0]]
    assert (run.info.run_id, run.info.status) == (partial_run.run_id, "FINISHED")
    for name, values in load_points(client, run).items():
        steps = [step for step, _, _ in values]
        assert len(steps) == len(set(steps)), name
    assert [step for step, _, _ in load_points(client, run)["loss/val"]] == list(range(1, len(history) + 1))


def test_sync_uploads_a_missing_file_again(trained: TrainedProject, uri: str) -> None:
    sync("--tracking-uri", uri)
    _, synced = load_runs(uri, trained)
    lost = Path(synced[NAMES[0]].info.artifact_uri) / "run" / RunFolder.HISTORY
    lost.unlink()
    assert "uploaded 0 metric values and 1 folder of files" in sync("--tracking-uri", uri)
    assert lost.read_bytes() == (trained.root / RUNS / NAMES[0] / RunFolder.HISTORY).read_bytes()


def test_run_synced_while_other_data_is_prepared_is_completed_later(trained: TrainedProject, uri: str) -> None:
    expected = load_run(trained.live_uri, trained, NAMES[0]).data
    with other_data_prepared(trained):
        sync(NAMES[0], "--tracking-uri", uri)
    partial = load_run(uri, trained, NAMES[0]).data
    assert partial.tags[DATA_FINGERPRINT] == expected.tags[DATA_FINGERPRINT]
    assert "val_dice" in expected.metrics.keys() - partial.metrics.keys()
    sync(NAMES[0], "--tracking-uri", uri)
    assert load_run(uri, trained, NAMES[0]).data.metrics == expected.metrics
    assert "1 run, nothing to upload." in sync(NAMES[0], "--tracking-uri", uri)


def train_again(trained: TrainedProject) -> None:
    """Replace the key of the first run by that of another training."""
    path = trained.root / RUNS / NAMES[0] / RunFolder.RECORD
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"key": OTHER_KEY}), encoding="utf-8")


@pytest.fixture
def kept_record(trained: TrainedProject) -> Iterator[None]:
    """Restore the record of the first run after the test."""
    path = trained.root / RUNS / NAMES[0] / RunFolder.RECORD
    text = path.read_text(encoding="utf-8")
    yield
    path.write_text(text, encoding="utf-8")


@pytest.mark.usefixtures("kept_record")
def test_run_trained_again_while_sync_waits_is_uploaded_with_its_own_files(
    trained: TrainedProject, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def wait_for_training(project: Project, timeout_seconds: float = -1) -> Iterator[None]:
        train_again(trained)
        with upload_lock(project, timeout_seconds):
            yield

    monkeypatch.setattr("pipeline.tracking.sync.upload_lock", wait_for_training)
    sync(NAMES[0], "--tracking-uri", uri)
    run = load_run(uri, trained, NAMES[0])
    assert run.data.tags["pipeline.run_key"] == OTHER_KEY
    assert read_uploaded_key(run) == OTHER_KEY
    assert "gap" not in run.data.metrics  # the evaluation belongs to the first training


@pytest.mark.usefixtures("kept_record")
@pytest.mark.parametrize("lost", [False, True])
def test_run_trained_again_during_its_upload_is_reported_and_uploaded_later(
    trained: TrainedProject, uri: str, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    from mlflow import MlflowClient

    record = trained.root / RUNS / NAMES[0] / RunFolder.RECORD
    text, log_artifact = record.read_text(encoding="utf-8"), MlflowClient.log_artifact

    def log_while_training(client: MlflowClient, *arguments: str) -> None:
        if lost:
            record.unlink(missing_ok=True)
        else:
            train_again(trained)
        log_artifact(client, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifact", log_while_training)
        assert f"{NAMES[0]} was trained again or removed" in sync(NAMES[0], "--tracking-uri", uri, code=1)
    assert "pipeline.sha256.run" not in load_run(uri, trained, NAMES[0]).data.tags
    record.write_text(text, encoding="utf-8")
    sync(NAMES[0], "--tracking-uri", uri)
    run = load_run(uri, trained, NAMES[0])
    assert run.data.tags["pipeline.run_key"] == read_uploaded_key(run) == json.loads(text)["key"]


def read_uploaded_key(run: Run) -> str:
    path = Path(run.info.artifact_uri) / "run" / RunFolder.RECORD
    key: str = json.loads(path.read_text(encoding="utf-8"))["key"]
    return key


def test_grid_summary_run_has_the_report(trained: TrainedProject, uri: str) -> None:
    sync("--tracking-uri", uri)
    client, synced = load_runs(uri, trained)
    (grid,) = [run for name, run in synced.items() if name not in NAMES]
    assert grid.data.metrics == {}  # with metrics, it would be ranked among the runs
    assert grid.data.tags["pipeline.best_run"] in NAMES
    assert grid.info.end_time > grid.info.start_time
    assert "lowest validation loss" in grid.data.tags["mlflow.note.content"]
    assert list_files(client, grid, "report") == ["report/learning-report.html"]
    assert "comparison/summary.json" in list_files(client, grid, "comparison")


def test_sync_does_not_change_a_run_of_another_user(trained: TrainedProject, uri: str) -> None:
    sync("--tracking-uri", uri)
    client, synced = load_runs(uri, trained)
    theirs = synced[NAMES[0]]
    client.set_tag(theirs.info.run_id, "mlflow.user", "somebody else")
    history = trained.root / RUNS / NAMES[0] / RunFolder.HISTORY
    kept = history.read_text()
    head, first, *rest = kept.splitlines()
    fields = first.split(",")
    fields[head.split(",").index("val_loss")] = "0.123"  # as computed by another CPU
    history.write_text("\n".join([head, ",".join(fields), *rest]) + "\n")
    try:
        sync(NAMES[0], "--tracking-uri", uri)
    finally:
        history.write_text(kept)
    experiment = client.get_experiment_by_name(trained.params.tracking.experiment)
    assert experiment is not None
    both = client.search_runs([experiment.experiment_id], f"attributes.run_name = '{NAMES[0]}'")
    assert len({run.data.tags["mlflow.user"] for run in both}) == len(both) == 2
    (again,) = [run for run in both if run.info.run_id == theirs.info.run_id]
    assert load_points(client, again) == load_points(client, theirs)


def test_sync_reports_errors(trained: TrainedProject, uri: str, closed_port: int) -> None:
    assert "'mlflow.db' is not a URI" in sync("--tracking-uri", "mlflow.db", code=1)
    assert "matches no run of the grid" in sync("lite0-*", code=1)
    output = sync("--tracking-uri", f"http://127.0.0.1:{closed_port}", code=1)
    assert "does not answer" in output
    assert "No run was uploaded; run the same command again to upload the others." in output
    assert "missing" not in output


@pytest.mark.parametrize("broken", NAMES)
def test_broken_run_is_reported_after_the_upload_of_the_others(trained: TrainedProject, uri: str, broken: str) -> None:
    history = trained.root / RUNS / broken / RunFolder.HISTORY
    kept = history.read_text(encoding="utf-8")
    try:
        history.write_text(kept.splitlines()[0] + "\n", encoding="utf-8")
        output = sync("--tracking-uri", uri, code=1)
    finally:
        history.write_text(kept, encoding="utf-8")
    assert f"{broken}: history.csv has 0 epochs" in output
    assert "1 of 2 runs are complete in MLflow; run the same command again to upload the others." in output
    _, synced = load_runs(uri, trained)
    (intact,) = {*NAMES} - {broken}
    assert synced[intact].data.tags["pipeline.verdict"]
    assert any(name.startswith("grid-") for name in synced)
    assert broken not in synced


@pytest.mark.usefixtures("unknown_times")
def test_sync_of_a_restored_run_changes_nothing(trained: TrainedProject) -> None:
    client, before = load_runs(trained.live_uri, trained)
    sync("--tracking-uri", trained.live_uri)
    client, after = load_runs(trained.live_uri, trained)
    for name in NAMES:
        assert load_points(client, after[name]) == load_points(client, before[name])
        assert after[name].info.end_time == before[name].info.end_time
        digest = "pipeline.sha256.run"
        assert after[name].data.tags[digest] == before[name].data.tags[digest]


def test_run_that_diverged_in_its_first_epoch_is_uploaded_with_the_others(data_project: Path) -> None:
    grid = {"variant": ["unet"], "learning_rate": [1e30, 0.01], "seed": [0]}
    params = read_params(write_params(data_project, {"grid": grid, "train": {"precision": "float32"}}))
    for cell in params.cells():
        train_and_log(params, cell)
        evaluate_run(params, cell.name)
    assert Project().evaluation("unet-1e+30-0").metrics.validation is None
    compare(params)
    assert "2 runs, 0 of them new" in sync()
    found = open_client(f"sqlite:///{data_project}/mlflow.db").search_runs(["1"])
    runs = {run.info.run_name: run.data for run in found}
    assert len(runs) == 3  # with the grid summary
    assert runs["unet-1e+30-0"].tags["pipeline.verdict"] == "diverged"
    assert runs["unet-0.01-0"].tags["pipeline.verdict"] != "diverged"
