"""Predict, rank, promote and use the ensemble in Python."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result
from PIL import Image

import pipeline
from pipeline.artifacts.ensemble_folder import compute_ensemble_key
from pipeline.artifacts.project import Project
from pipeline.cli import main
from pipeline.compare.compare_runs import compare
from pipeline.errors import PipelineError
from pipeline.inference.trained_run import TrainedRun
from pipeline.number_format import format_spread
from pipeline.params.file import read_params
from pipeline.tracking.store import open_client
from pipeline.tracking.tags import RUN_KEY
from tests.ensemble.conftest import MEMBERS, write_grid

NAME = "learning-report"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with five images of different contrast and size."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(5):
        random = np.random.default_rng(index)
        pixels = random.integers(0, 30 + 55 * index, (40 + 5 * index, 60 - 4 * index, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")
    return folder


def run_predict(photos: Path, *arguments: str, code: int = 0) -> Result:
    out = photos.parent / "out"
    done = CliRunner().invoke(main, ["predict", str(photos), "--out", str(out), *arguments])
    assert done.exit_code == code, done.output
    return done


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def predict_members(root: Path, *runs: str) -> list[np.ndarray]:
    """Predict a test image with each of these runs: class probabilities, classes x H x W."""
    params, project = read_params(root / "params.yaml"), Project(root)
    image = project.prepared.open_split("test").images[0]
    return [next(TrainedRun.load(params, run, project).predict_batch([image])) for run in runs]


def test_ensemble_predicts_the_mean_of_its_members(seeds_copy: Path) -> None:
    members, ensemble = predict_members(seeds_copy, *MEMBERS), predict_members(seeds_copy, "ensemble")[0]
    assert ensemble == pytest.approx(np.mean(members, axis=0), abs=1e-6)


def test_ensemble_is_the_best_run_with_a_key_of_all_members(seeds_copy: Path) -> None:
    project = Project(seeds_copy)
    found = TrainedRun.load(read_params(), "ensemble", project)
    best = project.comparison.summary.best
    assert best is not None
    assert found.record.run == best.run
    assert found.key == compute_ensemble_key((project.run(run).record.key for run in MEMBERS), 1.0)
    assert found.key == project.ensemble.record.key


def test_flips_average_an_image_and_its_mirror_image(seeds_copy: Path) -> None:
    params, project = read_params(), Project()
    image = project.prepared.open_split("test").images[0]
    for name in (MEMBERS[0], "ensemble"):
        run = TrainedRun.load(params, name, project)
        (plain,), (mirrored,) = ([*run.predict_batch([one])] for one in (image, image[:, ::-1]))
        (found,) = run.average_flips().predict_batch([image])
        assert found == pytest.approx((plain + mirrored[:, :, ::-1]) / 2, abs=1e-5)


def test_predict_with_the_ensemble_writes_masks(seeds_copy: Path, photos: Path) -> None:
    done = run_predict(photos, "--run", "ensemble", "--flips")
    assert done.output.startswith(f"The ensemble of {MEMBERS[0]}, {MEMBERS[1]} and {MEMBERS[2]} was trained on")
    assert len(list((photos.parent / "out/masks").glob("*.png"))) == 5
    assert not (photos.parent / "out/uncertainty.csv").exists()


def test_ranking_by_the_ensemble_is_that_of_the_disagreement(seeds_copy: Path, photos: Path) -> None:
    done = run_predict(photos, "--run", "ensemble", "--rank-by-uncertainty")
    rows = read_table(photos.parent / "out/uncertainty.csv")
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", "5"]
    disagreements = [float(row["disagreement"]) for row in rows]
    assert disagreements == sorted(disagreements, reverse=True)
    assert all(0 <= float(row["disagreement"]) <= float(row["entropy"]) <= math.log(3) for row in rows)
    lines = done.output.partition("most uncertain images")[2].splitlines()[1:6]
    assert [line.split()[0] for line in lines] == ["1", "2", "3", "4", "5"]
    for line, row in zip(lines, rows, strict=True):
        assert Path(row["file"]).name in line


def test_ranking_by_one_run_is_that_of_the_entropy(seeds_copy: Path, photos: Path) -> None:
    done = run_predict(photos, "--run", MEMBERS[0], "--rank-by-uncertainty", "--json")
    rows = read_table(photos.parent / "out/uncertainty.csv")
    entropies = [float(row["entropy"]) for row in rows]
    assert entropies == sorted(entropies, reverse=True)
    assert {row["disagreement"] for row in rows} == {""}
    content = json.loads(done.stdout)
    assert content["run"] == MEMBERS[0]
    assert [one["file"] for one in content["ranked"]] == [row["file"] for row in rows]
    assert {one["disagreement"] for one in content["ranked"]} == {None}


def test_ranking_has_the_entropy_of_the_image_without_padding(seeds_copy: Path, photos: Path) -> None:
    """The tiny images are padded to a square, whose padding must not count."""
    run_predict(photos, "--run", "ensemble", "--rank-by-uncertainty")
    (row,) = (one for one in read_table(photos.parent / "out/uncertainty.csv") if Path(one["file"]).name == "4.png")
    run = TrainedRun.load(read_params(), "ensemble", Project())
    image = run.preprocessing.read_image((photos / "4.png").read_bytes())
    (probs,) = run.predict_batch([run.preprocessing.create_input(image)])
    inner = probs[:, *run.preprocessing.resizing.locate_inner(image.shape)]
    assert inner.size < probs.size
    entropy = -(inner * np.log(inner)).sum(axis=0).mean()
    assert float(row["entropy"]) == pytest.approx(entropy, abs=1e-4)


def test_masks_are_the_same_with_and_without_the_ranking(seeds_copy: Path, photos: Path) -> None:
    masks = photos.parent / "out/masks"
    run_predict(photos, "--run", "ensemble")
    plain = {path.name: np.asarray(Image.open(path)) for path in masks.iterdir()}
    run_predict(photos, "--run", "ensemble", "--rank-by-uncertainty")
    ranked = {path.name: np.asarray(Image.open(path)) for path in masks.iterdir()}
    assert plain.keys() == ranked.keys()
    assert all((plain[name] == ranked[name]).mean() > 0.999 for name in plain)  # the batches have other sizes


def test_skipped_images_are_not_ranked(seeds_copy: Path, photos: Path) -> None:
    (photos / "broken.png").write_bytes(b"nothing")
    run_predict(photos, "--run", "ensemble", "--rank-by-uncertainty", code=1)
    assert len(read_table(photos.parent / "out/uncertainty.csv")) == 5


@pytest.mark.parametrize("command", [["predict", "photos"], ["promote"]])
def test_commands_without_an_ensemble_say_what_to_do(seeds_copy: Path, command: list[str]) -> None:
    (seeds_copy / "photos").mkdir()
    compare(write_grid(seeds_copy, [0]))
    done = CliRunner().invoke(main, [*command, "--run", "ensemble"])
    assert done.exit_code == 1
    assert "has only one" in done.output
    assert "make report" in done.output


def test_corrupted_member_is_named(seeds_copy: Path, photos: Path) -> None:
    Project(seeds_copy).run(MEMBERS[2]).weights.write_bytes(b"damaged")
    done = run_predict(photos, "--run", "ensemble", code=1)
    assert f"dvc repro --force train@{MEMBERS[2]}" in done.output


@pytest.mark.parametrize(("typed", "expected"), [("e", ["ensemble"]), ("b", ["best"]), ("unet-0.01-1", [MEMBERS[1]])])
def test_completion_offers_runs_and_the_ensemble(seeds_copy: Path, typed: str, expected: list[str]) -> None:
    completions = ShellComplete(main, {}, "pipeline", "_PIPELINE_COMPLETE").get_completions(["predict", "--run"], typed)
    assert [item.value for item in completions] == expected


def test_notebook_has_scores_and_predictions_of_the_ensemble(seeds_copy: Path) -> None:
    project = pipeline.open(".")
    ensemble = project.run("ensemble")
    assert ensemble.members == list(MEMBERS)
    record = Project().ensemble.record
    loss = ensemble.scores.query("split == 'test' and score == 'loss'").iloc[0]
    row = record.find_score("test", "loss")
    assert row is not None
    assert loss["ensemble"] == row.ensemble
    assert len(ensemble.images) == 12
    image = Project().prepared.open_split("test").images[0]
    members = [project.run(name).predict(image).probabilities for name in MEMBERS]
    assert ensemble.predict(image).probabilities == pytest.approx(np.mean(members, axis=0), abs=1e-6)
    assert MEMBERS[1] in ensemble._repr_html_()


def test_notebook_without_an_ensemble_states_the_reason(seeds_copy: Path) -> None:
    compare(write_grid(seeds_copy, [0]))
    with pytest.raises(PipelineError, match="has only one"):
        pipeline.open(".").run("ensemble")


def test_exported_ensemble_and_coco_scores_are_those_of_the_ensemble(seeds_copy: Path, photos: Path) -> None:
    done = CliRunner().invoke(main, ["export", "--run", "ensemble", "--json"])
    assert done.exit_code == 0, done.output
    exported = json.loads(done.output)
    assert exported["file"] == "exports/ensemble.onnx"
    trained = TrainedRun.load(read_params(), "ensemble", Project())
    assert exported["run"] == trained.describe()
    image = Project().prepared.open_split("test").images[0]
    session = onnxruntime.InferenceSession("exports/ensemble.onnx")
    (found,) = session.run(None, {"images": image.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)})
    np.testing.assert_allclose(found[0], next(trained.predict_batch([image])), atol=0.02)  # trained in bfloat16
    run_predict(photos, "--run", "ensemble", "--format", "coco")
    content = json.loads((photos.parent / "out/coco.json").read_text(encoding="utf-8"))
    assert content["info"]["description"] == f"Predicted by {trained.describe()}"
    assert all(1 / 3 < one["score"] <= 1 for one in content["annotations"])


@pytest.mark.timeout(300)
def test_promoted_ensemble_is_one_network_with_its_own_scores(seeds_copy: Path) -> None:
    done = CliRunner().invoke(main, ["promote", "--run", "ensemble", "--json"])
    assert done.exit_code == 0, done.output
    project, client = Project(seeds_copy), open_client(f"sqlite:///{seeds_copy / 'mlflow.db'}")
    version, record = client.get_model_version(NAME, "1"), project.ensemble.record
    best = project.comparison.summary.best
    assert best is not None
    run = client.get_run(str(version.run_id))
    assert run.info.run_name == best.run
    assert version.tags[RUN_KEY] == record.key
    assert version.tags["run"] == "ensemble"
    assert float(version.tags["agreement"]) >= 0.999
    for tag, split in (("val_loss", "validation"), ("test_loss", "test")):
        row = record.find_score(split, "loss")
        assert row is not None
        assert version.tags[tag] == f"{row.ensemble:.4f}"
        members = format_spread(row.members_mean, row.members_sd, 4)
        assert f"| {tag} | {row.ensemble:.4f} | {members} |" in version.description
    assert all(f"`{member}`" in version.description for member in MEMBERS)
    assert "3 networks" in version.description
    (model,) = Path(str(run.info.artifact_uri)).glob("ensemble-*")
    assert [path.name for path in (model / "artifacts").glob("*.onnx*")] == ["network.onnx"]
    again = CliRunner().invoke(main, ["promote", "--run", "ensemble"])
    assert "version 1, already registered" in again.output
    assert client.get_model_version(NAME, "1").description == version.description
