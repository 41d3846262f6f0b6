"""Which points and values a run in MLflow takes: finite, under names that MLflow allows, each once."""

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

NAME_LENGTH = 250  # characters, MLflow's limits; longer parameters and tags it cuts without a word
PARAMETER_LENGTH = 6_000
TAG_LENGTH = 8_000

_CUT = " … (cut)"
_TOLERANCE = 1e-6  # relative; a history file may be rounded, another training differs by far more


def metric_name(name: str) -> str:
    """The name with what MLflow refuses replaced: a class may be called `road (wet)`."""
    allowed = posixpath.normpath(re.sub(r"[^\w./\- :]", "_", name).replace("..", "_")).strip("/")
    return allowed[:NAME_LENGTH]


def split_finite(values: Mapping[str, float]) -> tuple[dict[str, float], list[str]]:
    """The finite values under MLflow's names, and the names of the others.

    MLflow answers a stored NaN as invalid JSON and infinity as 1.8e308; the charts that hold one stay empty.
    """
    finite = {metric_name(name): float(value) for name, value in values.items() if math.isfinite(value)}
    return finite, [name for name, value in values.items() if not math.isfinite(value)]


def renamed(names: Iterable[str]) -> list[str]:
    """What to say of the names that MLflow gets otherwise than they are."""
    return [f"{name} as {metric_name(name)}" for name in names if metric_name(name) != name]


def flatten(parameters: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested parameters under names such as `model.depth`, values as JSON writes them, strings bare."""
    flat: dict[str, str] = {}
    for name, value in parameters.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = (
                value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            )
    return flat


def cut(values: Mapping[str, str], length: int) -> tuple[dict[str, str], list[str]]:
    """The values, none longer than `length` characters, and the names of those that were."""
    shorter = {
        name: value if len(value) <= length else value[: length - len(_CUT)] + _CUT for name, value in values.items()
    }
    return shorter, [name for name, value in values.items() if len(value) > length]


class MetricHistory:
    """The points that a run in MLflow holds already: name, step, value, timestamp (ms)."""

    def __init__(self, metrics: Iterable[Metric] = ()) -> None:
        self._points: dict[str, dict[int, tuple[float, int]]] = {}
        self.add(metrics)

    @classmethod
    def read(cls, client: MlflowClient, run: Run) -> MetricHistory:
        """Ask the store for all points of a run."""
        names = [name for name in run.data.metrics if not name.startswith(PREFIX)]  # long histories of no use here
        return cls(point for name in names for point in client.get_metric_history(run.info.run_id, name))

    def add(self, metrics: Iterable[Metric]) -> None:
        """Note what was sent; of two points at a step the later timestamp counts, as it does in MLflow's table."""
        for metric in metrics:
            steps = self._points.setdefault(metric.key, {})
            known = steps.get(metric.step)
            if known is None or metric.timestamp >= known[1]:
                steps[metric.step] = (metric.value, metric.timestamp)

    def missing(self, values: Mapping[str, float], step: int) -> dict[str, float]:
        """Those of the values that have no point at the step yet."""
        return {name: value for name, value in values.items() if step not in self._points.get(name, {})}

    def contradicts(self, values: Mapping[str, float], step: int) -> list[str]:
        """The names of the values that have another value at the step."""
        return [
            name
            for name, value in values.items()
            if (known := self._points.get(name, {}).get(step)) is not None
            and not math.isclose(known[0], value, rel_tol=_TOLERANCE, abs_tol=1e-12)
        ]

    def timestamp(self, name: str, step: int) -> int:
        """The timestamp of a point, 0 where there is none."""
        return self._points.get(name, {}).get(step, (0.0, 0))[1]

    def between(self, first: int, end: int) -> list[Metric]:
        """All points with `first` <= step < `end`."""
        from mlflow.entities import Metric

        return [
            Metric(name, value, timestamp, step)
            for name, steps in self._points.items()
            for step, (value, timestamp) in steps.items()
            if first <= step < end
        ]
