"""`pipeline sync` uploads from a run's folder what `pipeline train` uploads while the run trains."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pipeline.artifacts.prepared_data import PreparedData
from pipeline.artifacts.project import PREPARED, RUNS, TEMPLATES
from pipeline.artifacts.run_folder import RunFolder
from pipeline.cli import main
from pipeline.compare.compare_runs import compare
from pipeline.evaluate.evaluate_run import evaluate_run
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.report.render_report import render_report
from pipeline.tracking.run_metrics import DataSummary, read_history, run_parameters
from pipeline.tracking.store import open_client
from pipeline.tracking.sync import sync_runs
from pipeline.train.train_cell import train_and_log
from tests.conftest import ROOT, write_params
from tests.tracking.conftest import epochs, upload_content

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

NAMES = ("unet-0.01-0", "unet-0.001-0")
CHANGES: dict[str, Any] = {"grid": {"variant": ["unet"], "learning_rate": [0.01, 0.001], "seed": [0]}}


@dataclass(frozen=True)
class Trained:
    """A project whose runs are trained, evaluated, compared and rendered, with a store that was written meanwhile."""

    root: Path
    params: Params
    live: str


@pytest.fixture(scope="module")
def trained(prepared: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    root = tmp_path_factory.mktemp("sync") / "project"
    shutil.copytree(prepared, root)
    for name in (TEMPLATES, Path("reports/notes.md")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(ROOT / name)
    shutil.copy(store, root / "live.db")
    live = f"sqlite:///{root}/live.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("DVC_ROOT", raising=False)
        patch.setenv("MLFLOW_TRACKING_URI", live)
        params = read_params(write_params(root, CHANGES))
        for cell in params.cells():
            train_and_log(params, cell)
            evaluate_run(params, cell.name)
        list(sync_runs(params, NAMES))
        compare(params)
        render_report(params)
        yield Trained(root, params, live)


@pytest.fixture
def uri(trained: Trained, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An MLflow without runs."""
    monkeypatch.chdir(trained.root)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    shutil.copy(store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


def sync(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["sync", *arguments])
    assert done.exit_code == code, done.output
    return done.output


def stored(uri: str, trained: Trained) -> tuple[MlflowClient, dict[str, Run]]:
    """The runs by name; a name that stands there twice is no mapping."""
    client = open_client(uri)
    experiment = client.get_experiment_by_name(trained.params.tracking.experiment)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    by_name = {run.info.run_name: run for run in found}
    assert len(by_name) == len(found)
    return client, by_name


def points(client: MlflowClient, run: Run) -> dict[str, list[tuple[int, int, float]]]:
    return {
        name: [(one.step, one.timestamp, one.value) for one in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }


def files(client: MlflowClient, run: Run, under: str) -> list[str]:
    return sorted(item.path for item in client.list_artifacts(run.info.run_id, under))


def test_mlflow_gets_what_it_would_have_been_told_live(trained: Trained, uri: str) -> None:
    said = sync("--tracking-uri", uri)
    assert "2 runs, 2 of them new" in said
    (live_client, live), (client, found) = stored(trained.live, trained), stored(uri, trained)
    assert set(live) == set(NAMES) < set(found)
    for name in NAMES:
        assert points(client, found[name]) == points(live_client, live[name])
        assert found[name].data.params == live[name].data.params
        assert found[name].info.status == live[name].info.status == "FINISHED"
        assert found[name].data.tags["pipeline.run_key"] == live[name].data.tags["pipeline.run_key"]
        assert found[name].inputs == live[name].inputs
        inputs = found[name].inputs.dataset_inputs
        assert {one.dataset.digest for one in inputs} == {live_digest(trained)}
        contexts = {one.tags[0].value: one.dataset.name for one in inputs}
        assert sorted(contexts) == ["train", "validation"]
        assert len({*contexts.values()}) == 2
        for under in ("run", "evaluation", "evaluation/examples"):
            assert files(client, found[name], under) == files(live_client, live[name], under) != []


@pytest.fixture(params=["missing", "of another training"])
def unknown_times(trained: Trained, request: pytest.FixtureRequest) -> Iterator[None]:
    """The times of both runs, as DVC leaves them when it restores a run."""
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
def test_a_run_whose_times_are_unknown_is_sent_without_durations(trained: Trained, uri: str) -> None:
    assert "2 runs, 2 of them new" in sync("--tracking-uri", uri)
    (live_client, live), (client, found) = stored(trained.live, trained), stored(uri, trained)
    for name in NAMES:
        sent, complete = points(client, found[name]), points(live_client, live[name])
        assert complete.keys() - sent.keys() == {"training_seconds"}
        assert [point[::2] for point in sent["loss/val"]] == [point[::2] for point in complete["loss/val"]]
        assert {time for series in sent.values() for _, time, _ in series} == {found[name].info.start_time}
        assert found[name].info.end_time == found[name].info.start_time
        assert set(files(live_client, live[name], "run")) - set(files(client, found[name], "run")) == {
            "run/timing.json"
        }
    grid = next(run for name, run in found.items() if name not in NAMES)
    assert grid.info.end_time == grid.info.start_time
    assert "2 runs, complete before." in sync("--tracking-uri", uri)


def test_the_view_that_compares_runs_begins_with_the_yardstick(trained: Trained, uri: str) -> None:
    """It takes the first of a run's metrics, in the order in which they came."""
    sync("--tracking-uri", uri)
    for place in (trained.live, uri):
        _, found = stored(place, trained)
        assert {next(iter(found[name].data.metrics)) for name in NAMES} == {"loss/val"}


def test_parameters_say_how_large_the_data_is(trained: Trained, uri: str) -> None:
    sync("--tracking-uri", uri)
    _, found = stored(uri, trained)
    sizes = {name: value for name, value in found[NAMES[0]].data.params.items() if name.startswith("data.")}
    assert sizes == {
        "data.image_size": "32",
        "data.num_train_images": "12",
        "data.num_val_images": "6",
        "data.num_test_images": "6",
    }
    prepared = DataSummary.read(trained.root)
    assert prepared.parameters(5)["data.num_train_images"] == 5
    cell = trained.params.cells()[0].model_dump(mode="json")
    assert not any(name.startswith("data.") for name in run_parameters(cell, "float32", None))


def live_digest(trained: Trained) -> str:
    return PreparedData(trained.root / PREPARED).dataset.fingerprint[:36]


def test_a_second_time_nothing_is_sent(trained: Trained, uri: str) -> None:
    sync("--tracking-uri", uri)
    client, first = stored(uri, trained)
    before = {name: points(client, run) for name, run in first.items()}
    assert "2 runs, complete before." in sync("--tracking-uri", uri)
    client, again = stored(uri, trained)
    assert {len(run.inputs.dataset_inputs) for run in again.values()} == {2}
    assert {name: points(client, run) for name, run in again.items()} == before
    assert {name: run.info.end_time for name, run in again.items()} == {
        name: run.info.end_time for name, run in first.items()
    }


def test_what_was_told_live_lacks_only_the_verdict(trained: Trained, uri: str) -> None:
    assert "2 runs, 0 of them new; uploaded 0 points" in sync(*NAMES)
    _, found = stored(trained.live, trained)
    for name in NAMES:
        assert found[name].data.tags["pipeline.verdict"] in found[name].data.tags["mlflow.note.content"]
        assert found[name].data.tags["pipeline.beats_baseline"] in ("true", "false")
        assert found[name].data.tags["pipeline.stage"] == "train"  # as it was told live


def test_half_a_run_is_completed(trained: Trained, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record = RunFolder(trained.root / RUNS / NAMES[0]).record
    history = read_history(trained.root / RUNS / NAMES[0])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    half = upload_content(
        trained.params.tracking, name=NAMES[0], key=record.key, status="RUNNING", epochs=epochs(history[0])
    )
    sync(NAMES[0])
    client, found = stored(uri, trained)
    run = found[NAMES[0]]
    assert (run.info.run_id, run.info.status) == (half.run_id, "FINISHED")
    for name, values in points(client, run).items():
        steps = [step for step, _, _ in values]
        assert len(steps) == len(set(steps)), name
    assert [step for step, _, _ in points(client, run)["loss/val"]] == list(range(1, len(history) + 1))


def test_a_file_that_the_store_lost_is_sent_again(trained: Trained, uri: str) -> None:
    sync("--tracking-uri", uri)
    _, found = stored(uri, trained)
    lost = Path(found[NAMES[0]].info.artifact_uri) / "run" / RunFolder.HISTORY
    lost.unlink()
    assert "uploaded 0 points and 1 folders" in sync("--tracking-uri", uri)
    assert lost.read_bytes() == (trained.root / RUNS / NAMES[0] / RunFolder.HISTORY).read_bytes()


def test_the_grid_has_a_run_of_its_own_with_the_report(trained: Trained, uri: str) -> None:
    sync("--tracking-uri", uri)
    client, found = stored(uri, trained)
    (grid,) = [run for name, run in found.items() if name not in NAMES]
    assert grid.data.metrics == {}  # or it would stand among the runs that are ranked, and above their charts
    assert grid.data.tags["pipeline.best_run"] in NAMES
    assert grid.info.end_time > grid.info.start_time
    assert "lowest validation loss" in grid.data.tags["mlflow.note.content"]
    assert files(client, grid, "report") == ["report/learning-report.html"]
    assert "comparison/summary.json" in files(client, grid, "comparison")


def test_somebody_elses_run_is_left_alone(trained: Trained, uri: str) -> None:
    sync("--tracking-uri", uri)
    client, found = stored(uri, trained)
    theirs = found[NAMES[0]]
    client.set_tag(theirs.info.run_id, "mlflow.user", "somebody else")
    history = trained.root / RUNS / NAMES[0] / RunFolder.HISTORY
    kept = history.read_text()
    head, first, *rest = kept.splitlines()
    fields = first.split(",")
    fields[head.split(",").index("val_loss")] = "0.123"  # as another processor would have it
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
    assert points(client, again) == points(client, theirs)


def test_a_mistake_is_answered(trained: Trained, uri: str, closed_port: int) -> None:
    assert "'mlflow.db' is not a URI" in sync("--tracking-uri", "mlflow.db", code=1)
    assert "matches no run of the grid" in sync("lite0-*", code=1)
    said = sync("--tracking-uri", f"http://127.0.0.1:{closed_port}", code=1)
    assert "does not answer" in said
    assert "No run was uploaded; the same command uploads the rest." in said
    assert "missing" not in said


def test_track_failing_half_way_counts_the_complete_runs(trained: Trained, uri: str) -> None:
    history = trained.root / RUNS / NAMES[1] / RunFolder.HISTORY
    kept = history.read_text(encoding="utf-8")
    try:
        history.write_text(kept.splitlines()[0] + "\n", encoding="utf-8")
        said = sync("--tracking-uri", uri, code=1)
    finally:
        history.write_text(kept, encoding="utf-8")
    assert "1 of 2 runs are complete in MLflow; the same command uploads the rest." in said


@pytest.mark.usefixtures("unknown_times")
def test_a_restored_run_changes_nothing_of_the_run_that_was_sent_live(trained: Trained) -> None:
    client, before = stored(trained.live, trained)
    sync("--tracking-uri", trained.live)
    client, after = stored(trained.live, trained)
    for name in NAMES:
        assert points(client, after[name]) == points(client, before[name])
        assert after[name].info.end_time == before[name].info.end_time
        digest = "pipeline.sha256.run"
        assert after[name].data.tags[digest] == before[name].data.tags[digest]
