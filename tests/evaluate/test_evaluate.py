"""An evaluated run: its scores agree with its training, its masks and tables with each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.errors import PipelineError
from pipeline.evaluate.stage import evaluate_run
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.train.stage import train_cell
from tests.conftest import write_params

RUN = "unet-0.01-0"


@pytest.fixture
def trained(project: Path) -> Params:
    params = read_params(write_params(project, {}))
    train_cell(params.cell("unet", 0.01, 0))
    return params


def test_scores_are_those_of_the_best_epoch(trained: Params, project: Path) -> None:
    found = evaluate_run(trained, RUN)
    history = pd.read_csv(project / "runs" / RUN / "history.csv").set_index("epoch")
    best = history.loc[history["val_loss"].idxmin()]
    assert found.validation is not None
    assert found.train is not None
    assert found.validation.loss == pytest.approx(best["val_loss"], rel=1e-6)
    assert found.train.loss == pytest.approx(best["train_loss"], rel=1e-4)
    assert found.validation.mean_iou == pytest.approx(best["val_mean_iou"])
    assert found.gap == pytest.approx(found.validation.loss - found.train.loss)
    assert found.gap_last == pytest.approx(history["val_loss"].iloc[-1] - history["train_loss"].iloc[-1])
    assert EvaluationFolder(project / "evaluation" / RUN).metrics == found


def test_every_image_of_every_split_has_a_row(trained: Params, project: Path) -> None:
    found = evaluate_run(trained, RUN)
    rows = pd.read_csv(project / "evaluation" / RUN / "per_image.csv")
    assert rows["split"].value_counts().to_dict() == {"train": 12, "validation": 6, "test": 6, "showcase": 1}
    assert found.test is not None
    assert rows.loc[rows["split"] == "test", "loss"].mean() == pytest.approx(found.test.loss, rel=1e-6)
    assert rows["accuracy"].between(0, 1).all()


def test_classes_and_confidences_are_those_of_the_same_pixels(trained: Params, project: Path) -> None:
    found = evaluate_run(trained, RUN)
    assert found.validation is not None
    assert found.val_calibration is not None
    samples = pd.read_csv(project / "data/prepared/samples.csv")
    rows = pd.read_csv(project / "evaluation" / RUN / "per_image.csv").merge(samples, on=["id", "split"])
    names = ["animal", "background", "border"]
    by_class = sum((rows[f"share_{name}"] * rows[f"loss_{name}"].fillna(0) for name in names), start=0 * rows["loss"])
    assert by_class.to_numpy() == pytest.approx(rows["loss"].to_numpy(), rel=1e-4)

    bins = pd.read_csv(project / "evaluation" / RUN / "calibration.csv").query("split == 'validation'")
    assert bins["pixels"].sum() == 6 * 32 * 32
    filled = bins[bins["pixels"] > 0]
    assert (filled["confidence"].between(filled["low"], filled["high"])).all()
    weights = filled["pixels"] / filled["pixels"].sum()
    assert (filled["accuracy"] * weights).sum() == pytest.approx(found.validation.accuracy)
    assert (filled["confidence"] * weights).sum() == pytest.approx(found.val_calibration.confidence)
    distance = (filled["accuracy"] - filled["confidence"]).abs()
    assert (distance * weights).sum() == pytest.approx(found.val_calibration.error)


def test_a_u_nets_maps_are_kept(trained: Params, project: Path) -> None:
    evaluate_run(trained, RUN)
    with np.load(project / "evaluation" / RUN / "feature_maps.npz") as maps:
        shapes = {name: maps[name].shape for name in maps}
        assert shapes == {"skip": (4, 32, 32), "below": (4, 32, 32), "before": (8, 8), "after": (16, 16)}
        spans = {(int(one.min()), int(one.max())) for one in maps["skip"]}
    assert (0, 255) in spans


def test_the_worst_images_are_kept(trained: Params, project: Path) -> None:
    evaluate_run(trained, RUN)
    rows = pd.read_csv(project / "evaluation" / RUN / "per_image.csv").query("split == 'validation'")
    kept = {path.stem for path in (project / "evaluation" / RUN / "examples").glob("*.png")}
    assert set(rows.sort_values("loss")["id"].iloc[-3:]) <= kept


def test_examples_are_class_indices_of_known_samples(trained: Params, project: Path) -> None:
    evaluate_run(trained, RUN)
    folder = project / "evaluation" / RUN
    known = set(pd.read_csv(folder / "per_image.csv").query("split in ['validation', 'showcase']")["id"])
    masks = {path.stem: np.array(Image.open(path)) for path in (folder / "examples").glob("*.png")}
    assert set(masks) <= known
    assert len(masks) >= 2 + 1  # evaluation.examples and the showcase
    assert all(mask.shape == (32, 32) and mask.max() <= 2 for mask in masks.values())
    with Image.open(folder / "overview.png") as overview:
        assert overview.size == (3 * 32, 2 * 32)


def test_the_same_run_gives_the_same_bytes(trained: Params, project: Path) -> None:
    folder = project / "evaluation" / RUN

    def content() -> dict[str, bytes]:
        evaluate_run(trained, RUN)
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert content() == content()


def test_a_run_that_never_got_through_an_epoch(project: Path) -> None:
    params = read_params(write_params(project, {"train": {"precision": "float32"}, "grid": {"learning_rate": [1e30]}}))
    train_cell(params.cell("unet", 1e30, 0))
    found = evaluate_run(params, "unet-1e+30-0")
    assert found.validation is None
    assert EvaluationFolder(project / "evaluation/unet-1e+30-0").metrics == found


def test_another_variants_weights_are_refused(trained: Params, project: Path) -> None:
    train_cell(trained.cell("unet_no_skip", 0.01, 0))
    weights = (project / "runs/unet_no_skip-0.01-0/model.safetensors").read_bytes()
    (project / "runs" / RUN / "model.safetensors").write_bytes(weights)
    with pytest.raises(PipelineError, match=r"does not hold this variant's weights .*dvc repro --force train@unet"):
        evaluate_run(trained, RUN)


@pytest.mark.parametrize("run", ["runs/unet-0.01-0", "../runs/unet-0.01-0"])
def test_a_path_is_no_run(trained: Params, project: Path, run: str) -> None:
    """Taken for one, the run's own folder would be replaced by its evaluation."""
    for path in (run, str(project / "runs" / RUN)):
        with pytest.raises(PipelineError, match=r"is a path; name the run itself, such as unet-0\.01-0"):
            evaluate_run(trained, path)
    assert (project / "runs" / RUN / "model.safetensors").exists()


def test_a_cut_model_file_is_named(trained: Params, project: Path) -> None:
    weights = project / "runs" / RUN / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(PipelineError, match=r"model\.safetensors does not hold"):
        evaluate_run(trained, RUN)


def test_a_run_of_another_version_is_named(trained: Params, project: Path) -> None:
    record = project / "runs" / RUN / "run.json"
    record.write_text(record.read_text().replace('"weight_decay"', '"decay"'))
    with pytest.raises(PipelineError, match=r"run\.json holds parameters of another version"):
        evaluate_run(trained, RUN)


def test_data_that_moved_on_is_refused(trained: Params, project: Path) -> None:
    classes = project / "data/prepared/classes.json"
    text = classes.read_text().split('"fingerprint": "')
    classes.write_text(text[0] + '"fingerprint": "0000' + text[1][4:])
    with pytest.raises(PipelineError, match="was trained on other data"):
        evaluate_run(trained, RUN)
