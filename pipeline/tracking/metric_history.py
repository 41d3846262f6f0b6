"""Read and compare the metric values of a run in MLflow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pipeline.tracking.system_metrics import PREFIX

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

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
