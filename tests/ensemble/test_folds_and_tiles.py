"""An ensemble of the folds of a cross-validation, for images of native size that are predicted in tiles."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.artifacts.project import Project
from pipeline.cli import main
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.report.write_report import write_report
from tests.ensemble.conftest import create_disc_project


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with two folds of a setting; tests must not change it."""
    root = tmp_path_factory.mktemp("folds")
    create_disc_project(root, 16, {"folds": 2, "validation": 0.2, "test": 0.25}, epochs=4)
    return root


@pytest.fixture
def params(folds: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.chdir(folds)
    return read_params()


def test_folds_are_scored_on_test_only(params: Params) -> None:
    project = Project()
    record = project.ensemble.record
    assert [project.run(member.run).record.fold for member in record.members] == [0, 1]
    assert record.splits == tuple(record.unscaled) == ("test",)
    assert record.temperature.value == 1
    assert "folds" in record.temperature.reason
    assert record.example_split == "test"
    assert {row.split for row in record.scores} == {"test"}
    assert set(project.ensemble.read_images()["split"]) == {"test"}


def test_report_says_why_folds_have_no_validation_scores(params: Params) -> None:
    page = write_report(params).path.read_text(encoding="utf-8")
    section = page.partition('<section id="ensemble">')[2].partition("</section>")[0]
    assert "scored on the test images only" in section
    assert "On the validation images" not in section


def test_maps_cover_images_of_native_size(params: Params) -> None:
    project = Project()
    test = project.prepared.open_split("test")
    for example in project.ensemble.record.examples:
        maps = project.ensemble.read_example(example.id)
        shape = test.images[test.ids.index(example.id)].shape[:2]
        assert maps.prediction.shape == maps.entropy.shape == maps.disagreement.shape == shape
        assert maps.entropy.mean() == pytest.approx(example.entropy, abs=1e-3)


def test_ranking_of_native_images_is_that_of_the_stage(params: Params, tmp_path: Path) -> None:
    project = Project()
    rows = project.ensemble.read_images().sort_values("disagreement", ascending=False)
    paths = [f"discs/images/{sample}.png" for sample in rows["id"]]
    out = tmp_path / "out"
    done = CliRunner().invoke(
        main, ["predict", *paths, "--run", "ensemble", "--rank-by-uncertainty", "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    lines = (out / "uncertainty.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert [line.split(",")[1] for line in lines] == paths
    disagreements = [float(line.split(",")[2]) for line in lines]
    assert disagreements == pytest.approx(rows["disagreement"].to_list(), abs=1e-4)
