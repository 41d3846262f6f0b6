"""Locate and open MLflow's store, without a long wait for a server that is down."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import socket
import urllib.parse
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING

from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError
from pipeline.params import Tracking
from pipeline.tracking.sqlite_store import (
    ARTIFACTS,
    SQLITE,
    check_store,
    create_store,
    describe_sqlite_error,
    find_sqlite_file,
    find_sqlite_reason,
    has_content,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE = "mlflow.db"

# By default, MLflow waits minutes for a server that is down (7 retries of 120 s), sends telemetry over the internet,
# and prints two lines per run. Variables that the user has set are kept.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
_PROBE_SECONDS = 5
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


class StoreError(PipelineError):
    """An error of the store as a whole, which prevents all uploads."""


def get_tracking_uri(tracking: Tracking, override: str | None = None) -> str:
    """Return MLflow's URI: `override`, `MLFLOW_TRACKING_URI`, `tracking.uri`, or the project's `mlflow.db`.

    A relative SQLite path is resolved in the project's folder, so that every process uses the same file.
    """
    uri = override or os.environ.get("MLFLOW_TRACKING_URI") or tracking.uri or SQLITE + DATABASE
    return resolve_uri(uri)


def resolve_uri(uri: str) -> str:
    """Resolve a relative path in a SQLite URI against the project's folder."""
    path = find_sqlite_file(uri)
    if path is None:
        return uri
    _, mark, options = uri.partition("?")
    return f"{SQLITE}{Project().original_home / path}{mark}{options}"


def make_portable(uri: str) -> str:
    """Make the path in a SQLite URI relative if it is in the project's folder, so that the project can be moved."""
    path = find_sqlite_file(uri)
    if path is None or not path.is_relative_to(Project().original_home):
        return uri
    _, mark, options = uri.partition("?")
    return f"{SQLITE}{path.relative_to(Project().original_home)}{mark}{options}"


def is_server(uri: str) -> bool:
    """Return whether the URI points to an MLflow server rather than a database."""
    return uri.startswith(("http://", "https://"))


def is_store_missing(uri: str) -> bool:
    """Return whether the URI names a SQLite file that does not exist yet."""
    path = find_sqlite_file(uri)
    return path is not None and not has_content(path)


def hide_passwords(text: str) -> str:
    """Remove user names and passwords from URIs in text, for output in a terminal or a log."""
    return re.sub(r"(?<=://)[^/\s@]+@", "", text)


def open_client(uri: str) -> MlflowClient:
    """Open a client for the store; create a missing SQLite file, and update a moved one.

    MLflow and database errors are raised unchanged, within seconds if the store does not answer.
    """
    prepare_environment()
    from mlflow import MlflowClient

    path = find_sqlite_file(uri)
    if path is not None:
        if not has_content(path):
            create_store(path)
        check_store(path)
    elif not is_server(uri):
        _probe_database(uri)
    return MlflowClient(tracking_uri=uri)


@contextlib.contextmanager
def store_errors(uri: str) -> Iterator[None]:
    """Turn store errors that the block raises into a `StoreError` that names the store."""
    try:
        yield
    except PipelineError:
        raise
    except OSError as error:
        # The error comes from a local file or a full local disk, not from the store.
        if error.filename is not None or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise _describe_failure(uri, error) from None
    except Exception as error:  # raised by MLflow or a database driver
        raise _describe_failure(uri, error) from None


def describe_refusal(error: Exception) -> str | None:
    """Describe a server's rejection of missing or wrong credentials, and the fix; None for other errors."""
    status = getattr(error, "get_http_status_code", lambda: None)()  # only MLflow's errors have it
    who = os.environ.get("MLFLOW_TRACKING_USERNAME", "")
    if status == HTTPStatus.UNAUTHORIZED:
        problem = f"does not accept the password of {who}" if who else "requires a user name and a password"
        return f"{problem}: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    if status == HTTPStatus.FORBIDDEN:
        remedy = "ask its administrator for EDIT permission (docs/how-to/team-server.md)"
        return f"does not allow {who or 'you'} to do this: {remedy}"
    return None


def _describe_failure(uri: str, error: Exception) -> StoreError:
    if refused := describe_refusal(error):
        return StoreError(f"MLflow at {hide_passwords(uri)} {refused}.")
    if (path := find_sqlite_file(uri)) and (reason := find_sqlite_reason(error)):
        return StoreError(describe_sqlite_error(path, reason))
    return StoreError(
        f"MLflow at {hide_passwords(uri)} does not answer ({type(error).__name__}: "
        f"{hide_passwords(str(error))[:200]}). Start it, or change tracking.uri in params.yaml or MLFLOW_TRACKING_URI."
    )


def prepare_environment() -> None:
    """Set MLflow's environment variables and log levels; must be called before MLflow is imported."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # Silence urllib3's message for each retry, because a store that does not answer is reported once.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    # Silence MLflow's traceback for each database error, because the error is raised too.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def get_experiment_id(client: MlflowClient, uri: str, name: str) -> str:
    """Return the id of an experiment; create it if it is missing, and restore it if it is deleted."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        path = find_sqlite_file(uri)
        try:
            return client.create_experiment(name, str(path.parent / ARTIFACTS) if path else None)
        except MlflowException:
            # Another process created it first.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _probe_database(uri: str) -> None:
    """Raise `OSError` if nothing listens at the address of a database, since MLflow would retry for a long time."""
    parts = urllib.parse.urlsplit(uri)
    port = parts.port or _PORTS.get(parts.scheme.partition("+")[0])
    if parts.hostname and port:
        socket.create_connection((parts.hostname, port), timeout=_PROBE_SECONDS).close()
