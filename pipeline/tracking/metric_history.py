"""Read a run's metrics from MLflow, and convert metrics, parameters and tags to a form that MLflow accepts."""

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
_TOLERANCE = 1e-6  # relative; above the rounding in history files, far below differences between machines


class MetricHistory:
    """The metric values of a run in MLflow, by name and step, with their timestamps in milliseconds since 1970."""

    def __init__(self, metrics: Iterable[Metric] = ()) -> None:
        self._points: dict[tuple[str, int], tuple[float, int]] = {}
        self.add(metrics)

    @classmethod
    def read(cls, client: MlflowClient, run: Run) -> MetricHistory:
        """Read all metric values of a run, except system metrics."""
        names = [name for name in run.data.metrics if not name.startswith(PREFIX)]
        return cls(point for name in names for point in client.get_metric_history(run.info.run_id, name))

    def add(self, metrics: Iterable[Metric]) -> None:
        """Add metric values. If a step has several, the latest is kept, as in MLflow's table."""
        for metric in metrics:
            if metric.timestamp >= self.get_timestamp(metric.key, metric.step):
                self._points[metric.key, metric.step] = metric.value, metric.timestamp

    def find_missing(self, values: Mapping[str, float], step: int) -> dict[str, float]:
        """Return the metrics that have no value at the step."""
        return {name: value for name, value in values.items() if (name, step) not in self._points}

    def find_changed(self, values: Mapping[str, float], step: int) -> dict[str, float]:
        """Return the metrics that have a different value at the step."""
        return {
            name: value
            for name, value in values.items()
            if (name, step) in self._points
            and not math.isclose(self._points[name, step][0], value, rel_tol=_TOLERANCE, abs_tol=1e-12)
        }

    def get_timestamp(self, name: str, step: int) -> int:
        """Return the timestamp of a metric at a step; 0 if it has no value there."""
        return self._points.get((name, step), (0.0, 0))[1]

    def select(self, first: int, end: int) -> list[Metric]:
        """Return all metric values with `first` <= step < `end`."""
        from mlflow.entities import Metric

        return [
            Metric(name, value, timestamp, step)
            for (name, step), (value, timestamp) in self._points.items()
            if first <= step < end
        ]


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
