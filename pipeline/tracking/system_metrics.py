"""Log system metrics of this machine (CPU, memory, disk, network, GPU) to a run in MLflow.

They are logged if MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING is set. `mlflow.start_run` would start MLflow's monitor for
them, but `MlflowClient.create_run`, which this package uses, does not.
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

logger = logging.getLogger("pipeline.tracking")

PREFIX = "system/"  # MLflow's prefix of the names of system metrics


class SystemMetrics:
    """Monitor the system metrics of one run at a time; no method raises MLflow errors."""

    def __init__(self) -> None:
        self._monitor: SystemMetricsMonitor | None = None
        self._run_id: str | None = None

    def follow(self, run_id: str, uri: str) -> None:
        """Start logging system metrics to a run, if they are enabled and the run is not monitored yet."""
        if run_id == self._run_id:
            return
        self.stop()
        self._run_id = run_id
        try:
            from mlflow.environment_variables import MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING

            if MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING.get():  # type: ignore[no-untyped-call]
                from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

                monitor = SystemMetricsMonitor(run_id, resume_logging=True, tracking_uri=uri)  # type: ignore[no-untyped-call]
                monitor.start()  # type: ignore[no-untyped-call]
                self._monitor = monitor
        except ModuleNotFoundError as error:
            _warn(f"need the package {error.name}, which is not installed: pip install {error.name}")
        except Exception as error:  # no MLflow error may stop a run
            _warn(f"could not be started ({type(error).__name__}: {error})")

    def stop(self) -> None:
        """Stop monitoring, and upload the remaining samples."""
        if self._monitor is not None:
            self._monitor.finish()  # type: ignore[no-untyped-call]
            self._monitor = None


@functools.cache
def _warn(reason: str) -> None:
    """Warn once per process, because a sweep logs many runs in one process."""
    logger.warning("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING is set, but system metrics %s.", reason)
