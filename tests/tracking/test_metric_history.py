import math

import pytest

from pipeline.tracking.metric_history import PARAMETER_LENGTH, cut, flatten, metric_name, split_finite


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("val_iou/pet", "val_iou/pet"),
        ("val_iou/Käse", "val_iou/Käse"),
        ("val_iou/road (wet), @night", "val_iou/road _wet__ _night"),
        ("/val_iou//../x/", "val_iou/_/x"),
        ("x" * 300, "x" * 250),
    ],
)
def test_names_are_made_fit_for_mlflow(name: str, allowed: str) -> None:
    assert metric_name(name) == allowed


def test_nan_and_infinity_are_told_apart() -> None:
    assert split_finite({"a": 1.0, "b": math.nan, "c": -math.inf}) == ({"a": 1.0}, ["b", "c"])


def test_parameters_are_flattened_and_written_as_json() -> None:
    parameters = {"variant": "unet", "learning_rate": 1e-3, "model": {"depth": 4, "skip": None, "up": {}}, "on": True}
    assert flatten(parameters) == {
        "variant": "unet",
        "learning_rate": "0.001",
        "model.depth": "4",
        "model.skip": "null",
        "model.up": "{}",
        "on": "true",
    }


def test_long_values_are_cut_and_named() -> None:
    values, names = cut({"short": "x", "long": "y" * (PARAMETER_LENGTH + 1)}, PARAMETER_LENGTH)
    assert (values["short"], len(values["long"]), names) == ("x", PARAMETER_LENGTH, ["long"])
    assert values["long"].endswith("(cut)")
