"""A project folder with an MLflow store; the store is made once a session and copied, since making it takes seconds."""

import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.params import Tracking
from pipeline.tracking.mirror import Mirror

KEY = "5e" * 32


@pytest.fixture(scope="session")
def empty_store(store: Path) -> Path:
    return store


@pytest.fixture
def bare_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without a store; its name holds what a home folder's may."""
    project = tmp_path / "müller's project"
    project.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return project


@pytest.fixture
def project(bare_project: Path, empty_store: Path) -> Path:
    shutil.copyfile(empty_store, bare_project / "mlflow.db")
    return bare_project


@pytest.fixture
def tracking() -> Tracking:
    return Tracking(uri=None, experiment="learning-report")


@pytest.fixture
def open_mirror(tracking: Tracking) -> Callable[..., Mirror]:
    """Open the mirror of one and the same run, with whatever a test wants otherwise."""

    def open_it(**changes: Any) -> Mirror:
        return Mirror.open(
            **{
                "tracking": tracking,
                "name": "unet-0.001-0",
                "key": KEY,
                "parameters": {"variant": "unet", "model": {"depth": 4}},
                "tags": {},
                **changes,
            }
        )

    return open_it


@pytest.fixture
def closed_port() -> int:
    """A port at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
