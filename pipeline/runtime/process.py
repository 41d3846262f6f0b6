"""Run child processes, and end them when the process that started them ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import datetime
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from pipeline.runtime.operating_system import (
    NEW_GROUP,
    is_in_group_of,
    kill_group,
    terminate_group,
    terminate_this_process,
)
from pipeline.runtime.shutdown import GRACE_SECONDS, check_signals

DVC_STAGE = "DVC_STAGE"  # environment variable that DVC sets for the commands that it runs
POLL_SECONDS = 0.5
_END_SECONDS = 5  # from SIGTERM until a command is killed


def describe_process() -> str:
    """Describe this process by its id, its machine and the current time, so that a user can find it."""
    return f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now():%H:%M}"


def run_command(command: list[str], folder: Path) -> tuple[int, str]:
    """Run a command in a folder. A signal that stops this process also ends the command and its child processes.

    Returns:
        The exit code, and the combined output to stdout and stderr.
    """
    with tempfile.TemporaryFile() as output:
        code = show_command(command, folder, stdout=output, stderr=subprocess.STDOUT)
        output.seek(0)
        return code, output.read().decode(errors="replace")


def show_command(command: list[str], folder: Path, **streams: Any) -> int:
    """Run a command as `run_command` does, but show its output unless `streams` redirects it. Return the exit code."""
    process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, **streams, **NEW_GROUP)
    try:
        while not _has_ended(process, POLL_SECONDS):
            check_signals()
    finally:
        for end in (terminate_group, kill_group):
            if process.poll() is None:
                end(process)
                _has_ended(process, _END_SECONDS)
    return process.returncode


def terminate_with_parent(grace_seconds: float = 0.0) -> None:
    """Send SIGTERM to this process when its parent process has ended, and exit after `grace_seconds`.

    The process must have been started by `multiprocessing`.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel
    _terminate_after(lambda: wait([sentinel]), grace_seconds)


def terminate_with_dvc() -> None:
    """End this process when the DVC process that started it ends, because DVC does not pass SIGTERM to its commands.

    This has no effect if the process was not started by DVC.
    """
    if DVC_STAGE not in os.environ:
        return
    parent = os.getppid()
    # DVC's commands are in its process group. If DVC was killed before this line, the parent is not in this group.
    is_orphan = not is_in_group_of(parent)

    def wait_for_orphaning() -> None:
        while os.getppid() == parent and not is_orphan:
            time.sleep(POLL_SECONDS)

    _terminate_after(wait_for_orphaning, GRACE_SECONDS)


def _terminate_after(wait_for_end: Callable[[], object], grace_seconds: float) -> None:
    def watch() -> None:
        wait_for_end()
        terminate_this_process()
        time.sleep(grace_seconds)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _has_ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True
