"""System metrics are logged if MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING is set, and their errors never stop a training."""

from __future__ import annotations

import logging
import sys
import threading
import time

import pytest

from pipeline.params import Tracking
from pipeline.params.file import read_params
from pipeline.tracking import system_metrics
from pipeline.tracking.background_logger import BackgroundLogger
from pipeline.tracking.store import get_tracking_uri, open_client
from tests.tracking.conftest import create_training_state

pytestmark = pytest.mark.usefixtures("data_project")
VARIABLE = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"


@pytest.fixture(autouse=True)
def _sample_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    monkeypatch.delenv(VARIABLE, raising=False)
    system_metrics._warn.cache_clear()


def load_run(tracking: Tracking) -> tuple[str, dict[str, float]]:
    """Load the status and the metrics of the only run."""
    client = open_client(get_tracking_uri(tracking))
    experiment = client.get_experiment_by_name(tracking.experiment)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    return run.info.status, run.data.metrics


def train(is_monitored: bool = True, is_local: bool = True) -> None:
    with BackgroundLogger(read_params(), log_system_metrics=is_local) as logger:
        logger.update(create_training_state(0, 1))
        started = time.monotonic()
        while is_monitored and not list_monitors() and time.monotonic() < started + 60:
            time.sleep(0.05)
        time.sleep(0.5)  # several sampling intervals


def list_monitors() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "SystemMetricsMonitor"]


def test_system_metrics_are_logged_until_the_run_ends(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "true")
    train()
    assert list_monitors() == []
    status, metrics = load_run(tracking)
    assert status == "KILLED"
    assert metrics["loss/train"] == 1.0
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= set(metrics)


def test_system_metrics_of_a_resumed_run_continue_the_steps(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "true")
    for _ in range(2):
        train()
    client = open_client(get_tracking_uri(tracking))
    experiment = client.get_experiment_by_name(tracking.experiment)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    points = client.get_metric_history(run.info.run_id, "system/cpu_utilization_percentage")
    steps = [point.step for point in sorted(points, key=lambda point: point.timestamp)]
    assert steps == list(range(len(points)))


@pytest.mark.parametrize(("value", "is_local"), [(None, True), ("false", True), ("true", False)])
def test_system_metrics_are_off_by_default_and_on_other_machines(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch, value: str | None, is_local: bool
) -> None:
    if value:
        monkeypatch.setenv(VARIABLE, value)
    train(is_monitored=False, is_local=is_local)
    assert not any(name.startswith("system/") for name in load_run(tracking)[1])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("true", "need the package psutil, which is not installed: pip install psutil."),
        ("maybe", "could not be started"),
    ],
)
def test_system_metrics_that_cannot_start_cause_one_warning(
    tracking: Tracking,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    value: str,
    message: str,
) -> None:
    monkeypatch.setenv(VARIABLE, value)
    for name in [name for name in sys.modules if name.startswith("mlflow.system_metrics")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psutil", None)
    for _ in range(2):
        train(is_monitored=False)
    assert load_run(tracking)[0] == "KILLED"
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert message in record.getMessage()
