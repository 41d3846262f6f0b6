"""Stages from training to the report on data with undefined scores: missing classes, ignored images."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from pipeline.artifacts.comparison import Comparison, Summary
from pipeline.artifacts.evaluation_folder import EvaluationFolder, RunEvaluation
from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS, PreparedData
from pipeline.artifacts.project import COMPARISON, EVALUATION, PREPARED, RUNS, Project
from pipeline.artifacts.run_folder import RunFolder
from pipeline.compare.compare_runs import compare
from pipeline.data.subsets import select_gap_subset
from pipeline.errors import PipelineError
from pipeline.evaluate.evaluate_run import evaluate_run
from pipeline.imaging import IGNORE
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.report.write_report import write_report
from pipeline.tracking.sync import sync_runs
from pipeline.train.train_cell import train_cell
from tests.conftest import ROOT, TRAINED, write_params

ANIMAL, BACKGROUND, BORDER = range(3)
NAMES = ("animal", "background", "border")


def edit_masks(root: Path, split: str, edit: Callable[[np.ndarray], None]) -> None:
    """Change a split's prepared masks in place, and their rows in `samples.csv`."""
    path = root / PREPARED / split / PreparedData.MASKS
    masks = np.load(path)
    edit(masks)
    np.save(path, masks)
    table = pd.read_csv(root / PREPARED / PreparedData.SAMPLES, dtype={"id": str})
    rows = table["split"] == split
    counts = np.stack([(masks == index).sum(axis=(1, 2)) for index in range(3)], axis=1)
    pixels = counts.sum(axis=1)
    table.loc[rows, "pixels"] = pixels
    shares = counts / np.maximum(pixels, 1)[:, None]
    table.loc[rows, [f"share_{name}" for name in NAMES]] = shares
    table.to_csv(root / PREPARED / PreparedData.SAMPLES, index=False)


def remove_class(index: int) -> Callable[[np.ndarray], None]:
    """Return an edit that replaces a class by background, or background by border."""

    def edit(masks: np.ndarray) -> None:
        masks[masks == index] = BORDER if index == BACKGROUND else BACKGROUND

    return edit


def ignore_first(masks: np.ndarray) -> None:
    masks[0] = IGNORE


def ignore_all(masks: np.ndarray) -> None:
    masks[:] = IGNORE


def run_all(root: Path) -> tuple[RunEvaluation, Summary, str]:
    """Train, evaluate, compare, sync and report one run; return its scores, the summary and the report."""
    changes = {"grid": {"variant": ["unet"], "learning_rate": [0.01], "seed": [0]}}
    params: Params = read_params(write_params(root, changes))
    shutil.copytree(ROOT / "reports", root / "reports", dirs_exist_ok=True)
    train_cell(params.cells()[0])
    evaluation = evaluate_run(params, TRAINED)
    summary = compare(params)
    list(sync_runs(params, [TRAINED], Project(root)))
    rendered = write_report(params, project=Project(root))
    assert rendered.faults == ()
    return evaluation, summary, rendered.path.read_text(encoding="utf-8")


def read_logged_metrics(root: Path) -> dict[str, float]:
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    run = next(run for run in client.search_runs(["1"]) if run.info.run_name == TRAINED)
    return dict(run.data.metrics)


def read_per_image(root: Path) -> pd.DataFrame:
    return pd.read_csv(root / EVALUATION / TRAINED / EvaluationFolder.PER_IMAGE, dtype={"id": str})


@pytest.mark.parametrize(
    ("split", "index"), [("train", ANIMAL), ("validation", ANIMAL), ("validation", BORDER), ("test", BACKGROUND)]
)
def test_class_missing_from_a_split_is_undefined_there_only(project: Path, split: str, index: int) -> None:
    edit_masks(project, split, remove_class(index))
    evaluation, summary, page = run_all(project)
    for name in SPLITS:
        scores = getattr(evaluation, name)
        missing = {NAMES[index]} if name == split else set()
        assert {key for key, value in scores.iou.items() if value is None} == missing
        assert scores.mean_iou == pytest.approx(np.mean([value for value in scores.iou.values() if value is not None]))
    parts = pd.read_csv(project / COMPARISON / Comparison.GAP_PARTS)
    common = [name for name in NAMES if split == "test" or name != NAMES[index]]
    assert parts.loc[parts["part"] == "class", "name"].tolist() == common
    judgment = summary.runs[0].judgment
    assert judgment is not None
    assert judgment.iou_gap is not None
    assert evaluation.train is not None
    assert evaluation.validation is not None
    differences = [evaluation.train.iou[name] - evaluation.validation.iou[name] for name in common]  # type: ignore[operator]
    assert judgment.iou_gap == pytest.approx(np.mean(differences))
    assert "missing from a split" in page


