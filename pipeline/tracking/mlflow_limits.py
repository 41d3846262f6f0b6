"""Convert metrics, parameters and tags to names, values and lengths that MLflow accepts."""

from __future__ import annotations

import json
import math
import posixpath
import re
from collections.abc import Iterable, Mapping
from typing import Any

MAX_NAME_LENGTH = 250  # characters, MLflow's limits; it truncates longer parameters and tags silently
MAX_PARAMETER_LENGTH = 6_000
MAX_TAG_LENGTH = 8_000

_ELLIPSIS = " … (truncated)"


def to_mlflow_name(name: str) -> str:
    """Replace the characters that MLflow rejects, such as the parentheses in the class name `road (wet)`."""
    allowed = posixpath.normpath(re.sub(r"[^\w./\- :]", "_", name).replace("..", "_")).strip("/")
    return allowed[:MAX_NAME_LENGTH]


def describe_renamed(names: Iterable[str]) -> list[str]:
    """List the names that MLflow does not accept unchanged, each with its name in MLflow."""
    return [f"{name} as {to_mlflow_name(name)}" for name in names if to_mlflow_name(name) != name]


def split_finite(values: Mapping[str, float]) -> tuple[dict[str, float], list[str]]:
    """Return the finite values by their names in MLflow, and the names of the NaN and infinite values.

    MLflow returns a stored NaN as invalid JSON and infinity as 1.8e308, and a chart that contains either stays empty.
    """
    finite = {to_mlflow_name(name): float(value) for name, value in values.items() if math.isfinite(value)}
    return finite, [name for name, value in values.items() if not math.isfinite(value)]


def flatten(parameters: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten nested parameters to names such as `model.depth`, and format values other than strings as JSON."""
    flat: dict[str, str] = {}
    for name, value in parameters.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            flat[f"{prefix}{name}"] = text
    return flat


def truncate(values: Mapping[str, str], max_length: int) -> tuple[dict[str, str], list[str]]:
    """Truncate values to `max_length` characters; return all values, and the names of the truncated ones."""
    shortened = {
        name: value if len(value) <= max_length else value[: max_length - len(_ELLIPSIS)] + _ELLIPSIS
        for name, value in values.items()
    }
    return shortened, [name for name, value in values.items() if len(value) > max_length]
