"""Evaluation of a run: scores match the training history, and the files match each other."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.errors import PipelineError
from pipeline.evaluate.evaluate_run import evaluate_run
from pipeline.models.factory import build_network
from pipeline.models.precision import resolve_precision
from pipeline.params.file import read_params
from pipeline.train.train_cell import train_cell
from pipeline.variants.complexity import measure_complexity
from tests.conftest import TRAINED, write_params


@pytest.fixture
def evaluated(trained: Path) -> EvaluationFolder:
    """The evaluation of the run `TRAINED`; tests must not change it."""
    return EvaluationFolder(trained / "evaluation" / TRAINED)


def test_evaluate_run_gives_the_scores_of_the_best_epoch(evaluated: EvaluationFolder, trained: Path) -> None:
    evaluation = evaluated.metrics
    history = pd.read_csv(trained / "runs" / TRAINED / "history.csv").set_index("epoch")
    best = history.loc[history["val_loss"].idxmin()]
    assert evaluation.validation is not None
    assert evaluation.train is not None
    assert evaluation.validation.loss == pytest.approx(best["val_loss"], rel=1e-6)
    assert evaluation.train.loss == pytest.approx(best["train_loss"], rel=1e-4)
    assert evaluation.validation.mean_iou == pytest.approx(best["val_mean_iou"])
    assert evaluation.gap == pytest.approx(evaluation.validation.loss - evaluation.train.loss)
    assert evaluation.gap_last == pytest.approx(history["val_loss"].iloc[-1] - history["train_loss"].iloc[-1])


def test_evaluate_run_writes_one_row_per_image(evaluated: EvaluationFolder) -> None:
    evaluation = evaluated.metrics
    rows = pd.read_csv(evaluated.path / "per_image.csv")
    assert rows["split"].value_counts().to_dict() == {"train": 12, "validation": 6, "test": 6, "showcase": 1}
    assert evaluation.test is not None
    assert rows.loc[rows["split"] == "test", "loss"].mean() == pytest.approx(evaluation.test.loss, rel=1e-6)
    assert rows["accuracy"].between(0, 1).all()


def test_evaluate_run_class_losses_and_calibration_match_the_scores(evaluated: EvaluationFolder, trained: Path) -> None:
    evaluation = evaluated.metrics
    assert evaluation.validation is not None
    assert evaluation.val_calibration is not None
    samples = pd.read_csv(trained / "data/prepared/samples.csv")
    rows = pd.read_csv(evaluated.path / "per_image.csv").merge(samples, on=["id", "split"])
    names = ["animal", "background", "border"]
    by_class = sum((rows[f"share_{name}"] * rows[f"loss_{name}"].fillna(0) for name in names), start=0 * rows["loss"])
    assert by_class.to_numpy() == pytest.approx(rows["loss"].to_numpy(), rel=1e-4)

    bins = pd.read_csv(evaluated.path / "calibration.csv").query("split == 'validation'")
    assert bins["pixels"].sum() == 6 * 32 * 32
    filled = bins[bins["pixels"] > 0]
    assert (filled["confidence"].between(filled["low"], filled["high"])).all()
    weights = filled["pixels"] / filled["pixels"].sum()
    assert (filled["accuracy"] * weights).sum() == pytest.approx(evaluation.validation.accuracy)
    assert (filled["confidence"] * weights).sum() == pytest.approx(evaluation.val_calibration.confidence)
    distance = (filled["accuracy"] - filled["confidence"]).abs()
    assert (distance * weights).sum() == pytest.approx(evaluation.val_calibration.error)


def test_evaluate_run_measures_the_cost_of_prediction_and_training(evaluated: EvaluationFolder, trained: Path) -> None:
    cost = evaluated.metrics.cost
    assert cost is not None
    cell = read_params(trained / "params.yaml").cell("unet", 0.01, 0)
    network, precision = build_network(cell.model, 3, 3), resolve_precision(cell.train.precision)
    expected = measure_complexity(network, 3, (32, 32), cell.train.batch_size, precision)
    assert (cost.parameters, cost.multiply_accumulates) == (expected.parameters, expected.multiply_accumulates)
    assert cost.training_bytes == pytest.approx(expected.training_bytes, rel=0.02)  # extrapolated from two images
    assert cost.model_bytes == (trained / "runs" / TRAINED / "model.safetensors").stat().st_size


def test_evaluate_run_saves_feature_maps_of_a_unet(evaluated: EvaluationFolder) -> None:
    with np.load(evaluated.path / "feature_maps.npz") as maps:
        shapes = {name: maps[name].shape for name in maps}
        assert shapes == {"skip": (4, 32, 32), "below": (4, 32, 32), "before": (8, 8), "after": (16, 16)}
        spans = {(int(feature_map.min()), int(feature_map.max())) for feature_map in maps["skip"]}
    assert (0, 255) in spans


def test_evaluate_run_saves_the_images_with_the_highest_loss(evaluated: EvaluationFolder) -> None:
    rows = pd.read_csv(evaluated.path / "per_image.csv").query("split == 'validation'")
    examples = {path.stem for path in (evaluated.path / "examples").glob("*.png")}
    assert set(rows.sort_values("loss")["id"].iloc[-3:]) <= examples


def test_evaluate_run_saves_examples_as_class_indices(evaluated: EvaluationFolder) -> None:
    folder = evaluated.path
    known = set(pd.read_csv(folder / "per_image.csv").query("split in ['validation', 'showcase']")["id"])
    masks = {path.stem: np.array(Image.open(path)) for path in (folder / "examples").glob("*.png")}
    assert set(masks) <= known
    assert len(masks) >= 2 + 1  # evaluation.examples and the showcase
    assert all(mask.shape == (32, 32) and mask.max() <= 2 for mask in masks.values())
    with Image.open(folder / "overview.png") as overview:
        assert overview.size == (3 * 32, 2 * 32)


def test_evaluate_run_again_gives_the_same_scores_and_bytes(evaluated: EvaluationFolder, trained_copy: Path) -> None:
    def read_files(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    again = trained_copy / "evaluation" / TRAINED
    shutil.rmtree(again)
    assert evaluate_run(read_params(), TRAINED) == evaluated.metrics
    assert read_files(again) == read_files(evaluated.path)


def test_evaluate_run_without_a_finished_epoch_has_no_scores(project: Path) -> None:
    params = read_params(write_params(project, {"train": {"precision": "float32"}, "grid": {"learning_rate": [1e30]}}))
    train_cell(params.cell("unet", 1e30, 0))
    evaluation = evaluate_run(params, "unet-1e+30-0")
    assert evaluation.validation is None
    assert EvaluationFolder(project / "evaluation/unet-1e+30-0").metrics == evaluation


def test_evaluate_run_with_weights_of_another_variant_is_refused(trained_copy: Path) -> None:
    params = read_params()
    train_cell(params.cell("unet_no_skip", 0.01, 0))
    weights = (trained_copy / "runs/unet_no_skip-0.01-0/model.safetensors").read_bytes()
    (trained_copy / "runs" / TRAINED / "model.safetensors").write_bytes(weights)
    with pytest.raises(PipelineError, match=r"does not contain the weights for this variant .*--force train@unet"):
        evaluate_run(params, TRAINED)


@pytest.mark.parametrize("run", ["runs/unet-0.01-0", "../runs/unet-0.01-0"])
def test_evaluate_run_with_a_path_is_refused(trained_copy: Path, run: str) -> None:
    """Accepting a path would replace the run folder by its evaluation."""
    for path in (run, str(trained_copy / "runs" / TRAINED)):
        with pytest.raises(PipelineError, match=r"is a path; give the name of the run instead, such as unet-0\.01-0"):
            evaluate_run(read_params(), path)
    assert (trained_copy / "runs" / TRAINED / "model.safetensors").exists()


def test_evaluate_run_with_a_truncated_model_file_is_refused(trained_copy: Path) -> None:
    weights = trained_copy / "runs" / TRAINED / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(PipelineError, match=r"model\.safetensors does not contain"):
        evaluate_run(read_params(), TRAINED)


def test_evaluate_run_of_another_version_is_refused(trained_copy: Path) -> None:
    record = trained_copy / "runs" / TRAINED / "run.json"
    record.write_text(record.read_text().replace('"weight_decay"', '"decay"'))
    with pytest.raises(PipelineError, match=r"run\.json has parameters from another version"):
        evaluate_run(read_params(), TRAINED)


def test_evaluate_run_with_changed_data_is_refused(trained_copy: Path) -> None:
    classes = trained_copy / "data/prepared/classes.json"
    text = classes.read_text().split('"fingerprint": "')
    classes.write_text(text[0] + '"fingerprint": "0000' + text[1][4:])
    with pytest.raises(PipelineError, match=r"has changed since .* was trained"):
        evaluate_run(read_params(), TRAINED)


def test_evaluate_run_writes_confusion_matrices_that_match_the_scores(evaluated: EvaluationFolder) -> None:
    evaluation = evaluated.metrics
    table = pd.read_csv(evaluated.path / "confusion.csv")
    assert (table["pixels"] > 0).all()
    for split in ("train", "validation", "test"):
        rows = table[table["split"] == split]
        scores = getattr(evaluation, split)
        correct = rows.loc[rows["actual"] == rows["predicted"], "pixels"].sum()
        assert correct / rows["pixels"].sum() == pytest.approx(scores.accuracy)
        predicted = rows.groupby("predicted")["pixels"].sum() / rows["pixels"].sum()
        assert predicted.to_dict() == pytest.approx({name: share for name, share in scores.predicted.items() if share})


def test_evaluate_run_writes_pixels_and_outlines_that_match_the_masks(
    evaluated: EvaluationFolder, trained: Path
) -> None:
    table = evaluated.read_confusion()
    for split in ("validation", "test"):
        pixels, rows = evaluated.read_class_pixels(split), table[table["split"] == split]
        assert pixels.correct.sum() == rows.loc[rows["actual"] == rows["predicted"], "pixels"].sum()
        assert pixels.truth.sum() == pixels.predicted.sum() == rows["pixels"].sum()
    scores = evaluated.read_per_image().set_index("id")["mean_iou"]
    samples = pd.read_csv(trained / "data/prepared/samples.csv").query("split == 'validation'")["id"]
    pixels = evaluated.read_class_pixels("validation")
    iou = pixels.correct / np.maximum(pixels.truth + pixels.predicted - pixels.correct, 1)
    expected = np.where(pixels.truth > 0, iou, 0).sum(axis=1) / (pixels.truth > 0).sum(axis=1)
    np.testing.assert_allclose(scores[samples], expected)
    surfaces = evaluated.read_surfaces()
    assert set(surfaces["split"]) == {"validation", "test"}
    assert surfaces["nsd"].between(0, 1).all()
    both = surfaces["hd95"].notna()
    assert (surfaces.loc[~both, "nsd"] == 0).all()  # the class is in one mask only
