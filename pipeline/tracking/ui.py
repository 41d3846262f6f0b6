"""MLflow's pages in a browser: its server on this machine for as long as the command runs, or a link to a team's."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click

from pipeline.errors import PipelineError
from pipeline.params import Tracking
from pipeline.project import make
from pipeline.tracking import saved_view as view
from pipeline.tracking.moved_store import ARTIFACTS
from pipeline.tracking.server_address import Address
from pipeline.tracking.store import (
    answering,
    is_server,
    open_client,
    prepare_environment,
    shown,
    sqlite_file,
    store_is_missing,
    tracking_uri,
)

START_SECONDS = 120  # 8 s on an idle machine
_END_SECONDS = 5


def saved_view(tracking: Tracking) -> str:
    """Write the saved view into the experiment, and return the experiment's id.

    Raises `PipelineError` where nothing was trained yet, or the store does not answer.
    """
    uri = tracking_uri(tracking)
    nothing = PipelineError(
        f"MLflow at {shown(uri)} has no experiment '{tracking.experiment}': nothing was trained yet. "
        f"Run `{make('report', Path())}` first."
    )
    if store_is_missing(uri):
        raise nothing
    with answering(uri):
        client = open_client(uri)
        experiment = client.get_experiment_by_name(tracking.experiment)
        if experiment is None or experiment.lifecycle_stage != "active":
            raise nothing
        view.save(client, experiment.experiment_id, is_shared=is_server(uri))
    return str(experiment.experiment_id)


def serve(tracking: Tracking, address: Address) -> int:
    """Show the runs in MLflow's pages until Ctrl-C or SIGTERM, and return the exit code.

    A server that runs already (`tracking.uri` is http or https) is only linked to. Raises `PipelineError` where
    nothing was trained yet, the address is not to be had, or the server does not start.
    """
    uri = tracking_uri(tracking)
    if is_server(uri):
        _show(view.link(shown(uri), saved_view(tracking)))
        return 0
    address.check()
    experiment = saved_view(tracking)
    if not address.is_private:
        click.echo(_exposed(address))
    with _stop_signal() as stop, tempfile.TemporaryFile() as log, _running(uri, address, log) as process:
        click.echo("MLflow's server starts; this takes some seconds.")
        _wait_until_up(address.url, process, stop, log)
        if not stop.is_set():
            _show(view.link(address.url, experiment))
            click.echo("Ctrl-C ends the server.")
        while not stop.wait(0.2):
            if process.poll() is not None:
                raise PipelineError(f"MLflow's server ended by itself with {process.returncode}:\n{_tail(log)}")
    return 0


def _show(link: str) -> None:
    click.echo(f"The runs, the lowest validation loss first: {link}")


def _exposed(address: Address) -> str:
    return (
        f"Listening on {address.host}: whoever reaches port {address.port} of this machine over its networks can read, "
        "change and delete all runs and their files, without a password (docs/team.md says how a team does it)."
    )


@contextlib.contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, instead of an exception in the middle of starting or ending a server."""
    stop = threading.Event()
    kinds = (signal.SIGINT, signal.SIGTERM)
    earlier = [signal.signal(kind, lambda *_: stop.set()) for kind in kinds]
    try:
        yield stop
    finally:
        for kind, handler in zip(kinds, earlier, strict=True):
            signal.signal(kind, handler)


@contextlib.contextmanager
def _running(uri: str, address: Address, log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """MLflow's server in a process group of its own, which is ended whole: it starts processes too."""
    prepare_environment()
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--host", address.host]
    if path := sqlite_file(uri):
        command += ["--default-artifact-root", str(path.parent / ARTIFACTS)]
    # One worker: the default of four starts more slowly and answers each call in 50 ms instead of 8.
    process = subprocess.Popen(
        [*command, "--port", str(address.port), "--workers", "1"],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        # Its job runner is a process of 235 MB for evaluating language models.
        env={"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **os.environ},
    )
    try:
        yield process
    finally:
        _end_group(process)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    for kind in (signal.SIGTERM, signal.SIGKILL):
        # The group outlives its leader as long as one of it runs; an empty one raises.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, kind)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)


def _wait_until_up(server: str, process: subprocess.Popen[bytes], stop: threading.Event, log: IO[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not stop.wait(0.2):
        if process.poll() is not None:
            raise PipelineError(f"MLflow's server did not start; it ended with {process.returncode}:\n{_tail(log)}")
        if time.monotonic() > deadline:
            raise PipelineError(f"MLflow's server does not answer after {START_SECONDS} s:\n{_tail(log)}")
        # No proxy: a company's, set in the environment, knows nothing of this machine.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with contextlib.suppress(urllib.error.URLError, OSError), direct.open(f"{server}/health", timeout=5):
            return


def _tail(log: IO[bytes], length: int = 2_000) -> str:
    log.seek(0)
    return log.read().decode(errors="replace")[-length:].strip()
