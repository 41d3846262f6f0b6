"""Breakdown of a gap: weighted parts add up to the loss, and the widest gaps come first."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.gap_breakdown import MAX_PARTS, break_down_by_class, break_down_by_group, break_down_by_image

CLASSES = ("animal", "background")


def make_table(seed: int, images: int, num_animals: int = 3) -> pd.DataFrame:
    """Make a table of images whose loss is the mean of their losses by class, weighted by pixels."""
    generator = np.random.default_rng(seed)
    counts = generator.integers(1, 50, (images, len(CLASSES)))
    losses = generator.uniform(0.1, 2, (images, len(CLASSES)))
    frame = pd.DataFrame({f"pixels_{name}": counts[:, index] for index, name in enumerate(CLASSES)})
    for index, name in enumerate(CLASSES):
        frame[f"loss_{name}"] = losses[:, index]
    frame["pixels"] = counts.sum(axis=1)
    frame["loss"] = (losses * counts).sum(axis=1) / counts.sum(axis=1)
    frame["id"] = [f"image-{index}" for index in range(images)]
    frame["groups"] = [f"animal=a{index % num_animals};place=p{index}" for index in range(images)]
    return frame


def average(frame: pd.DataFrame) -> float:
    return float(np.average(frame["loss"], weights=frame["pixels"]))


@given(st.integers(0, 1000), st.integers(1, 30))
def test_break_down_by_class_adds_up_to_the_losses(seed: int, images: int) -> None:
    train, validation = make_table(seed, 20), make_table(seed + 1, images)
    iou = dict.fromkeys(CLASSES, 0.5)
    parts = break_down_by_class(train, validation, iou, iou)
    assert [part.name for part in parts] == list(CLASSES)
    for frame, side in ((train, "train_loss"), (validation, "val_loss")):
        shares = frame[[f"pixels_{name}" for name in CLASSES]].sum() / frame["pixels"].sum()
        assert sum(getattr(part, side) * share for part, share in zip(parts, shares, strict=True)) == pytest.approx(
            average(frame)
        )


@given(st.integers(0, 1000), st.integers(7, 30))
def test_break_down_by_group_compares_with_all_training_images(seed: int, images: int) -> None:
    train, validation = make_table(seed, 20), make_table(seed + 1, images)
    parts = break_down_by_group(train, validation)
    # Each place belongs to a single image.
    assert {part.name for part in parts} == {"animal=a0", "animal=a1", "animal=a2"}
    assert sum(part.images for part in parts) == images
    assert [part.gap for part in parts] == sorted((part.gap for part in parts), reverse=True)
    assert all(part.train_loss == pytest.approx(average(train)) for part in parts)
    first = validation[validation["groups"].str.contains("animal=a0")]
    assert next(part for part in parts if part.name == "animal=a0").val_loss == pytest.approx(average(first))


def test_break_down_by_image_sorts_by_loss() -> None:
    validation = make_table(1, 30)
    parts = break_down_by_image(make_table(0, 20), validation)
    assert [part.name for part in parts] == validation.sort_values("loss", ascending=False)["id"].tolist()[:MAX_PARTS]


def test_break_down_by_group_without_groups_is_empty() -> None:
    validation = make_table(1, 5).assign(groups="")
    assert break_down_by_group(make_table(0, 20), validation) == []


def test_break_down_by_class_skips_a_class_missing_from_one_side() -> None:
    train, validation = make_table(0, 5), make_table(1, 5)
    train["pixels_animal"], train["loss_animal"] = 0, np.nan
    parts = break_down_by_class(train, validation, {"animal": None, "background": 0.5}, dict.fromkeys(CLASSES, 0.5))
    assert [part.name for part in parts] == ["background"]


def test_break_down_by_class_counts_only_images_with_the_class() -> None:
    train, validation = make_table(0, 5), make_table(1, 5)
    validation.loc[0, ["pixels_animal", "loss_animal"]] = [0, np.nan]
    iou = dict.fromkeys(CLASSES, 0.5)
    animal, background = break_down_by_class(train, validation, iou, iou)
    assert (animal.images, background.images) == (4, 5)
    rest = validation.iloc[1:]
    assert animal.val_loss == pytest.approx(np.average(rest["loss_animal"], weights=rest["pixels_animal"]))
