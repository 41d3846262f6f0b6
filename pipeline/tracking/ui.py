"""Open MLflow's UI: serve it on this machine until the command ends, or print the URL of a team server."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import click

from pipeline.analysis.ranked_metric import get_metric
from pipeline.artifacts.metric_names import RankBy
from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError
from pipeline.params import Tracking
from pipeline.runtime.operating_system import NEW_GROUP, kill_group, terminate_group
from pipeline.tracking.saved_view import SETTINGS_VIEW, VIEW, format_view_url, name_views, save_view
from pipeline.tracking.sqlite_store import ARTIFACTS, find_sqlite_file
from pipeline.tracking.store import (
    get_tracking_uri,
    hide_passwords,
    is_server,
    is_store_missing,
    open_client,
    prepare_environment,
    store_errors,
)

LOOPBACK = "127.0.0.1"
# Ports from 1024 upward that browsers block: https://fetch.spec.whatwg.org/#port-blocking
BLOCKED_PORTS = frozenset(
    [1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, *range(6665, 6670), 6679, 6697, 10080]
)
_START_SECONDS = 120  # time limit for starting the server, which takes 8 s on an idle machine
_END_SECONDS = 5
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class ServerAddress:
    """An IP address of this machine (0.0.0.0 or :: for all its addresses) and a TCP port."""

    host: str
    port: int

    @property
    def is_private(self) -> bool:
        """Whether only this machine can connect."""
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def url(self) -> str:
        """The URL for a browser on this machine."""
        address = ipaddress.ip_address(self.host)
        if address.version == 6:
            return f"http://[{'::1' if address.is_unspecified else address}]:{self.port}"
        return f"http://{LOOPBACK if address.is_unspecified else address}:{self.port}"

    def check(self) -> None:
        """Check that a server can listen at this address and that a browser can connect to it.

        MLflow's server would report a port in use too late: the other program would already have answered the health
        check as if it were the server.

        Raises:
            PipelineError: The address does not belong to this machine, or the port is in use or blocked by browsers.
        """
        try:
            family = socket.AF_INET6 if ipaddress.ip_address(self.host).version == 6 else socket.AF_INET
        except ValueError:
            raise PipelineError(f"--host must be an IP address such as {LOOPBACK}, not '{self.host}'.") from None
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # accept a port that was just closed
            try:
                probe.bind((self.host, self.port))
                reason = "blocked by browsers" if self.port in BLOCKED_PORTS else ""
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise PipelineError(
                        f"This machine has no address {self.host}. Give --host one of its addresses, or 0.0.0.0 "
                        "for all of them."
                    ) from None
                reason = "used by another program"
        if reason:
            with socket.socket(family) as probe:
                probe.bind((self.host, 0))  # a free port that the system chooses, higher than all blocked ports
                free = probe.getsockname()[1]
            raise PipelineError(
                f"Port {self.port} on {self.host} is {reason}. Choose another, for example with: "
                f"pipeline ui --port {free}"
            )


def serve(tracking: Tracking, address: ServerAddress, rank_by: RankBy = "val_loss") -> int:
    """Serve MLflow's UI until Ctrl-C or SIGTERM, and return the exit code.

    If the store is already a server, only its URL is printed. The links open views that are ordered by `rank_by`.

    Raises:
        PipelineError: There are no runs yet, the address cannot be used, or the server does not start.
    """
    uri = get_tracking_uri(tracking)
    if is_server(uri):
        _show_url(hide_passwords(uri), prepare_view(tracking, rank_by), rank_by)
        return 0
    address.check()
    experiment = prepare_view(tracking, rank_by)
    if not address.is_private:
        click.echo(
            f"Listening on {address.host}: anyone who can connect to port {address.port} of this machine can read, "
            "change and delete all runs and their files without a password. docs/how-to/team-server.md describes a "
            "server with passwords."
        )
    stop = threading.Event()  # set by signals; an exception could interrupt the start or end of the server
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with tempfile.TemporaryFile() as log, _run_server(uri, address, log) as process:
        click.echo("Starting MLflow's server, which takes a few seconds ...")
        deadline = time.monotonic() + _START_SECONDS
        while not stop.is_set() and not _is_up(address.url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise PipelineError(f"MLflow's server did not start. Its last output:\n{_read_tail(log)}")
            stop.wait(_POLL_SECONDS)
        if not stop.is_set():
            _show_url(address.url, experiment, rank_by)
            click.echo("Press Ctrl-C to stop the server.")
        while not stop.wait(_POLL_SECONDS):
            if process.poll() is not None:
                raise PipelineError(
                    f"The MLflow server exited with code {process.returncode}. Its last output:\n{_read_tail(log)}"
                )
    return 0


def prepare_view(tracking: Tracking, rank_by: RankBy = "val_loss") -> str:
    """Save the views in the experiment, ordered by a metric, and return the experiment's id.

    Raises:
        PipelineError: There are no runs yet, or the store does not answer.
    """
    uri = get_tracking_uri(tracking)
    missing = PipelineError(
        f"MLflow at {hide_passwords(uri)} has no experiment '{tracking.experiment}'. Train some runs first: "
        f"{Project(Path()).make_command('report')}"
    )
    if is_store_missing(uri):
        raise missing
    with store_errors(uri):
        client = open_client(uri)
        experiment = client.get_experiment_by_name(tracking.experiment)
        if experiment is None or experiment.lifecycle_stage != "active":
            raise missing
        save_view(client, experiment.experiment_id, rank_by, is_shared=is_server(uri))
    return str(experiment.experiment_id)


def _show_url(server: str, experiment: str, rank_by: RankBy) -> None:
    metric = get_metric(rank_by, (), ("boundary",))
    names, order = name_views(metric), "lowest" if metric.is_lower_better else "highest"
    for view in (SETTINGS_VIEW, VIEW):
        click.echo(f"{names[view]}, {order} first: {format_view_url(server, experiment, view)}")


@contextlib.contextmanager
def _run_server(uri: str, address: ServerAddress, log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Run MLflow's server for a block, in its own process group, so that Ctrl-C reaches only this process."""
    prepare_environment()
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--host", address.host]
    if path := find_sqlite_file(uri):
        command += ["--default-artifact-root", str(path.parent / ARTIFACTS)]
    # One worker answers a request in 8 ms. Four workers, the default, take 50 ms and start more slowly.
    process = subprocess.Popen(
        [*command, "--port", str(address.port), "--workers", "1"],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        **NEW_GROUP,
        # MLflow's job runner, which evaluates language models, would take 235 MB of memory.
        env={"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **os.environ},
    )
    try:
        yield process
    finally:
        for end in (terminate_group, kill_group):  # both, since `mlflow server` may leave a child
            end(process)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_SECONDS)


def _is_up(url: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # without a proxy, since the host is local
    try:
        with direct.open(f"{url}/health", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _read_tail(log: IO[bytes], length: int = 2_000) -> str:
    log.seek(0)
    return log.read().decode(errors="replace")[-length:].strip()
