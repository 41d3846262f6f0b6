"""Points that a run in MLflow has, and the form in which MLflow accepts metrics, parameters and tags."""

from __future__ import annotations

import json
import math
import posixpath
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.tracking.system_metrics import PREFIX

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

MAX_NAME_LENGTH = 250  # characters, MLflow's limits; it truncates longer parameters and tags silently
MAX_PARAMETER_LENGTH = 6_000
MAX_TAG_LENGTH = 8_000

_ELLIPSIS = " … (truncated)"
_TOLERANCE = 1e-6  # relative; a history file may be rounded, the same run on another machine differs by far more


class MetricHistory:
    """The points of a run in MLflow: name, step, value, timestamp (ms)."""

    def __init__(self, metrics: Iterable[Metric] = ()) -> None:
        self._points: dict[tuple[str, int], tuple[float, int]] = {}
        self.add(metrics)

    @classmethod
    def read(cls, client: MlflowClient, run: Run) -> MetricHistory:
        """Read all points of a run, except system metrics."""
        names = [name for name in run.data.metrics if not name.startswith(PREFIX)]
        return cls(point for name in names for point in client.get_metric_history(run.info.run_id, name))

    def add(self, metrics: Iterable[Metric]) -> None:
        """Add points; of two points at a step the later one counts, as it does in MLflow's table."""
        for metric in metrics:
            if metric.timestamp >= self.get_timestamp(metric.key, metric.step):
                self._points[metric.key, metric.step] = metric.value, metric.timestamp

    def find_missing(self, values: Mapping[str, float], step: int) -> dict[str, float]:
        """Return the values that have no point at the step."""
        return {name: value for name, value in values.items() if (name, step) not in self._points}

    def find_changed(self, values: Mapping[str, float], step: int) -> dict[str, float]:
        """Return the values whose point at the step has another value."""
        return {
            name: value
            for name, value in values.items()
            if (name, step) in self._points
            and not math.isclose(self._points[name, step][0], value, rel_tol=_TOLERANCE, abs_tol=1e-12)
        }

    def get_timestamp(self, name: str, step: int) -> int:
        """Return the timestamp of a point, 0 without one."""
        return self._points.get((name, step), (0.0, 0))[1]

    def select(self, first: int, end: int) -> list[Metric]:
        """Return all points with `first` <= step < `end`."""
        from mlflow.entities import Metric

        return [
            Metric(name, value, timestamp, step)
            for (name, step), (value, timestamp) in self._points.items()
            if first <= step < end
        ]


def to_mlflow_name(name: str) -> str:
    """Replace the characters that MLflow refuses: a class may be called `road (wet)`."""
    allowed = posixpath.normpath(re.sub(r"[^\w./\- :]", "_", name).replace("..", "_")).strip("/")
    return allowed[:MAX_NAME_LENGTH]


def describe_renamed(names: Iterable[str]) -> list[str]:
    """List the names that differ in MLflow, each with its name there."""
    return [f"{name} as {to_mlflow_name(name)}" for name in names if to_mlflow_name(name) != name]


def split_finite(values: Mapping[str, float]) -> tuple[dict[str, float], list[str]]:
    """Return the finite values under their names in MLflow, and the names of the others.

    MLflow returns a stored NaN as invalid JSON and infinity as 1.8e308; charts with one of them stay empty.
    """
    finite = {to_mlflow_name(name): float(value) for name, value in values.items() if math.isfinite(value)}
    return finite, [name for name, value in values.items() if not math.isfinite(value)]


def flatten(parameters: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten nested parameters to names such as `model.depth`; values become JSON, except strings."""
    flat: dict[str, str] = {}
    for name, value in parameters.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            flat[f"{prefix}{name}"] = text
    return flat


def truncate(values: Mapping[str, str], max_length: int) -> tuple[dict[str, str], list[str]]:
    """Shorten values to `max_length` characters; return them, and the names of those that were longer."""
    shortened = {
        name: value if len(value) <= max_length else value[: max_length - len(_ELLIPSIS)] + _ELLIPSIS
        for name, value in values.items()
    }
    return shortened, [name for name, value in values.items() if len(value) > max_length]
