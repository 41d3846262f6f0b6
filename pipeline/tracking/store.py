"""Where MLflow's store is, and opening it so that many processes may do so at once and none hangs."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import socket
import sqlite3
import urllib.parse
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import PipelineError
from pipeline.params import Tracking
from pipeline.project import project_root
from pipeline.runtime.shutdown import hold
from pipeline.tracking.moved_store import ARTIFACTS, follow_move
from pipeline.tracking.sqlite_errors import describe_sqlite_error, sqlite_reason

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"
DATABASE = "mlflow.db"

# MLflow's own defaults would hold a training for minutes where a server is down (7 retries, 120 s each), tell a host
# on the internet of each run, and print two lines a run. What the user has set stays.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
_MAKING_SECONDS = 120  # the wait for another process that makes the store: 5 s on an idle machine, once
_PROBE_SECONDS = 5
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def tracking_uri(tracking: Tracking, chosen: str | None = None) -> str:
    """MLflow's address: the `chosen`, else `MLFLOW_TRACKING_URI`, else `tracking.uri`, else the project's `mlflow.db`.

    A relative SQLite path is taken from the project's folder, so that every process means the same file.
    """
    uri = chosen or os.environ.get("MLFLOW_TRACKING_URI") or tracking.uri or SQLITE + DATABASE
    return resolve_uri(uri)


def resolve_uri(uri: str) -> str:
    """Return the address with a relative SQLite path made absolute, starting in the project's folder."""
    path = sqlite_file(uri)
    if path is None:
        return uri
    _, mark, options = uri.partition("?")
    return f"{SQLITE}{project_root() / path}{mark}{options}"


def portable_uri(uri: str) -> str:
    """Return the address with the path of a SQLite file in the project's folder made relative, to survive a move."""
    path = sqlite_file(uri)
    if path is None or not path.is_relative_to(project_root()):
        return uri
    _, mark, options = uri.partition("?")
    return f"{SQLITE}{path.relative_to(project_root())}{mark}{options}"


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite address, None of any other address."""
    name = uri.removeprefix(SQLITE).partition("?")[0]
    return Path(name) if uri.startswith(SQLITE) and name not in ("", ":memory:") else None


def is_server(uri: str) -> bool:
    """Whether an MLflow server stands behind the address, rather than a database."""
    return uri.startswith(("http://", "https://"))


def store_is_missing(uri: str) -> bool:
    """Whether the address is a SQLite file that nobody made yet."""
    path = sqlite_file(uri)
    return path is not None and not _is_there(path)


def shown(text: str) -> str:
    """The text with the passwords of its addresses left out, fit for a terminal and a log."""
    return re.sub(r"(?<=://)[^/\s@]+@", "", text)


def open_client(uri: str) -> MlflowClient:
    """A client of the store; a SQLite file that is missing is made, one that was moved is updated.

    Raises whatever MLflow or the database raises, soon: a store that does not answer is not waited for.
    """
    prepare_environment()
    from mlflow import MlflowClient

    path = sqlite_file(uri)
    if path is not None:
        if not _is_there(path):
            _make(path)
        _probe_file(path)
    elif not is_server(uri):
        _probe_database(uri)
    return MlflowClient(tracking_uri=uri)


@contextlib.contextmanager
def answering(uri: str) -> Iterator[None]:
    """A block of calls to the store; whatever it raises becomes a `PipelineError` that says who does not answer."""
    try:
        yield
    except PipelineError:
        raise
    except OSError as error:
        # A file of ours, or a full disk of ours, which is not the store's fault.
        if error.filename is not None or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise _no_answer(uri, error) from None
    except Exception as error:  # MLflow's or a driver's
        raise _no_answer(uri, error) from None


def refusal(error: Exception) -> str | None:
    """What to do where a server wants to know who asks, or knows and refuses; None of any other error."""
    status = getattr(error, "get_http_status_code", lambda: None)()  # MLflow's; it may be what cannot be imported
    who = os.environ.get("MLFLOW_TRACKING_USERNAME", "")
    if status == HTTPStatus.UNAUTHORIZED:
        found = f"does not know {who} by this password" if who else "wants a name and a password"
        return f"{found}: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    if status == HTTPStatus.FORBIDDEN:
        return f"does not let {who or 'you'} do this: its administrator grants EDIT, best to all (docs/team.md)"
    return None


def _no_answer(uri: str, error: Exception) -> PipelineError:
    if refused := refusal(error):
        return PipelineError(f"MLflow at {shown(uri)} {refused}.")
    if (path := sqlite_file(uri)) and (reason := sqlite_reason(error)):
        return PipelineError(describe_sqlite_error(path, reason))
    return PipelineError(
        f"MLflow at {shown(uri)} does not answer ({type(error).__name__}: {shown(str(error))[:200]}). Start it, or "
        "change tracking.uri in params.yaml or MLFLOW_TRACKING_URI."
    )


def prepare_environment() -> None:
    """Set what MLflow reads from the environment; some of it counts only before MLflow is imported."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # Its line for each retry: a store that does not answer is told in one line, by whoever asked.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    # Its traceback of each error of the database, which it raises too.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def experiment_id(client: MlflowClient, uri: str, name: str) -> str:
    """The id of the experiment; made where it is missing, restored where it is deleted."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        path = sqlite_file(uri)
        try:
            return client.create_experiment(name, str(path.parent / ARTIFACTS) if path else None)
        except MlflowException:
            # Parallel cells all find it missing, and one of them makes it first.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _is_there(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _make(path: Path) -> None:
    """Make the store once: under a lock, under another name, then renamed.

    Processes that make the tables of one file at once ruin it for good, and so does a kill between two tables.
    """
    from filelock import FileLock
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    path.parent.mkdir(parents=True, exist_ok=True)
    with hold(FileLock(f"{path}.lock", timeout=_MAKING_SECONDS)):
        if _is_there(path):
            return
        making = path.with_name(f"{path.name}.making")
        for left_by_a_kill in (making, Path(f"{making}-journal")):
            left_by_a_kill.unlink(missing_ok=True)
        try:
            # The store itself, since a client would put the default experiment's artifacts into the current folder.
            store = SqlAlchemyStore(f"{SQLITE}{making}", str(path.parent / ARTIFACTS))  # type: ignore[no-untyped-call]
            store.engine.dispose()
            making.replace(path)
        finally:
            for left_by_a_failure in (making, Path(f"{making}-journal")):
                left_by_a_failure.unlink(missing_ok=True)


def _probe_file(path: Path) -> None:
    """MLflow tries a broken database ten times, 100 s long; a look beforehand costs a millisecond."""
    quoted = urllib.parse.quote(str(path))
    # rw, which makes nothing either: what a kill left half written is taken back by whoever may write.
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{quoted}?mode=rw", uri=True, timeout=_PROBE_SECONDS)
        ) as connection:
            connection.execute("SELECT version_num FROM alembic_version")
            follow_move(path, connection)
    except sqlite3.Error as error:
        raise PipelineError(
            f"{path} cannot be read as an MLflow store ({error}). Mend it, or move it away: a new one is made then."
        ) from None


def _probe_database(uri: str) -> None:
    """Raise `OSError` where nothing listens at a database's address, for the same reason."""
    parts = urllib.parse.urlsplit(uri)
    port = parts.port or _PORTS.get(parts.scheme.partition("+")[0])
    if parts.hostname and port:
        socket.create_connection((parts.hostname, port), timeout=_PROBE_SECONDS).close()
