"""Send SIGINT or SIGTERM to `train`, `sweep` and `dvc repro` in their first seconds, and check the cleanup.

    python -m benchmarks.signals [--signals 200] [--seconds 10] [--seed 0]

Run it in the project's folder; 200 signals take about half an hour. Half of the trials start with prepared data and an
existing MLflow store, half with neither. SIGINT is sent to the whole process group, as a terminal does on Ctrl-C.
SIGTERM is sent to the group or only to the first process. All processes must end within 15 seconds, no run in MLflow
may keep the status RUNNING, and no file may be incomplete. The exit code is 1 otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML, YAMLError

from benchmarks.project import copy_project

LIMIT_SECONDS = 15
COMMANDS = {
    "train": ["pipeline", "train", "--variant", "unet", "--learning-rate", "0.01", "--seed", "0"],
    "sweep": ["pipeline", "sweep"],
    "repro": ["dvc", "repro"],
}
SIGNALS = ("SIGINT to the group", "SIGTERM to the group", "SIGTERM to the first process")
TEMPORARY_FILES = ("runs/.*", "evaluation/.*", "data/.*", ".*.yaml*", ".cache/**/.*")


@dataclass(frozen=True)
class Trial:
    """A signal that is sent to a command."""

    command: str
    signal: str
    delay: float  # seconds from the start of the command
    is_prepared: bool

    def __str__(self) -> str:
        start = "prepared" if self.is_prepared else "not prepared"
        return f"{self.command} ({start}), {self.signal} after {self.delay:.2f} s"


class Project:
    """A small project in which a training lasts longer than a trial."""

    def __init__(self, folder: Path) -> None:
        self.root, self._initial, self._prepared = folder / "project", folder / "initial", folder / "prepared"
        changes: dict[str, dict[str, Any]] = {
            "data": {"image_size": 32, "samples": {"train": 16, "validation": 6, "test": 6}},
            "model": {"base_channels": 4, "depth": 2, "dropout": 0.2},
            "train": {"epochs": 5000},
            "grid": {"variant": ["unet", "unet_no_skip"], "learning_rate": [0.01], "seed": [0]},
        }
        copy_project(self._initial, changes)
        shutil.copytree(self._initial, self.root)
        process = self._start_command(["dvc", "repro", "prepare"])
        process.wait()
        process = self._start_command(COMMANDS["train"])
        while process.poll() is None and not (self.root / "mlflow.db").exists():
            time.sleep(0.1)
        process.terminate()
        process.wait()
        shutil.rmtree(self.root / ".cache")
        shutil.copytree(self.root, self._prepared)

    def run(self, trial: Trial) -> tuple[list[str], float, str]:
        """Return the faults after a trial, the seconds until its processes ended, and its output."""
        shutil.rmtree(self.root)
        shutil.copytree(self._prepared if trial.is_prepared else self._initial, self.root)
        process = self._start_command(COMMANDS[trial.command])
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(trial.delay)
        with contextlib.suppress(ProcessLookupError):
            signum = getattr(signal, trial.signal.split()[0])
            os.killpg(process.pid, signum) if trial.signal.endswith("group") else process.send_signal(signum)
        seconds = self._wait_for_processes()
        faults = [f"still running: {' '.join(remaining.cmdline())[:100]}" for remaining in self._list_processes()]
        for remaining in self._list_processes():
            remaining.kill()
        process.wait()
        return faults + self._find_faults(), seconds, (self.root / "output").read_text(encoding="utf-8")

    def _start_command(self, command: list[str]) -> subprocess.Popen[bytes]:
        env = {**os.environ, "PYTHONPATH": str(self.root), "MLFLOW_TRACKING_URI": "", "DVC_NO_ANALYTICS": "true"}
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        with (self.root / "output").open("wb") as output:
            return subprocess.Popen(
                command,
                cwd=self.root, env=env, stdout=output, stderr=output, start_new_session=True,
                # Processes inherit ignored signals, and a background job of a shell ignores SIGINT.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )  # fmt: skip

    def _wait_for_processes(self) -> float:
        start = time.monotonic()
        while self._list_processes() and time.monotonic() - start < LIMIT_SECONDS:
            time.sleep(0.1)
        return time.monotonic() - start

    def _list_processes(self) -> list[psutil.Process]:
        processes = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.cwd() == str(self.root) and process.status() != psutil.STATUS_ZOMBIE:
                    processes.append(process)
        return processes

    def _find_faults(self) -> list[str]:
        faults = [f"{path} is left over" for pattern in TEMPORARY_FILES for path in self.root.glob(pattern)]
        if (self.root / "mlflow.db").exists():
            with contextlib.closing(sqlite3.connect(self.root / "mlflow.db")) as store:
                for name, status in store.execute("SELECT name, status FROM runs WHERE status = 'RUNNING'"):
                    faults.append(f"MLflow shows {name} as {status}")
        for path in (self.root / ".cache").glob("attempts/*.json"):
            try:
                json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                faults.append(f"{path} is partially written")
        try:
            if (self.root / "dvc.lock").exists():
                YAML(typ="safe").load(self.root / "dvc.lock")["stages"]
        except (YAMLError, TypeError, KeyError):
            faults.append("dvc.lock is partially written")
        return faults


def main() -> None:
    """Print one line per trial with faults or a traceback, and a summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signals", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0, help="delays are spread evenly from 0 to this")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    kinds = [(command, name, is_prepared) for command in COMMANDS for name in SIGNALS for is_prepared in (True, False)]
    delays = [args.seconds * (number + 0.5) / args.signals for number in range(args.signals)]
    random.Random(args.seed).shuffle(delays)
    trials = [
        Trial(command, name, delay, is_prepared)
        for delay, (command, name, is_prepared) in zip(delays, kinds * len(delays), strict=False)
    ]
    counts: Counter[str] = Counter()
    slowest, num_faulty = (0.0, ""), 0
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder).resolve())
        for number, trial in enumerate(trials, start=1):
            faults, seconds, output = project.run(trial)
            slowest = max(slowest, (seconds, str(trial)))
            counts[trial.command] += 1
            counts["traceback"] += "Traceback" in output
            if faults:
                num_faulty += 1
                print(f"{number}: {trial}: {'; '.join(faults)}\n{output[-2000:]}", flush=True)
            elif "Traceback" in output:
                print(f"{number}: {trial}: traceback\n{output[-2000:]}", flush=True)
    print(
        f"{len(trials)} signals ({', '.join(f'{counts[name]} to {name}' for name in COMMANDS)}), seed "
        f"{args.seed}: {num_faulty} with faults, {counts['traceback']} with a traceback; processes ended after "
        f"{slowest[0]:.1f} s at most ({slowest[1]})"
    )
    sys.exit(num_faulty > 0)


if __name__ == "__main__":
    main()
