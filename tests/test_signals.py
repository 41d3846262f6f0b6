"""Processes that are told to end, at the places where it matters."""

import signal
import subprocess
import sys

START = """
import os, signal
from pipeline.signals import exit_when_told, uncut
signal.signal(signal.SIGINT, signal.default_int_handler)  # these tests may run where Ctrl-C is ignored
check = exit_when_told()
def tell(number):
    os.kill(os.getpid(), number)
"""


def said(script: str) -> tuple[str, int]:
    """What a process printed, and its exit code."""
    done = subprocess.run([sys.executable, "-c", START + script], capture_output=True, text=True)
    return done.stdout + done.stderr.partition("\n")[0], done.returncode


def test_a_process_ends_where_it_is() -> None:
    assert said("try:\n    tell(signal.SIGTERM); print('on')\nfinally:\n    print('told')") == ("told\n", 143)


def test_what_must_not_be_cut_comes_to_its_end() -> None:
    block = "with uncut():\n    with uncut():\n        tell(signal.SIGTERM); print('inner')\n    print('outer')\n"
    assert said(f"{block}print('after')") == ("inner\nouter\n", 143)


def test_ctrl_c_waits_too_but_not_twice() -> None:
    once = "with uncut():\n    tell(signal.SIGINT); print('written')\nprint('after')"
    assert said(once) == ("written\nTraceback (most recent call last):", -signal.SIGINT)
    twice = "with uncut():\n    tell(signal.SIGINT); tell(signal.SIGINT); print('written')"
    assert said(twice) == ("Traceback (most recent call last):", -signal.SIGINT)


def test_ending_is_told_once_but_a_check_repeats_it() -> None:
    script = """
try:
    with uncut():
        tell(signal.SIGTERM)
except SystemExit:
    with uncut():
        print('told')
    check()
    print('on')
"""
    assert said(script) == ("told\n", 143)


def test_a_process_that_ignores_ctrl_c_goes_on_ignoring_it() -> None:
    script = "signal.signal(signal.SIGINT, signal.SIG_IGN)\nexit_when_told()\ntell(signal.SIGINT); print('on')"
    assert said(script) == ("on\n", 0)
