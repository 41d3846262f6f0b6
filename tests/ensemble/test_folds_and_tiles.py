"""An ensemble of the folds of a cross-validation, for images of native size that are predicted in tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from ruamel.yaml import YAML

from pipeline.artifacts.project import TEMPLATES, Project
from pipeline.cli import main
from pipeline.ensemble.evaluate_ensemble import evaluate_ensemble
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.prepare.prepare_data import prepare
from pipeline.report.write_report import write_report
from tests.conftest import ROOT, write_params
from tests.ensemble.conftest import train_and_compare

NUM_IMAGES = 16
DATA = {
    "source": "image_mask_folder",
    "path": "discs",
    "image_size": "native",
    "downscale": 1.0,
    "resize": "letterbox",
    "channels": None,
    "classes": [
        {"name": "ground", "mask_value": 0, "color": "#0072b2", "foreground": False},
        {"name": "disc", "mask_value": 255, "color": "#e69f00", "foreground": True},
    ],
    "ignore_value": None,
    "splits": {"folds": 2, "validation": 0.2, "test": 0.25},
    "showcase_ids": None,
    "seed": 0,
    "max_train_images": None,
}


def write_discs(folder: Path) -> None:
    """Write images of different sizes with a bright disc on dark noise, and their masks."""
    for index in range(NUM_IMAGES):
        random = np.random.default_rng(index)
        height, width = random.integers(36, 70, 2)
        y, x = np.mgrid[:height, :width]
        row, column = random.integers(8, height - 8), random.integers(8, width - 8)
        disc = (y - row) ** 2 + (x - column) ** 2 < 49
        image = random.integers(0, 90, (height, width, 3)) + 140 * disc[..., None]
        for name, pixels in (("images", image), ("masks", 255 * disc)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{index:02}.png")


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with two folds of a setting; tests must not change it."""
    root = tmp_path_factory.mktemp("folds")
    write_discs(root / "discs")
    (root / TEMPLATES).parent.mkdir()
    (root / TEMPLATES).symlink_to(ROOT / TEMPLATES)
    (root / "reports/notes.md").write_text("A note.", encoding="utf-8")
    grid = {"variant": ["unet"], "learning_rate": [0.01], "seed": [0, 1]}
    path = write_params(root, {"grid": grid, "train": {"patch_size": 32, "epochs": 4}, "evaluation": {"examples": 2}})
    yaml = YAML(typ="safe")
    content = yaml.load(path.read_text(encoding="utf-8"))
    content["data"] = DATA
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        params = read_params()
        prepare(params, Path("data/prepared"))
        train_and_compare(params)
        evaluate_ensemble(params)
    return root


@pytest.fixture
def params(folds: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.chdir(folds)
    return read_params()


def test_folds_are_scored_on_test_only(params: Params) -> None:
    project = Project()
    record = project.ensemble.record
    assert [project.run(member.run).record.fold for member in record.members] == [0, 1]
    assert record.splits == ("test",)
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
