"""Conversion of metrics and parameters to names and values that MLflow accepts."""

import math

import pytest

from pipeline.tracking.mlflow_limits import MAX_PARAMETER_LENGTH, flatten, split_finite, to_mlflow_name, truncate


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
def test_to_mlflow_name_replaces_invalid_characters(name: str, allowed: str) -> None:
    assert to_mlflow_name(name) == allowed


def test_split_finite_separates_nan_and_infinity() -> None:
    assert split_finite({"a": 1.0, "b": math.nan, "c": -math.inf}) == ({"a": 1.0}, ["b", "c"])


def test_flatten_joins_keys_and_encodes_values_as_json() -> None:
    parameters = {
        "variant": "unet",
        "learning_rate": 1e-3,
        "model": {"depth": 4, "skip_connections": None, "upsampling": {}},
        "on": True,
    }
    assert flatten(parameters) == {
        "variant": "unet",
        "learning_rate": "0.001",
        "model.depth": "4",
        "model.skip_connections": "null",
        "model.upsampling": "{}",
        "on": "true",
    }


def test_truncate_shortens_long_values_and_returns_their_names() -> None:
    values, names = truncate({"short": "x", "long": "y" * (MAX_PARAMETER_LENGTH + 1)}, MAX_PARAMETER_LENGTH)
    assert (values["short"], len(values["long"]), names) == ("x", MAX_PARAMETER_LENGTH, ["long"])
    assert values["long"].endswith("(truncated)")
