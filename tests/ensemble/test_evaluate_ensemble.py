"""The stage `ensemble`: scores beside those of the members, uncertainty, and the section of the report."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.analysis.clustered_mean import MIN_GROUPS
from pipeline.artifacts.ensemble_folder import EnsembleFolder, EnsembleRecord, UnscaledScores, compute_ensemble_key
from pipeline.artifacts.prepared_data import PreparedData
from pipeline.artifacts.project import COMPARISON, ENSEMBLE, PREPARED, RUNS, Project
from pipeline.cli import main
from pipeline.compare.compare_runs import compare
from pipeline.ensemble.evaluate_ensemble import evaluate_ensemble
from pipeline.errors import PipelineError
from pipeline.imaging import IGNORE
from pipeline.inference.trained_run import TrainedRun
from pipeline.params.file import read_params
from pipeline.report.write_report import write_report
from tests.ensemble.conftest import MEMBERS, write_grid

SPLITS = ("validation", "test")


def read_record(root: Path) -> EnsembleRecord:
    return Project(root).ensemble.record


def get_value(record: EnsembleRecord, split: str, score: str) -> float:
    row = record.find_score(split, score)
    assert row is not None
    assert row.ensemble is not None
    return row.ensemble


def read_folder(path: Path) -> dict[str, bytes]:
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


@pytest.mark.parametrize("split", SPLITS)
def test_members_have_the_scores_of_their_evaluations(seeds: Path, split: str) -> None:
    project = Project(seeds)
    record = project.ensemble.record
    assert tuple(member.run for member in record.members) == MEMBERS
    evaluated = [getattr(project.evaluation(run).metrics, split) for run in MEMBERS]
    for name in ("loss", "accuracy", "mean_iou"):
        row = record.find_score(split, name)
        assert row is not None
        assert row.members_mean == pytest.approx(np.mean([getattr(one, name) for one in evaluated]), abs=1e-5)
        assert row.members_sd == pytest.approx(np.std([getattr(one, name) for one in evaluated], ddof=1), abs=1e-5)


def test_validation_calibration_of_the_members_is_that_of_their_evaluations(seeds: Path) -> None:
    project = Project(seeds)
    errors = [project.evaluation(run).metrics.val_calibration for run in MEMBERS]
    row = project.ensemble.record.find_score("validation", "calibration_error")
    assert row is not None
    assert row.members_mean == pytest.approx(np.mean([one.error for one in errors if one]), abs=1e-5)


@pytest.mark.parametrize("split", SPLITS)
def test_loss_of_the_ensemble_is_below_the_mean_of_its_members(seeds: Path, split: str) -> None:
    row = read_record(seeds).find_score(split, "loss")
    assert row is not None
    assert row.difference is not None
    assert row.difference < 0
    images = Project(seeds).ensemble.read_images()
    images = images[images["split"] == split]
    assert len(images) == 6
    assert (images["loss"] <= images["members_loss"] + 1e-6).all()  # on every image, not only on average
    assert row.ensemble == pytest.approx(images["loss"].mean(), abs=1e-5)  # all images have the same number of pixels


def test_uncertainty_is_within_its_limits(seeds: Path) -> None:
    images = Project(seeds).ensemble.read_images()
    assert (images["disagreement"] >= 0).all()
    assert (images["disagreement"] <= images["entropy"]).all()
    assert (images["entropy"] <= math.log(3)).all()
    record = read_record(seeds)
    for split in SPLITS:
        of_split = images[images["split"] == split]
        assert get_value(record, split, "entropy") == pytest.approx(of_split["entropy"].mean(), abs=1e-5)
        assert get_value(record, split, "disagreement") == pytest.approx(of_split["disagreement"].mean(), abs=1e-5)


@pytest.mark.parametrize("split", SPLITS)
def test_risk_coverage_curve_ends_at_the_error_rate(seeds: Path, split: str) -> None:
    curve = Project(seeds).ensemble.read_risk_coverage()
    rates = curve[curve["split"] == split]["error_rate"]
    record = read_record(seeds)
    assert len(rates) == 100
    assert rates.iloc[-1] == pytest.approx(1 - get_value(record, split, "accuracy"), abs=1e-6)
    assert get_value(record, split, "risk_coverage_area") == pytest.approx(rates.mean(), abs=0.02)
    assert 0 <= get_value(record, split, "error_auroc") <= 1


def test_maps_have_the_means_of_the_record_and_the_most_uncertain_image_first(seeds: Path) -> None:
    project = Project(seeds)
    record = project.ensemble.record
    assert record.example_split == "validation"
    entropies = [one.entropy for one in record.examples]
    assert len(entropies) == 3
    assert entropies == sorted(entropies, reverse=True)
    images = project.ensemble.read_images()
    assert entropies[0] == pytest.approx(images[images["split"] == "validation"]["entropy"].max())
    validation = project.prepared.open_split("validation")
    for one in record.examples:
        maps = project.ensemble.read_example(one.id)
        evaluated = validation.masks[validation.ids.index(one.id)] != IGNORE
        assert maps.prediction.shape == maps.entropy.shape == maps.disagreement.shape == evaluated.shape
        assert maps.entropy[evaluated].mean() == pytest.approx(one.entropy, abs=1e-3)
        assert maps.disagreement[evaluated].mean() == pytest.approx(one.disagreement, abs=1e-3)


def test_cost_is_that_of_all_networks(seeds: Path) -> None:
    project = Project(seeds)
    cost, single = project.ensemble.record.cost, project.evaluation(MEMBERS[0]).metrics.cost
    assert cost is not None
    assert single is not None
    assert cost.networks == 3
    assert cost.multiply_accumulates == 3 * single.multiply_accumulates
    assert cost.parameters == 3 * single.parameters


def test_same_runs_give_the_same_bytes(seeds_copy: Path) -> None:
    before = read_folder(seeds_copy / ENSEMBLE)
    evaluate_ensemble(read_params())
    assert read_folder(seeds_copy / ENSEMBLE) == before


def test_order_of_the_seeds_changes_nothing_but_rounding(seeds_copy: Path) -> None:
    before = read_record(seeds_copy)
    params = write_grid(seeds_copy, [2, 0, 1])
    compare(params)
    found = evaluate_ensemble(params)
    assert [member.run for member in found.members] == [MEMBERS[2], MEMBERS[0], MEMBERS[1]]
    assert found.key == before.key == compute_ensemble_key((member.key for member in found.members), 1.0)
    for row, old in zip(found.scores, before.scores, strict=True):
        assert (row.split, row.score, row.class_name) == (old.split, old.score, old.class_name)
        assert row.ensemble == pytest.approx(old.ensemble, abs=2e-3)  # single pixels may change their class
        assert row.members_mean == pytest.approx(old.members_mean, abs=1e-6)


def test_setting_with_one_run_has_a_reason_and_no_scores(seeds_copy: Path) -> None:
    params = write_grid(seeds_copy, [1])
    compare(params)
    done = CliRunner().invoke(main, ["ensemble"])
    assert done.exit_code == 0
    assert "has only one" in done.output
    record = read_record(seeds_copy)
    assert [member.run for member in record.members] == [MEMBERS[1]]
    assert (record.scores, record.images, record.cost, record.examples) == ((), {}, None, ())
    assert [path.name for path in (seeds_copy / ENSEMBLE).iterdir()] == [EnsembleFolder.RECORD]
    report = write_report(params)
    assert not report.faults
    assert 'id="ensemble"' not in report.path.read_text(encoding="utf-8")


def test_grid_without_a_ranked_setting_has_a_reason(seeds_copy: Path) -> None:
    shutil.rmtree(seeds_copy / RUNS / MEMBERS[0])
    compare(read_params())
    found = evaluate_ensemble(read_params())
    assert "no setting has finished" in found.reason
    assert found.members == ()


def test_few_validation_images_have_no_temperature(seeds: Path) -> None:
    record = read_record(seeds)
    assert record.images["validation"] < MIN_GROUPS
    assert record.temperature.value == 1
    assert str(MIN_GROUPS) in record.temperature.reason
    for split in SPLITS:
        assert record.unscaled[split].loss == pytest.approx(get_value(record, split, "loss"), abs=1e-6)


@pytest.mark.parametrize("damage", ["remove", "truncate"])
def test_damaged_member_is_named_and_the_previous_ensemble_kept(seeds_copy: Path, damage: str) -> None:
    weights = Project(seeds_copy).run(MEMBERS[1]).weights
    if damage == "remove":
        weights.unlink()
    else:
        weights.write_bytes(weights.read_bytes()[:1000])
    before = read_folder(seeds_copy / ENSEMBLE)
    with pytest.raises(PipelineError, match=rf"{MEMBERS[1]}.*dvc repro --force train@{MEMBERS[1]}"):
        evaluate_ensemble(read_params())
    assert read_folder(seeds_copy / ENSEMBLE) == before


def test_images_without_evaluated_pixels_have_no_scores(seeds_copy: Path) -> None:
    path = seeds_copy / PREPARED / "test" / PreparedData.MASKS
    masks = np.load(path)
    masks[:] = IGNORE
    np.save(path, masks)
    found = evaluate_ensemble(read_params())
    assert all(row.ensemble is None and row.low is None for row in found.scores if row.split == "test")
    assert found.unscaled["test"] == UnscaledScores(None, None, None)
    assert get_value(found, "validation", "loss") > 0
    report = write_report(read_params())
    assert not report.faults
    images = Project(seeds_copy).ensemble.read_images()
    assert images[images["split"] == "test"]["entropy"].isna().all()


def test_report_shows_scores_curve_and_maps(seeds_copy: Path) -> None:
    report = write_report(read_params())
    assert not report.faults
    page = report.path.read_text(encoding="utf-8")
    section = page.partition('<section id="ensemble">')[2].partition("</section>")[0]
    record = read_record(seeds_copy)
    loss = record.find_score("test", "loss")
    assert loss is not None
    assert f"{loss.ensemble:.3f}" in section
    assert f"{loss.members_mean:.3f}" in section
    assert section.count("<table") == 3  # validation, test, and maps
    assert section.count("Disagreement in validation-") == 2 * len(record.examples)
    assert "<svg" in section
    assert "There are no intervals" in section  # six images


def test_report_rejects_the_ensemble_of_other_runs(seeds_copy: Path) -> None:
    params = write_grid(seeds_copy, [0, 1])
    compare(params)
    (fault,) = write_report(params).faults
    assert "Ensemble" in fault.title
    assert "pipeline ensemble" in fault.text


def test_report_without_the_ensemble_names_the_command(seeds_copy: Path) -> None:
    shutil.rmtree(seeds_copy / ENSEMBLE)
    (fault,) = write_report(read_params()).faults
    assert "pipeline ensemble" in fault.text


def test_missing_maps_leave_the_scores_in_the_report(seeds_copy: Path) -> None:
    shutil.rmtree(seeds_copy / ENSEMBLE / EnsembleFolder.EXAMPLES)
    (fault,) = write_report(read_params()).faults
    assert "maps" in fault.title


def test_command_prints_the_loss_of_each_split(seeds_copy: Path) -> None:
    done = CliRunner().invoke(main, ["ensemble"])
    assert done.exit_code == 0, done.output
    record = read_record(seeds_copy)
    for split in SPLITS:
        assert f"{split} loss {get_value(record, split, 'loss'):.3f}" in done.output


def test_ensemble_without_a_comparison_names_the_command(seeds_copy: Path) -> None:
    shutil.rmtree(seeds_copy / COMPARISON)
    done = CliRunner().invoke(main, ["ensemble"])
    assert done.exit_code == 1
    assert "pipeline compare" in done.output


@pytest.mark.parametrize("temperature", [{}, {"temperature": {"value": 0, "reason": ""}}])
def test_record_without_a_temperature_is_rejected(seeds_copy: Path, temperature: dict[str, object]) -> None:
    path = seeds_copy / ENSEMBLE / EnsembleFolder.RECORD
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["temperature"]
    path.write_text(json.dumps(content | temperature), encoding="utf-8")
    with pytest.raises(PipelineError, match=r"ensemble\.json cannot be read .*temperature.*`pipeline ensemble` again"):
        TrainedRun.load(read_params(), "ensemble", Project(seeds_copy))
    evaluate_ensemble(read_params())  # which does not read it
    assert read_record(seeds_copy).temperature.value == 1


def test_record_with_unknown_keys_is_rejected(seeds_copy: Path) -> None:
    path = seeds_copy / ENSEMBLE / EnsembleFolder.RECORD
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, "surprise": 1}), encoding="utf-8")
    with pytest.raises(PipelineError, match=r"ensemble\.json cannot be read .*surprise"):
        _ = Project(seeds_copy).ensemble.record
