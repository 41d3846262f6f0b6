"""Signals: deferred, graceful and forced termination of processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

START = """
import os, signal, sys, threading, time
from pipeline.runtime import process, shutdown
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore SIGINT, nohup ignores SIGHUP
signal.signal(signal.SIGHUP, signal.SIG_DFL)

def send(number):
    os.kill(os.getpid(), number)
"""


def run(script: str) -> tuple[str, int]:
    """Return the stdout of a process with the first line of its stderr, and its exit code."""
    done = subprocess.run([sys.executable, "-c", START + script], capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr.partition("\n")[0], done.returncode


@pytest.mark.parametrize(
    ("number", "code", "error"),
    [
        ("SIGTERM", 128 + signal.SIGTERM, ""),
        ("SIGHUP", 128 + signal.SIGHUP, ""),
        ("SIGINT", -signal.SIGINT, "Traceback (most recent call last):"),  # Python's KeyboardInterrupt
    ],
)
def test_deferred_signal_stops_at_the_next_check(number: str, code: int, error: str) -> None:
    script = f"""
shutdown.defer_signals()
shutdown.check_signals()
send(signal.{number})
print("whole", shutdown.is_stopping())
shutdown.check_signals()
print("continued")
"""
    assert run(script) == (f"whole True\n{error}", code)


def test_check_signals_raises_once_so_that_cleanup_completes() -> None:
    script = """
shutdown.defer_signals()
send(signal.SIGTERM)
try:
    shutdown.check_signals()
finally:
    shutdown.check_signals()
    print("cleaned up")
"""
    assert run(script) == ("cleaned up\n", 128 + signal.SIGTERM)


def test_check_signals_in_a_thread_leaves_the_signal_to_the_main_thread() -> None:
    script = """
shutdown.defer_signals()
send(signal.SIGTERM)
thread = threading.Thread(target=lambda: (shutdown.check_signals(), print("thread", flush=True)))
thread.start()
thread.join()
shutdown.check_signals()
print("continued")
"""
    assert run(script) == ("thread\n", 128 + signal.SIGTERM)


def test_signal_interrupts_the_wait_for_a_lock(tmp_path: Path) -> None:
    script = f"""
from filelock import FileLock
shutdown.defer_signals()
threading.Timer(0.5, lambda: send(signal.SIGTERM)).start()
print("waits", flush=True)
with shutdown.hold(FileLock({str(tmp_path / "lock")!r})):
    print("continued")
"""
    with FileLock(tmp_path / "lock"):
        assert run(script) == ("waits\n", 128 + signal.SIGTERM)
    assert run(script.replace("SIGTERM", "SIGCONT")) == ("waits\ncontinued\n", 0)


def test_second_ctrl_c_exits_immediately() -> None:
    script = """
shutdown.defer_signals()
send(signal.SIGINT)
print("first", flush=True)
send(signal.SIGINT)
print("second")
"""
    assert run(script) == ("first\n", 128 + signal.SIGINT)


@pytest.mark.parametrize("number", ["SIGINT", "SIGHUP"])
def test_ignored_signal_remains_ignored(number: str) -> None:
    script = f"""
signal.signal(signal.{number}, signal.SIG_IGN)
shutdown.defer_signals()
send(signal.{number})
shutdown.check_signals()
print("continued")
"""
    assert run(script) == ("continued\n", 0)


def test_first_interrupt_is_graceful_and_the_second_stops() -> None:
    script = """
shutdown.defer_signals()
with shutdown.graceful_interrupt() as is_asked:
    print(is_asked())
    send(signal.SIGINT)
    shutdown.check_signals()
    print(is_asked())
    send(signal.SIGINT)
    try:
        shutdown.check_signals()
    except KeyboardInterrupt:
        print("stopped")
"""
    assert run(script) == ("False\nTrue\nstopped\n", 0)


@pytest.mark.parametrize("install", ["defer_signals", "exit_on_sigterm"])
def test_stuck_process_is_killed_after_the_grace_period(install: str) -> None:
    script = f"""
shutdown.GRACE_SECONDS = 0.3
shutdown.{install}()
lock = threading.Lock()
lock.acquire()
try:
    send(signal.SIGTERM)
finally:
    lock.acquire()  # forever
"""
    assert run(script) == ("", -signal.SIGALRM)


def test_dvc_command_started_as_an_orphan_terminates() -> None:
    child = """
shutdown.defer_signals()
time.sleep(1)
process.terminate_with_dvc()
shutdown.sleep(30)
print("continued", flush=True)
"""
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {START + child!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", parent],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "DVC_STAGE": "train@unet-0.01-0"},
        start_new_session=True,
    ) as dvc:
        output, _ = dvc.communicate()  # returns after the child, which holds the pipe, has exited
    assert (dvc.returncode, output) == (0, "")


def test_exit_on_sigterm_cleans_up_in_place() -> None:
    script = """
shutdown.exit_on_sigterm()
try:
    send(signal.SIGTERM)
    print("continued")
finally:
    print("cleaned up")
"""
    assert run(script) == ("cleaned up\n", 128 + signal.SIGTERM)


@pytest.mark.parametrize(
    ("stage", "seconds", "is_terminated"), [("train@unet-0.01-0", 30, True), (None, 1, False)], ids=["DVC", "shell"]
)
def test_dvc_command_terminates_when_dvc_is_killed(stage: str | None, seconds: int, is_terminated: bool) -> None:
    """DVC does not forward SIGTERM to the command it waits for."""
    child = f"""
process.POLL_SECONDS = 0.05
shutdown.defer_signals()
process.terminate_with_dvc()
print(os.getpid(), flush=True)
shutdown.sleep({seconds})
print("continued", flush=True)
"""
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {START + child!r}])"
    variables = {name: value for name, value in os.environ.items() if name != "DVC_STAGE"}
    variables |= {} if stage is None else {"DVC_STAGE": stage}
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True, env=variables, start_new_session=True
    ) as dvc:
        assert dvc.stdout is not None
        pid = int(dvc.stdout.readline())
        dvc.terminate()
        rest = dvc.stdout.read()  # returns after the child has exited
    assert rest == ("" if is_terminated else "continued\n")
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists()
