"""Child processes: run them, and let none outlive the process that started it."""

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

from pipeline.runtime.shutdown import GRACE_SECONDS, check_signals

DVC_STAGE = "DVC_STAGE"  # DVC sets it for the commands that it runs
POLL_SECONDS = 0.5
_END_SECONDS = 5  # for a command that received SIGTERM


def describe_process() -> str:
    """Return this process by its id, machine and the time now, for a person who wants to find it."""
    return f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now():%H:%M}"


def run_command(command: list[str], folder: Path) -> tuple[int, str]:
    """Run a command in a folder; a signal that stops this process ends the command and its children too.

    Returns:
        The exit code, and what the command wrote to stdout and stderr.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a process group, so that its children can be ended with it
        )
        try:
            while not _has_ended(process, POLL_SECONDS):
                check_signals()
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                if process.poll() is None:
                    os.killpg(process.pid, number)
                    _has_ended(process, _END_SECONDS)
        output.seek(0)
        return process.returncode, output.read().decode(errors="replace")


def terminate_with_parent(grace_seconds: float = 0.0) -> None:
    """Send this process SIGTERM when the process that spawned it is gone, and end it some seconds later."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel
    _terminate_after(lambda: wait([sentinel]), grace_seconds)


def terminate_with_dvc() -> None:
    """End this process when the DVC process that started it ends, since DVC does not pass on SIGTERM.

    It has no effect in a command that DVC did not start.
    """
    if DVC_STAGE not in os.environ:
        return
    parent = os.getppid()
    # DVC leaves a command in its process group; if it was killed before this line, the parent is another process.
    is_orphan = os.getpgid(parent) != os.getpgrp()

    def wait_for_orphaning() -> None:
        while os.getppid() == parent and not is_orphan:
            time.sleep(POLL_SECONDS)

    _terminate_after(wait_for_orphaning, GRACE_SECONDS)


def _terminate_after(wait_for_end: Callable[[], object], grace_seconds: float) -> None:
    def watch() -> None:
        wait_for_end()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace_seconds)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _has_ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True
