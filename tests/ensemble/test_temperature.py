"""The temperature of an ensemble: the stage fits it, and evaluation, prediction and the exported network apply it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner
from PIL import Image

import pipeline
from pipeline.artifacts.ensemble_folder import EnsembleRecord
from pipeline.artifacts.project import ENSEMBLE, Project
from pipeline.cli import main
from pipeline.inference.preprocessing import Probs
from pipeline.inference.trained_run import TrainedRun
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.promote.ensemble_card import EnsembleCard
from pipeline.promote.evidence import collect_evidence
from pipeline.promote.onnx_export import export_onnx
from pipeline.report.write_report import write_report
from tests.ensemble.conftest import MEMBERS, create_disc_project, set_temperature

TEMPERATURE = 0.6


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with the ensemble of two seeds on images of native size; tests must not change it.

    The masks have noise, so that the networks cannot be certain.
    """
    root = tmp_path_factory.mktemp("discs")
    create_disc_project(root, 40, {"validation": 0.5, "test": 0.2}, epochs=3, mask_noise=0.2)
    return root


@pytest.fixture
def params(discs: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.chdir(discs)
    return read_params()


def get_value(record: EnsembleRecord, split: str, score: str) -> float:
    row = record.find_score(split, score)
    assert row is not None
    assert row.ensemble is not None
    return row.ensemble


def scale(probs: Probs) -> Probs:
    powers = probs ** (1 / TEMPERATURE)
    scaled: Probs = powers / powers.sum(axis=0)
    return scaled


def load_with_temperature() -> tuple[TrainedRun, Probs]:
    """Load the ensemble with a temperature, and the mean probabilities of its members for a test image."""
    set_temperature(Path(), TEMPERATURE)
    project = Project()
    image = project.prepared.open_split("test").images[0]
    members = [next(TrainedRun.load(read_params(), run, project).predict_batch([image])) for run in MEMBERS]
    return TrainedRun.load(read_params(), "ensemble", project), np.mean(members, axis=0)


def test_stage_fits_the_temperature_with_the_lowest_validation_loss(params: Params) -> None:
    project = Project()
    record = project.ensemble.record
    assert record.temperature.reason == ""
    assert record.temperature.value != 1
    validation = project.prepared.open_split("validation")
    run = TrainedRun.load(params, "ensemble", project)
    losses = {
        factor: run.with_temperature(record.temperature.value * factor).predict_split(validation).loss
        for factor in (0.97, 1.0, 1.03)
    }
    assert min(losses, key=lambda factor: losses[factor]) == 1
    assert get_value(record, "validation", "loss") == pytest.approx(losses[1], abs=1e-6)
    before = record.unscaled["validation"]
    assert before.loss is not None
    assert before.loss == pytest.approx(run.with_temperature(1).predict_split(validation).loss, abs=1e-6)
    assert get_value(record, "validation", "loss") < before.loss


def test_scores_of_the_test_images_have_the_temperature(params: Params) -> None:
    project = Project()
    record = project.ensemble.record
    run = TrainedRun.load(params, "ensemble", project)
    found = run.predict_split(project.prepared.open_split("test"))
    assert get_value(record, "test", "loss") == pytest.approx(found.loss, abs=1e-6)
    side = np.sign(1 - record.temperature.value)  # below 1, it raises the confidence
    confidence = record.unscaled["test"].confidence
    assert confidence is not None
    assert np.sign(get_value(record, "test", "confidence") - confidence) == side


def test_uncertainty_is_that_of_the_mean(params: Params) -> None:
    images = Project().ensemble.read_images()
    record = Project().ensemble.record
    unscaled = TrainedRun.load(params, "ensemble", Project()).with_temperature(1)
    test = Project().prepared.open_split("test")
    assert unscaled.tiles is not None
    probs = np.concatenate([*unscaled.predict_strips(test.images[0], unscaled.tiles)], axis=1)
    entropy = -(probs * np.log(np.maximum(probs, 1e-30))).sum(axis=0).mean()
    assert images[images["id"] == test.ids[0]]["entropy"].item() == pytest.approx(entropy, abs=1e-5)
    assert (images["disagreement"] <= images["entropy"]).all()
    assert get_value(record, "test", "disagreement") < get_value(record, "test", "entropy")


def test_report_and_command_state_the_temperature(params: Params) -> None:
    record = Project().ensemble.record
    section = write_report(params).path.read_text(encoding="utf-8").partition('<section id="ensemble">')[2]
    section = section.partition("</section>")[0]
    assert f"a temperature of {record.temperature.value:.3f}" in section
    for split in ("validation", "test"):
        before = record.unscaled[split]
        assert f"{before.loss:.4f} to {get_value(record, split, 'loss'):.4f}" in section
        assert f"{before.calibration_error:.4f} to {get_value(record, split, 'calibration_error'):.4f}" in section
    done = CliRunner().invoke(main, ["ensemble"])
    assert f"temperature {record.temperature.value:g}\n" in done.output
    assert Project().ensemble.record == record


def test_model_card_states_the_temperature(params: Params) -> None:
    project = Project()
    run = TrainedRun.load(params, "ensemble", project)
    record = project.ensemble.record
    evidence = collect_evidence(project, run)
    assert evidence["temperature"] == f"{record.temperature.value:g}"
    assert evidence["test_loss"] == f"{get_value(record, 'test', 'loss'):.4f}"
    text = EnsembleCard(run, params, project, evidence, "discs", "1", "sqlite:///mlflow.db").describe_version()
    assert f"temperature of {record.temperature.value:g}" in text
    assert f"{record.unscaled['test'].calibration_error:.4f}" in text


def test_notebook_has_the_temperature(params: Params) -> None:
    assert pipeline.open(".").run("ensemble").temperature == Project().ensemble.record.temperature.value


def test_predictions_have_the_recorded_temperature(seeds_copy: Path) -> None:
    run, mean = load_with_temperature()
    image = Project().prepared.open_split("test").images[0]
    (found,), (with_members,) = run.predict_batch([image]), run.predict_member_batch([image])
    assert found == pytest.approx(scale(mean), abs=1e-5)
    assert with_members[0] == pytest.approx(found, abs=1e-5)
    assert with_members[1] == pytest.approx(mean, abs=1e-5)
    assert pipeline.open(".").run("ensemble").predict(image).probabilities == pytest.approx(found, abs=1e-5)


def test_flips_are_averaged_before_the_temperature(seeds_copy: Path) -> None:
    run, mean = load_with_temperature()
    image = Project().prepared.open_split("test").images[0]
    (mirrored,) = run.with_temperature(1).predict_batch([image[:, ::-1]])
    (found,) = run.average_flips().predict_batch([image])
    assert found == pytest.approx(scale((mean + mirrored[:, :, ::-1]) / 2), abs=1e-5)


def test_exported_network_has_the_temperature(seeds_copy: Path, tmp_path: Path) -> None:
    run, mean = load_with_temperature()
    images = Project().prepared.open_split("test").images
    export_onnx(run, tmp_path / "network.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "network.onnx"), providers=["CPUExecutionProvider"])
    inputs = np.stack([images[0], images[1]]).transpose(0, 3, 1, 2).astype(np.float32) / 255
    (found,) = session.run(None, {"images": inputs})
    assert found[0] == pytest.approx(scale(mean), abs=1e-4)
    assert found == pytest.approx(np.stack([*run.predict_batch([images[0], images[1]])]), abs=1e-4)


def test_ranking_does_not_depend_on_the_temperature(seeds_copy: Path) -> None:
    images = Path("images")
    images.mkdir()
    for index, pixels in enumerate(Project().prepared.open_split("test").images):
        Image.fromarray(pixels).save(images / f"{index}.png")
    tables = []
    for value in (1.0, TEMPERATURE):
        set_temperature(Path(), value)
        done = CliRunner().invoke(main, ["predict", "images", "--run", "ensemble", "--rank-by-uncertainty"])
        assert done.exit_code == 0, done.output
        tables.append(Path("predictions/uncertainty.csv").read_text(encoding="utf-8"))
    assert tables[0] == tables[1]


def test_key_depends_on_the_temperature(seeds_copy: Path) -> None:
    before = TrainedRun.load(read_params(), "ensemble", Project()).key
    run, _ = load_with_temperature()
    assert run.key == Project().ensemble.record.key != before


@pytest.mark.parametrize("problem", ["missing", "other runs"])
def test_ensemble_without_its_temperature_is_not_used(seeds_copy: Path, problem: str) -> None:
    folder = Project().ensemble
    if problem == "missing":
        (seeds_copy / ENSEMBLE / folder.RECORD).unlink()
    else:
        members = (replace(folder.record.members[0], key="0"), *folder.record.members[1:])
        folder.write_json(folder.RECORD, replace(folder.record, members=members))
    done = CliRunner().invoke(main, ["promote", "--run", "ensemble"])
    assert done.exit_code == 1
    assert "pipeline ensemble" in done.output