def test_foreground_missing_from_all_splits_leaves_the_one_class_check_undefined(project: Path) -> None:
    for split in (*SPLITS, SHOWCASE):
        edit_masks(project, split, remove_class(ANIMAL))
        edit_masks(project, split, remove_class(BORDER))
    _, summary, _ = run_all(project)
    judgment = summary.runs[0].judgment
    assert judgment is not None
    assert judgment.beats_baseline is None
    assert any(reason.startswith("One-class baseline") for reason in judgment.not_checked)
    assert pd.read_csv(project / COMPARISON / Comparison.SETTINGS)["beats_baseline"].isna().all()


def test_ignored_image_has_no_scores_and_is_not_an_example(project: Path) -> None:
    for split in SPLITS:
        edit_masks(project, split, ignore_first)
    evaluation, _, page = run_all(project)
    table = read_per_image(project)
    ids = pd.read_csv(project / PREPARED / PreparedData.SAMPLES, dtype={"id": str}).query("pixels == 0")["id"]
    ignored = table["id"].isin(set(ids))
    assert ignored.sum() == 3
    assert table.loc[ignored].drop(columns=["id", "split"]).isna().all().all()
    assert table.loc[~ignored, ["loss", "accuracy", "mean_iou"]].notna().all().all()
    assert evaluation.validation is not None
    assert table.query("split == 'validation'")["loss"].mean() == pytest.approx(evaluation.validation.loss)
    examples = {path.stem for path in (project / EVALUATION / TRAINED / EvaluationFolder.EXAMPLES).glob("*.png")}
    assert not examples & set(ids)
    parts = pd.read_csv(project / COMPARISON / Comparison.GAP_PARTS, dtype={"name": str})
    assert not set(parts["name"]) & set(ids)
    with np.load(project / RUNS / TRAINED / RunFolder.IMAGE_LOSSES) as losses:
        assert (np.isnan(losses["validation"]) == (losses["validation_pixels"] == 0)).all()
    assert re.search(r"Images without evaluated pixels</th>.*1</td>.*1</td>.*1</td>", page)


def test_ignored_showcase_is_not_scored(project: Path) -> None:
    edit_masks(project, SHOWCASE, ignore_all)
    evaluation, summary, page = run_all(project)
    (scores,) = evaluation.showcase
    assert (scores.loss, scores.accuracy, scores.mean_iou, scores.foreground_iou) == (None, None, None, None)
    assert summary.runs[0].showcase_iou is None
    assert "showcase_iou" not in read_logged_metrics(project)
    assert "<strong>Not scored.</strong>" in page


def test_test_images_without_evaluated_pixels_have_no_scores(project: Path) -> None:
    edit_masks(project, "test", ignore_all)
    evaluation, _, page = run_all(project)
    assert evaluation.test is not None
    assert (evaluation.test.loss, evaluation.test.mean_iou) == (None, None)
    best = json.loads((project / "metrics.json").read_text())["best"]
    assert not [key for key in best if key.startswith("test_")]
    assert "has no test scores" in page


@pytest.mark.parametrize("split", ["train", "validation"])
def test_train_cell_on_a_split_without_evaluated_pixels_is_refused(project: Path, split: str) -> None:
    edit_masks(project, split, ignore_all)
    params = read_params(write_params(project, {}))
    with pytest.raises(PipelineError, match=rf"{split}: every pixel of the \d+ compared images is ignored"):
        train_cell(params.cells()[0])


def test_objective_is_the_mean_over_batches_with_evaluated_pixels(project: Path) -> None:
    """Five of the six batches have no loss: a mean over all six would be a sixth of it."""
    (kept,) = select_gap_subset(np.arange(12), 1)

    def ignore_others(masks: np.ndarray) -> None:
        masks[np.arange(len(masks)) != kept] = IGNORE

    edit_masks(project, "train", ignore_others)
    changes = {
        "train": {"batch_size": 2, "epochs": 1, "augmentation": None},
        "grid": {"variant": ["unet"], "learning_rate": [1e-9], "seed": [0]},
    }
    params = read_params(write_params(project, changes))
    record = train_cell(params.cells()[0])
    history = pd.read_csv(project / RUNS / record.run / RunFolder.HISTORY)
    assert history["objective"].item() > 0.5
