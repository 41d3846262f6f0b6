"""Judgment of each run: verdict, gap interval, onset, and checks that were not possible."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.analysis.group_labels import create_labels
from pipeline.analysis.verdict import Thresholds
from pipeline.artifacts.comparison import Judgment, RunSummary
from pipeline.artifacts.evaluation_folder import EvaluationFolder, RunEvaluation
from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.artifacts.project import Project
from pipeline.artifacts.run_folder import ImageLosses, RunFolder
from pipeline.artifacts.scores import Scores
from pipeline.artifacts.status import RunStatus
from pipeline.compare.verdicts import RunJudge
from pipeline.errors import PipelineError
from pipeline.params import Cell, Params
from pipeline.params.file import read_params
from tests.conftest import write_params

EPOCHS, IMAGES = 30, 24


@pytest.fixture
def params(tmp_path: Path) -> Params:
    return read_params(write_params(tmp_path, {}))


CLASSES = (
    SegmentationClass("animal", "#e69f00", foreground=True),
    SegmentationClass("background", "#0072b2", foreground=False),
)


def make_scores(loss: float, mean_iou: float) -> Scores:
    shares = {"animal": 0.5, "background": 0.5}
    return Scores(loss, 0.9, mean_iou, 0.8, None, {"animal": 0.8, "background": 0.8}, shares)


def make_row(cell: Cell, status: RunStatus = "finished", reason: str = "") -> RunSummary:
    numbers = dict.fromkeys(
        ("best_epoch", "train_loss", "val_loss", "gap", "gap_last", "val_accuracy", "val_mean_iou",
         "val_foreground_iou", "val_object_iou", "showcase_mean_iou",
         "train_calibration_error", "val_calibration_error", "val_confidence", "showcase_iou",
         "trainable_parameters", "judgment"),
    )  # fmt: skip
    return RunSummary(
        cell.name, cell.variant, cell.learning_rate, cell.seed, status, reason, EPOCHS, missed_classes=(), **numbers
    )


def write_run(root: Path, cell: Cell, rise: float) -> None:
    """Write curves that fall to 0.2 and 0.3; from epoch 15, validation rises by `rise` per epoch."""
    epochs, generator = np.arange(EPOCHS), np.random.default_rng(0)
    fall = 0.5 * np.exp(-epochs / 2)
    level = generator.lognormal(-0.02, 0.2, IMAGES)
    tables = {
        "train": np.outer(0.2 + fall - 0.002 * epochs, level),
        "validation": np.outer(0.3 + fall + rise * np.maximum(0, epochs - 15), level)
        + 0.01 * generator.normal(size=(EPOCHS, IMAGES)),
    }
    history = pd.DataFrame(dict.fromkeys(RunFolder.HISTORY_COLUMNS, 0.0), index=epochs)
    history["epoch"] = epochs + 1
    history.loc[20, "val_mean_iou"], history.loc[EPOCHS - 1, "val_mean_iou"] = 0.8, 0.75
    for item in CLASSES:
        history[f"train_iou_{item.name}"], history[f"val_iou_{item.name}"] = 0.95, 0.7
    history["train_loss"], history["val_loss"] = (table.mean(axis=1) for table in tables.values())
    project = Project(root)
    with project.run(cell.name).replace() as run:
        run.write_history(history.to_dict("records"), [item.name for item in CLASSES])
        run.write_image_losses(
            *(ImageLosses(table, np.full(IMAGES, 9), np.arange(IMAGES)) for table in tables.values())
        )
    with project.evaluation(cell.name).replace() as evaluation:
        evaluation.write_json(
            evaluation.METRICS,
            RunEvaluation(
                cell.name,
                "k",
                0.1,
                0.1,
                make_scores(0.2, 0.9),
                make_scores(0.3, 0.7),
                make_scores(0.3, 0.7),
                (),
                None,
                None,
            ),
        )


def open_folders(cell: Cell, root: Path) -> tuple[RunFolder, EvaluationFolder]:
    project = Project(root)
    return project.run(cell.name), project.evaluation(cell.name)


def make_judge(groups: int) -> RunJudge:
    names = [f"animal=a{index % groups}" for index in range(IMAGES)]
    samples = pd.DataFrame({"split": ["train"] * IMAGES + ["validation"] * IMAGES, "groups": names * 2})
    samples[["pixels", "share_animal", "share_background"]] = (9, 0.2, 0.8)
    return RunJudge(samples, 0.9, Thresholds(), CLASSES)


def judge_run(params: Params, root: Path, rise: float, groups: int = IMAGES) -> Judgment:
    cell = params.cells()[0]
    write_run(root, cell, rise)
    judgment = make_judge(groups).add_judgment(make_row(cell), cell, *open_folders(cell, root)).judgment
    assert judgment is not None
    return judgment


def test_add_judgment_of_flat_validation_has_an_interval_and_no_onset(params: Params, tmp_path: Path) -> None:
    judgment = judge_run(params, tmp_path, 0.0)
    assert judgment.verdict == "memorizing"  # validation 0.3, training 0.14
    assert judgment.not_checked == ()
    assert judgment.onset is None
    assert judgment.iou_gap == pytest.approx(0.2)
    assert judgment.iou_gap_last == pytest.approx(0.25)
    assert judgment.iou_fall == pytest.approx(0.05)
    assert judgment.gap_low is not None
    assert judgment.gap_high is not None
    assert judgment.gap_low < 0.15 < judgment.gap_high
    assert judgment.selection_bias is not None
    assert 0 < judgment.selection_bias < 0.02


def test_add_judgment_of_rising_validation_is_overfitting(params: Params, tmp_path: Path) -> None:
    judgment = judge_run(params, tmp_path, 0.01)
    assert judgment.verdict == "overfitting"
    assert judgment.onset is not None
    assert judgment.onset[0] <= 16 <= judgment.onset[1]
    assert judgment.rise == pytest.approx(0.14 / 0.3, abs=0.05)


def test_add_judgment_with_few_groups_has_no_interval(params: Params, tmp_path: Path) -> None:
    judgment = judge_run(params, tmp_path, 0.0, groups=7)
    assert (judgment.gap_low, judgment.gap_high) == (None, None)
    assert any("7 groups" in reason for reason in judgment.not_checked)


def test_add_judgment_without_groups_counts_images(params: Params, tmp_path: Path) -> None:
    cell = params.cells()[0]
    write_run(tmp_path, cell, 0.0)
    path = tmp_path / "runs" / cell.name / "image_losses.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["validation_pixels"][5:] = 0  # five images have evaluated pixels
    np.savez(path, **arrays)
    judge = make_judge(IMAGES)
    judge.samples["groups"] = ""
    judgment = judge.add_judgment(make_row(cell), cell, *open_folders(cell, tmp_path)).judgment
    assert judgment is not None
    assert [reason for reason in judgment.not_checked if "Interval" in reason] == [
        "Interval of the gap: validation has 5 images, fewer than the 10 required for an interval."
    ]


def test_add_judgment_of_diverged_and_missing_runs(params: Params, tmp_path: Path) -> None:
    cell = params.cells()[0]
    diverged = (
        make_judge(12)
        .add_judgment(make_row(cell, "diverged", "NaN in epoch 3."), cell, *open_folders(cell, tmp_path))
        .judgment
    )
    assert diverged is not None
    assert (diverged.verdict, diverged.evidence) == ("diverged", ("NaN in epoch 3.",))
    assert (
        make_judge(12).add_judgment(make_row(cell, "missing", "gone"), cell, *open_folders(cell, tmp_path)).judgment
        is None
    )


def test_add_judgment_with_corrupt_losses_names_the_file(params: Params, tmp_path: Path) -> None:
    cell = params.cells()[0]
    write_run(tmp_path, cell, 0.0)
    (tmp_path / "runs" / cell.name / "image_losses.npz").write_bytes(b"no archive")
    with pytest.raises(PipelineError, match=r"image_losses\.npz cannot be read"):
        make_judge(12).add_judgment(make_row(cell), cell, *open_folders(cell, tmp_path))


def test_add_judgment_with_losses_of_more_images_is_refused(params: Params, tmp_path: Path) -> None:
    cell = params.cells()[0]
    write_run(tmp_path, cell, 0.0)
    judge = make_judge(12)
    judge = replace(judge, samples=judge.samples.iloc[2:])
    with pytest.raises(PipelineError, match=r"losses for 24 images in the split 'train', .*has 22"):
        judge.add_judgment(make_row(cell), cell, *open_folders(cell, tmp_path))


def test_create_labels_numbers_the_groups_of_each_kind() -> None:
    two_kinds = create_labels(
        pd.Series(["animal=cat;background=sea", "animal=dog;background=sea", "animal=cat;background=land"])
    )
    assert sorted(len(set(kind.tolist())) for kind in two_kinds) == [2, 2]
    one_kind = create_labels(pd.Series(["", "", "group=a", "group=a"]))
    assert len(one_kind) == 1
    assert len(set(one_kind[0].tolist())) == 3
    no_groups = create_labels(pd.Series(["", ""]))
    assert [kind.tolist() for kind in no_groups] == [[0, 1]]
    with_semicolons = create_labels(pd.Series(["group=a;b", "group=a;c", "group=a;b"]))
    assert [kind.tolist() for kind in with_semicolons] == [[0, 1, 0]]
