"""Losses and their weights in `params.yaml`: accepted values, and messages for mistakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.params.file import check_params
from tests.conftest import load_shipped_params, merge

ParamsWith = Callable[[dict[str, Any]], Params]

FOLDER: dict[str, Any] = {
    "source": "image_mask_folder",
    "path": "cells",
    "image_size": 32,
    "resize": "stretch",
    "seed": 0,
    "max_train_images": None,
    "splits": {"validation": 0.2, "test": 0.2},
    "showcase_ids": None,
    "ignore_value": None,
    "classes": [
        {"name": "background", "color": "#000000", "foreground": False, "mask_value": 0},
        {"name": "cell", "color": "#ffffff", "foreground": True, "mask_value": 1},
        {"name": "7", "color": "#ff0000", "foreground": True, "mask_value": 2},
    ],
}
FORMS = (
    "train.class_weights: must be inverse or median_frequency, or a section with a number above 0 and up to 1,000,000 "
    "for each class, such as {background: 1.0, cell: 10.0}, but is "
)
ONLY = "(only cross_entropy, focal, cross_entropy_dice and cross_entropy_lovasz support pixel weights), but is "
MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown formula": ({"class_weights": "invers"}, f"{FORMS}'invers'."),
    "a list": ({"class_weights": [1.0, 2.0]}, f"{FORMS}[1.0, 2.0]."),
    "no class": ({"class_weights": {}}, f"{FORMS}{{}}."),
    "zero": ({"class_weights": {"background": 0, "cell": 1.0}}, FORMS),
    "negative": ({"class_weights": {"background": -1.0, "cell": 1.0}}, FORMS),
    "NaN": ({"class_weights": {"background": float("nan"), "cell": 1.0}}, FORMS),
    "infinity": ({"class_weights": {"background": float("inf"), "cell": 1.0}}, FORMS),
    "huge": ({"class_weights": {"background": 1e7, "cell": 1.0}}, FORMS),
    "true": ({"class_weights": {"background": True, "cell": 1.0}}, FORMS),
    "text": ({"class_weights": {"background": "1", "cell": 1.0}}, FORMS),
    "a number": ({"class_weights": 2.0}, f"{FORMS}2.0."),
    "dice": ({"loss": "dice", "class_weights": "inverse"}, f"must be null with loss: dice {ONLY}'inverse'."),
    "tversky": ({"loss": "tversky", "class_weights": "inverse"}, f"must be null with loss: tversky {ONLY}"),
    "boundary of lovasz": (
        {"loss": "lovasz", "boundary_weight": {"w0": 10.0, "sigma": 5.0}},
        "train.boundary_weight: must be null with loss: lovasz",
    ),
    "smoothed lovasz": ({"loss": "lovasz", "label_smoothing": 0.1}, "must be 0.0 with loss: lovasz"),
    "sigma of 0": ({"boundary_weight": {"w0": 10.0, "sigma": 0.0}}, "sigma: must be greater than 0.0, but is 0.0."),
    "huge sigma": ({"boundary_weight": {"w0": 10.0, "sigma": 1e6}}, "sigma: must be at most 100.0"),
    "huge w0": ({"boundary_weight": {"w0": 1e9, "sigma": 5.0}}, "train.boundary_weight.w0: must be at most 1000.0"),
    "w0 of 0": ({"boundary_weight": {"w0": 0.0, "sigma": 5.0}}, "w0: must be greater than 0.0, but is 0.0."),
    "NaN as w0": ({"boundary_weight": {"w0": float("nan"), "sigma": 5.0}}, "w0: must be "),
    "no sigma": ({"boundary_weight": {"w0": 10.0}}, "train.boundary_weight.sigma: is missing; add it"),
    "a number as boundary": ({"boundary_weight": 10.0}, "train.boundary_weight: must be a section of keys"),
}


@pytest.mark.parametrize(("changes", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_invalid_loss_params_are_reported(params_with: ParamsWith, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PipelineError) as error:
        params_with({"variants": {"other": {"train": changes}}})
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("loss", ["cross_entropy", "cross_entropy_dice", "focal"])
def test_weights_of_pixels_are_accepted(params_with: ParamsWith, loss: str) -> None:
    weights = {"class_weights": "median_frequency", "boundary_weight": {"w0": 10, "sigma": 5}}
    train = params_with({"train": {"loss": loss, **weights}}).train
    assert train.boundary_weight is not None
    assert (train.class_weights, train.boundary_weight.w0) == ("median_frequency", 10.0)


def test_weights_are_optional(params_with: ParamsWith) -> None:
    train = params_with({}).train
    assert (train.class_weights, train.boundary_weight) == (None, None)


def test_weights_must_have_the_classes_of_a_folder() -> None:
    content = {**load_shipped_params(), "data": FOLDER}
    complete = {"background": 1, "cell": 2.5, 7: 20.0}  # YAML reads an unquoted 7 as a number
    params = check_params(merge(content, {"train": {"class_weights": complete}}), "params.yaml")
    assert params.train.class_weights == {"background": 1.0, "cell": 2.5, "7": 20.0}
    variants = {"unet": {"train": {"class_weights": {"background": 1.0, "cel": 2.0}}}}
    with pytest.raises(PipelineError) as error:
        check_params(merge(content, {"variants": variants}), "params.yaml")
    assert [line.removeprefix("params.yaml: ") for line in str(error.value).splitlines()] == [
        "variants.unet: train.class_weights: no weight for cell, 7; add it.",
        "variants.unet: train.class_weights: the data has no class 'cel'; did you mean cell?",
    ]


def test_variant_without_weights_overrides_the_base(params_with: ParamsWith) -> None:
    params = params_with(
        {
            "train": {"boundary_weight": {"w0": 10.0, "sigma": 5.0}, "class_weights": {"background": 2.0}},
            "variants": {"plain": {"train": {"class_weights": "inverse", "boundary_weight": None}}},
        }
    )
    train = params.cell("plain", 0.01, 0).train
    assert (train.class_weights, train.boundary_weight) == ("inverse", None)
