"""A team's MLflow server: killed and restarted while eight runs are logged, and with user accounts."""

from __future__ import annotations

import base64
import json
import multiprocessing
import os
import pwd
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError
from pipeline.params import Tracking
from pipeline.params.file import read_params
from pipeline.tracking import background_logger
from pipeline.tracking.background_logger import BackgroundLogger
from pipeline.tracking.fetch import fetch_runs
from pipeline.tracking.store import open_client
from tests.optional import import_or_skip
from tests.servers import MlflowServer, find_free_port
from tests.tracking.conftest import create_training_state, write_run_folder

WRITERS, EPOCHS, CLASSES = 8, 40, 3
METRICS = CLASSES + 3  # losses and learning rate
TRACKING = Tracking(uri=None, experiment="learning-report")

pytestmark = pytest.mark.slow


class Database:
    """An SQLite database, which has no server to restart."""

    def __init__(self, folder: Path) -> None:
        self.uri = f"sqlite:///{folder / 'mlflow.db'}"

    def restart(self) -> None:
        """Do nothing."""


class Postgres(Database):
    """Debian's PostgreSQL in a temporary folder, run as user postgres if the test is run by root."""

    def __init__(self, folder: Path) -> None:
        binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        if not binaries:
            pytest.skip("no PostgreSQL under /usr/lib/postgresql; Debian has it in postgresql")
        self._bin, self._data = binaries[-1], folder / "data"
        self._run_as = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self._run_as:
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
        port = find_free_port()
        self._call("initdb", "-D", str(self._data), "-A", "trust", "-U", "mlflow")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
        self._control = ["-D", str(self._data), "-o", options, "-l", str(folder / "log"), "-w"]
        self._call("pg_ctl", *self._control, "start")
        self._call("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "mlflow", "mlflow")
        self.uri = f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/mlflow"

    def restart(self) -> None:
        self._call("pg_ctl", *self._control, "restart", "-m", "immediate")

    def stop(self) -> None:
        self._call("pg_ctl", "-D", str(self._data), "stop", "-m", "immediate")

    def _call(self, name: str, *arguments: str) -> None:
        subprocess.run(
            [*self._run_as, str(self._bin / name), *arguments], check=True, stdout=subprocess.DEVNULL, cwd="/"
        )


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    # Not pytest's folder, which PostgreSQL's user cannot access.
    folder = Path(tempfile.mkdtemp())
    try:
        if request.param == "sqlite":
            yield Database(folder)
        else:
            import_or_skip("psycopg2")
            postgres = Postgres(folder)
            try:
                yield postgres
            finally:
                postgres.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def log_trainings(numbers: list[int], server: str, root: Path, pause: float, restarted: Any) -> None:
    """Log several trainings in one process, as `pipeline sweep` does; the last epochs follow the restart."""
    os.environ["MLFLOW_TRACKING_URI"] = server
    background_logger.RETRY_SECONDS = 1.0
    with BackgroundLogger(read_params(root / "params.yaml"), Project(root)) as logger:
        for epoch in range(EPOCHS + 1):
            for number in numbers:
                logger.update(create_training_state(number, epoch, CLASSES))
            time.sleep(pause)
            if epoch == EPOCHS * 3 // 4:
                assert restarted.wait(240)
        for number in numbers:
            write_run_folder(create_training_state(number, EPOCHS, CLASSES), root)
            logger.finish(f"unet-0.001-{number}")


def count_points(uri: str) -> tuple[int, int]:
    """Count the points in the database, and those stored twice."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri)
    with engine.connect() as connection:
        rows = connection.execute(sqlalchemy.text("SELECT run_uuid, key, step FROM metrics")).all()
    engine.dispose()
    return len(rows), len(rows) - len({tuple(row) for row in rows})


def test_each_point_is_stored_once_after_server_and_database_are_killed(
    database: Database, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "project"
    shutil.copytree(prepared, root)
    server = MlflowServer(database.uri, tmp_path)
    server.start()
    context = multiprocessing.get_context("spawn")
    restarted = context.Event()
    halves = [list(range(first, WRITERS, 2)) for first in (0, 1)]  # two commands in one project
    writers = [
        context.Process(target=log_trainings, args=(half, server.address, root, 0.4, restarted)) for half in halves
    ]
    try:
        for writer in writers:
            writer.start()
        while count_points(database.uri)[0] < WRITERS * METRICS:
            time.sleep(0.5)
        server.kill()
        time.sleep(2)
        server.start()
        time.sleep(2)
        database.restart()
        restarted.set()
        for writer in writers:
            writer.join()
            assert writer.exitcode == 0  # MLflow's failures stop no training
        live, _ = count_points(database.uri)
        repeated = context.Process(
            target=log_trainings, args=(list(range(WRITERS)), server.address, root, 0.0, restarted)
        )
        repeated.start()
        repeated.join()
        stored, duplicates = count_points(database.uri)
        sent = WRITERS * EPOCHS * METRICS
        with capsys.disabled():
            print(f"\n{database.uri.partition(':')[0]}: sent {sent}, found {live} live and {stored} after a second")
            print(f"upload; duplicates {duplicates}, missing {sent - stored}")
        assert (stored, duplicates) == (sent, 0)
        _check_runs(server.address)
    finally:
        server.kill()


def _check_runs(address: str) -> None:
    client = open_client(address)
    experiment = client.get_experiment_by_name(TRACKING.experiment)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == [f"unet-0.001-{number}" for number in range(WRITERS)]
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        files = {item.path for item in client.list_artifacts(run.info.run_id, "run")}
        assert files == {"run/history.csv", "run/run.json", "run/timing.json"}


ADMIN, PASSWORD = "admin", "a-long-password-of-the-administrator"


def test_server_with_accounts_tags_runs_with_the_user(
    tmp_path: Path, data_project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Set up as in docs/how-to/team-server.md: members may write to each other's experiments."""
    import_or_skip("flask_wtf")
    config = tmp_path / "auth.ini"
    config.write_text(
        f"[mlflow]\ndefault_permission = EDIT\ndatabase_uri = sqlite:///{tmp_path}/users.db\nadmin_username = {ADMIN}\n"
    )
    environment = {
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "any",
    }
    server = MlflowServer(
        f"sqlite:///{tmp_path}/mlflow.db", tmp_path, "--app-name", "basic-auth", environment=environment
    )
    with server.running() as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        with pytest.raises(PipelineError, match="requires a user name and a password: set MLFLOW_TRACKING_USERNAME"):
            fetch_runs(TRACKING, "latest", tmp_path / "cache", "0" * 64, lambda _: None)
        for name in ("mia", "tom"):
            _add_account(address, name)
        for number, name in enumerate(("mia", "tom")):
            _log_in(monkeypatch, name)
            _train(number)
        assert not caplog.records
        runs = open_client(address).search_runs(["1"], order_by=["attributes.start_time ASC"])
        assert [run.data.tags["mlflow.user"] for run in runs] == ["mia", "tom"]
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "guessed")
        with pytest.raises(PipelineError, match="does not accept the password of tom"):
            fetch_runs(TRACKING, "latest", tmp_path / "cache", "0" * 64, lambda _: None)
        config.write_text(config.read_text().replace("EDIT", "READ"))  # MLflow's default
        server.kill()
        server.start()
        _log_in(monkeypatch, "tom")
        _train(2)
        assert "does not allow tom to do this: ask its administrator for EDIT permission" in caplog.text


def _add_account(address: str, name: str) -> None:
    credentials = base64.b64encode(f"{ADMIN}:{PASSWORD}".encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {credentials}"}
    body = json.dumps({"username": name, "password": PASSWORD}).encode()
    request = urllib.request.Request(f"{address}/api/2.0/mlflow/users/create", body, headers)
    urllib.request.urlopen(request, timeout=30).close()


def _log_in(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", name)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)


def _train(number: int) -> None:
    with BackgroundLogger(read_params()) as logger:
        logger.update(create_training_state(number, 1, began_ms=number + 1))
