"""Calls that not every operating system has, each with a fallback.

No other module of the package uses such calls (`tests/runtime/test_operating_system.py`). On Linux, the tests run both
the calls and, with the calls hidden, their fallbacks. Heavy modules are imported on demand, so that the command line
starts fast.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Literal

# Ctrl-C, a request to end, a closed terminal, and on Windows Ctrl-Break.
STOP_SIGNALS: tuple[signal.Signals, ...] = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)
# Options of `subprocess.Popen` that start a process group: Ctrl-C does not reach it, and it can be ended as a whole.
# Windows ignores the first one, other systems the second one.
NEW_GROUP: dict[str, Any] = {
    "start_new_session": True,
    "creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
}
_IS_WINDOWS = os.name == "nt"
_STATUS = Path("/proc/self/status")
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # glibc's <malloc.h>


def count_cores() -> int:
    """Count the cores that this process may use; without CPU affinity, all cores of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def disable_malloc_trim() -> None:
    """Let glibc keep freed memory for reuse; without glibc, do nothing.

    By default glibc returns the memory of each step's activations to the system, which zeroes it and hands it out again
    page by page in the next step. This takes a tenth of the training time (`benchmarks/throughput.py`, 160 px, batches
    of 32). Peak memory stays the same.
    """
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # a TypeError on Windows, which requires the name of a library
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, -1)


def read_peak_memory() -> int:
    """Read the peak resident memory of this process, in bytes."""
    if _STATUS.exists():  # on Linux, where `ru_maxrss` would include the memory of the parent process
        lines = dict(line.split(":", 1) for line in _STATUS.read_text(encoding="ascii").splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) * 1024
    import psutil

    memory = psutil.Process().memory_info()
    if hasattr(memory, "peak_wset"):  # on Windows
        return int(memory.peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def is_alive(process: int) -> bool:
    """Return whether a process exists; `os.kill(process, 0)` would interrupt it on Windows."""
    import psutil

    return bool(psutil.pid_exists(process))


def is_in_group_of(process: int) -> bool:
    """Return whether this process is in the process group of another one; without process groups, True."""
    return not hasattr(os, "getpgid") or os.getpgid(process) == os.getpgrp()


def terminate_group(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM to a process started with `NEW_GROUP`, and to its group."""
    _signal_group(process, "SIGTERM")


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process started with `NEW_GROUP`, and its group."""
    _signal_group(process, "SIGKILL")


def _signal_group(process: subprocess.Popen[bytes], name: Literal["SIGTERM", "SIGKILL"]) -> None:
    """Send a signal to a process group; without process groups, kill the process and its descendants."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, getattr(signal, name))
        return
    import psutil

    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(process.pid)
        for target in (*parent.children(recursive=True), parent):
            with contextlib.suppress(psutil.Error):
                target.kill()


def terminate_this_process() -> None:
    """Send SIGTERM to this process, so that its handler runs."""
    if _IS_WINDOWS:  # `os.kill` would end it without running the handler
        signal.raise_signal(signal.SIGTERM)
    else:
        os.kill(os.getpid(), signal.SIGTERM)


def limit_remaining_time(seconds: float) -> None:
    """Make the operating system end this process after some seconds, even if it is stuck outside of Python code.

    Without interval timers, a thread ends the process; it cannot do so while other code holds Python's global lock.
    """
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        return
    timer = threading.Timer(seconds, os._exit, [128 + signal.SIGTERM])
    timer.daemon = True
    timer.start()


def has_reader(stream: int) -> bool:
    """Return whether something can read what is written to a file descriptor; False without `select.poll`.

    Call this only after a write has failed.
    """
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(stream, 0)
    return not any(event & select.POLLERR for _, event in poll.poll(0))


def sync_to_disk(path: Path) -> None:
    """Write the content of a file or folder from the system's cache to the disk."""
    if _IS_WINDOWS and path.is_dir():  # Windows cannot open folders
        return
    handle = os.open(path, os.O_RDWR if _IS_WINDOWS else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
