"""The best run is the same in MLflow's tags, the grid summary, the report, `predict` and `promote`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from pipeline.analysis.ranked_metric import get_ranked_metric
from pipeline.artifacts import project as artifacts
from pipeline.artifacts.comparison import Summary
from pipeline.artifacts.project import EVALUATION
from pipeline.cli import main
from pipeline.compare.compare_runs import compare
from pipeline.evaluate.evaluate_run import evaluate_run
from pipeline.inference.trained_run import find_best_run
from pipeline.number_format import format_spread
from pipeline.params.file import read_params
from pipeline.report.run_selection import select_runs
from pipeline.tracking.grid_summary import MAX_SETTINGS, format_settings
from pipeline.tracking.saved_view import SETTINGS_VIEW, TAG, VIEW, describe_ranking
from pipeline.tracking.store import open_client
from pipeline.tracking.tags import BEST_OF, BEST_RUN, GRID_STAGE, RANK_BY, SETTING, STAGE, name_setting
from pipeline.train.train_cell import train_cell
from tests.conftest import write_params

if TYPE_CHECKING:
    from mlflow.entities import Run

SEEDS = [0, 1, 2]


@dataclass(frozen=True)
class Project:
    """A project with three seeds of one setting."""

    root: Path

    def compare_seeds(self, seeds: list[int]) -> Summary:
        grid: dict[str, Any] = {"variant": ["unet"], "learning_rate": [0.01], "seed": seeds}
        return compare(read_params(write_params(self.root, {"grid": grid})))


@pytest.fixture(scope="module")
def project(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    root = tmp_path_factory.mktemp("best") / "project"
    shutil.copytree(prepared, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("DVC_ROOT", raising=False)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/live.db")
        project = Project(root)
        params = read_params(
            write_params(root, {"grid": {"variant": ["unet"], "learning_rate": [0.01], "seed": SEEDS}})
        )
        for cell in params.cells():
            train_cell(cell)
            evaluate_run(params, cell.name)
        yield project


@pytest.fixture
def uri(project: Project, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store without runs."""
    monkeypatch.chdir(project.root)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    shutil.copy(store, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


def sync() -> None:
    done = CliRunner().invoke(main, ["sync"])
    assert done.exit_code == 0, done.output


def load_runs(uri: str) -> list[Run]:
    client = open_client(uri)
    experiment = client.get_experiment_by_name("learning-report")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def load_best_tags(uri: str) -> dict[str, str]:
    return {run.info.run_name: run.data.tags[BEST_OF] for run in load_runs(uri) if BEST_OF in run.data.tags}


def test_best_run_is_the_median_seed_everywhere(project: Project, uri: str) -> None:
    summary = project.compare_seeds(SEEDS)
    sync()
    assert summary.best is not None
    best = summary.best.run
    by_loss = sorted(
        (run.data.metrics["val_loss_best"], run.info.run_name)
        for run in load_runs(uri)
        if "val_loss_best" in run.data.metrics
    )
    assert [name for _, name in by_loss].index(best) == 1  # another seed has the lowest loss
    assert list(load_best_tags(uri)) == [best]
    assert [run.data.tags[BEST_RUN] for run in load_runs(uri) if BEST_RUN in run.data.tags] == [best]
    assert select_runs(summary, "best").names == (best,)
    assert find_best_run(artifacts.Project(project.root)) == best
    note = describe_ranking(get_ranked_metric(summary))
    assert "ordered by val_loss_best" in note
    assert BEST_OF in note


def test_mark_best_run_follows_the_best_run_of_each_user(
    project: Project, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compare_and_sync(user: str, seeds: list[int]) -> str:
        monkeypatch.setenv("LOGNAME", user)
        summary = project.compare_seeds(seeds)
        sync()
        assert summary.best is not None
        return summary.best.run

    first = compare_and_sync("mia", SEEDS)
    assert load_best_tags(uri) == {first: "mia"}
    other = next(seed for seed in SEEDS if not first.endswith(f"-{seed}"))
    second = compare_and_sync("tom", [other])
    assert load_best_tags(uri) == {first: "mia", second: "tom"}
    assert compare_and_sync("mia", [other]) == second
    assert load_best_tags(uri) == {second: "mia; tom"}
    shutil.move(project.root / EVALUATION / second, project.root / "aside")
    try:  # no setting is complete, so no run is the best
        monkeypatch.setenv("LOGNAME", "tom")
        assert project.compare_seeds([other]).best is None
        sync()
        assert load_best_tags(uri) == {second: "mia"}
    finally:
        shutil.move(project.root / "aside", project.root / EVALUATION / second)


def test_grid_summary_ranks_settings_with_their_spread(project: Project, uri: str) -> None:
    def read_notes() -> list[str]:
        return [run.data.tags["mlflow.note.content"] for run in load_runs(uri) if run.data.tags[STAGE] == GRID_STAGE]

    (setting,) = project.compare_seeds(SEEDS).settings
    sync()
    (note,) = read_notes()
    loss = format_spread(setting.val_loss_mean, setting.val_loss_sd)
    assert f"| 1 | unet | 0.01 | 3 of 3 | {loss} |" in note
    assert "Test, best setting only: loss " in note
    (single,) = project.compare_seeds(SEEDS[:1]).settings
    sync()
    assert len(read_notes()) == 2  # one per grid
    assert any(f"| 1 | unet | 0.01 | 1 of 1 | {single.val_loss_mean:.3f} |" in note for note in read_notes())


def test_ranking_by_another_metric_is_shown_in_mlflow(project: Project, uri: str) -> None:
    grid: dict[str, Any] = {"variant": ["unet"], "learning_rate": [0.01], "seed": SEEDS}
    params = read_params(write_params(project.root, {"grid": grid, "compare": {"rank_by": "image_dice"}}))
    summary = compare(params)
    sync()
    runs = {run.info.run_name: run for run in load_runs(uri)}
    values = {name: run.data.metrics["val_image_dice"] for name, run in runs.items() if "seed" in run.data.params}
    assert summary.best is not None
    assert values[summary.best.run] == pytest.approx(median(values.values()))
    (grid_run,) = (run for run in runs.values() if run.data.tags[STAGE] == GRID_STAGE)
    assert (grid_run.data.tags[RANK_BY], grid_run.data.tags[BEST_RUN]) == ("image_dice", summary.best.run)
    client = open_client(uri)
    experiment = client.get_experiment_by_name("learning-report")
    assert experiment is not None
    for view in (VIEW, SETTINGS_VIEW):
        saved = json.loads(experiment.tags[f"{TAG}{view}"])
        state = json.loads(saved["state"])
        assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`val_image_dice`", False)
        assert "Dice by image" in saved["name"]


def test_unranked_settings_are_last_and_have_no_rank(project: Project) -> None:
    summary = project.compare_seeds(SEEDS)
    (setting,) = summary.settings
    diverged = replace(setting, learning_rate=1.0, finished=2, ranked=False, val_loss_mean=0.001)
    worse = replace(setting, learning_rate=0.5, val_loss_mean=9.0)
    lines = format_settings(replace(summary, settings=(diverged, worse, setting))).splitlines()[2:5]
    assert [line.split(" | ")[:4] for line in lines] == [
        ["| 1", "unet", "0.01", "3 of 3"],
        ["| 2", "unet", "0.5", "3 of 3"],
        ["| –", "unet", "1.0", "2 of 3"],
    ]
    many = replace(summary, settings=(setting,) * (MAX_SETTINGS + 5))
    assert "`comparison/settings.csv` has 5 more." in format_settings(many)


def test_runs_of_a_setting_have_the_same_tag(project: Project, uri: str) -> None:
    project.compare_seeds(SEEDS)
    sync()
    runs = [run for run in load_runs(uri) if "seed" in run.data.params]
    (setting,) = {run.data.tags[SETTING] for run in runs}
    assert setting.startswith("0.01 unet (")
    record = artifacts.Project(project.root).run(runs[0].info.run_name).record
    assert name_setting(record.cell, record.data_fingerprint) == setting
    longer = {**record.cell, "train": {**record.cell["train"], "epochs": 99}}
    assert len({setting, name_setting(longer, record.data_fingerprint), name_setting(record.cell, "0" * 64)}) == 3
    assert not [run for run in load_runs(uri) if "seed" not in run.data.params and SETTING in run.data.tags]
