"""Child processes: output, exit code and termination by signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from pipeline.runtime.process import run_command

WAIT_FOR_GRANDCHILD = """
import sys
from pathlib import Path
from pipeline.runtime.process import run_command
from pipeline.runtime.shutdown import defer_signals
defer_signals()
run_command(["sh", "-c", "sleep 60 & echo $! > pid; wait"], Path())
print("continued")
"""


def test_run_command_returns_exit_code_and_output(tmp_path: Path) -> None:
    code, output = run_command([sys.executable, "-c", "import os; print(os.getcwd()); 1 / 0"], tmp_path)
    assert code == 1
    assert output.startswith(f"{tmp_path.resolve()}\n")
    assert output.endswith("ZeroDivisionError: division by zero\n")


def test_signal_terminates_the_command_and_its_children(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with subprocess.Popen(
        [sys.executable, "-c", WAIT_FOR_GRANDCHILD], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 30
        while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate()
    assert (process.returncode, output) == (128 + signal.SIGTERM, "")
    grandchild = int(pid.read_text())
    while _is_alive(grandchild) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_alive(grandchild)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
