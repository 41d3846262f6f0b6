"""Send SIGINT or SIGTERM to `train`, `sweep` and `dvc repro` during their first seconds, and check what is left.

Run in the project's folder: `python -m benchmarks.signals`, about half an hour for 200 signals. Half of the trials
start from prepared data and an existing MLflow store, half from nothing. Ctrl-C goes to the whole process group, as a
terminal sends it; SIGTERM to the group or to the first process alone. Afterwards all processes must be gone within 15
seconds, no MLflow run may have the status RUNNING, and no file may be half written. Exits with 1 otherwise.
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
UNFINISHED = ("runs/.*", "evaluation/.*", "data/.*", ".*.yaml*", ".cache/**/.*")  # files under temporary names


@dataclass(frozen=True)
class Trial:
    """One signal to one command."""

    command: str
    signal: str
    delay: float  # seconds from the start of the command
    is_prepared: bool

    def __str__(self) -> str:
        start = "prepared" if self.is_prepared else "from nothing"
        return f"{self.command} ({start}), {self.signal} after {self.delay:.2f} s"


class Project:
    """A small project whose trainings last longer than the trials."""

    def __init__(self, folder: Path) -> None:
        self.root, self._start, self._prepared = folder / "project", folder / "start", folder / "prepared"
        changes = {
            "data": {"image_size": 32, "samples": {"train": 16, "validation": 6, "test": 6}},
            "model": {"base_channels": 4, "depth": 2, "dropout": 0.2},
            "train": {"epochs": 5000},
            "grid": {"variant": ["unet", "unet_no_skip"], "learning_rate": [0.01], "seed": [0]},
        }
        copy_project(self._start, changes)
        shutil.copytree(self._start, self.root)
        process = self._open(["dvc", "repro", "prepare"])
        process.wait()
        process = self._open(COMMANDS["train"])
        while process.poll() is None and not (self.root / "mlflow.db").exists():
            time.sleep(0.1)
        process.terminate()
        process.wait()
        shutil.rmtree(self.root / ".cache")
        shutil.copytree(self.root, self._prepared)

    def run(self, trial: Trial) -> tuple[list[str], float, str]:
        """Return what is wrong after a trial, the seconds until its processes were gone, and its output."""
        shutil.rmtree(self.root)
        shutil.copytree(self._prepared if trial.is_prepared else self._start, self.root)
        process = self._open(COMMANDS[trial.command])
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(trial.delay)
        with contextlib.suppress(ProcessLookupError):
            number = getattr(signal, trial.signal.split()[0])
            os.killpg(process.pid, number) if trial.signal.endswith("group") else process.send_signal(number)
        seconds = self._wait()
        faults = [f"still there: {' '.join(one.cmdline())[:100]}" for one in self._processes()]
        for one in self._processes():
            one.kill()
        process.wait()
        return faults + self._find_faults(), seconds, (self.root / "output").read_text(encoding="utf-8")

    def _open(self, command: list[str]) -> subprocess.Popen[bytes]:
        variables = {**os.environ, "PYTHONPATH": str(self.root), "MLFLOW_TRACKING_URI": "", "DVC_NO_ANALYTICS": "true"}
        variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        with (self.root / "output").open("wb") as output:
            return subprocess.Popen(
                command,
                cwd=self.root, env=variables, stdout=output, stderr=output, start_new_session=True,
                # A shell's background job ignores Ctrl-C, and its children inherit that.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )  # fmt: skip

    def _wait(self) -> float:
        started = time.monotonic()
        while self._processes() and time.monotonic() - started < LIMIT_SECONDS:
            time.sleep(0.1)
        return time.monotonic() - started

    def _processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.cwd() == str(self.root) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def _find_faults(self) -> list[str]:
        found = [f"{path} is left over" for pattern in UNFINISHED for path in self.root.glob(pattern)]
        if (self.root / "mlflow.db").exists():
            with contextlib.closing(sqlite3.connect(self.root / "mlflow.db")) as store:
                for name, status in store.execute("SELECT name, status FROM runs WHERE status = 'RUNNING'"):
                    found.append(f"MLflow shows {name} as {status}")
        for path in (self.root / ".cache").glob("attempts/*.json"):
            try:
                json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                found.append(f"{path} is half written")
        try:
            if (self.root / "dvc.lock").exists():
                YAML(typ="safe").load(self.root / "dvc.lock")["stages"]
        except (YAMLError, TypeError, KeyError):
            found.append("dvc.lock is half written")
        return found


def main() -> None:
    """Print one line per trial that went wrong, and a summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signals", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0, help="delays are spread evenly from 0 to this")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    kinds = [(command, number, start) for command in COMMANDS for number in SIGNALS for start in (True, False)]
    delays = [arguments.seconds * (place + 0.5) / arguments.signals for place in range(arguments.signals)]
    random.Random(arguments.seed).shuffle(delays)
    trials = [
        Trial(command, number, delay, start)
        for delay, (command, number, start) in zip(delays, kinds * len(delays), strict=False)
    ]
    counts: Counter[str] = Counter()
    slowest, wrong = (0.0, ""), 0
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder).resolve())
        for place, trial in enumerate(trials, start=1):
            faults, seconds, output = project.run(trial)
            slowest = max(slowest, (seconds, str(trial)))
            counts[trial.command] += 1
            counts["traceback"] += "Traceback" in output
            if faults:
                wrong += 1
                print(f"{place}: {trial}: {'; '.join(faults)}\n{output[-2000:]}", flush=True)
            elif "Traceback" in output:
                print(f"{place}: {trial}: traceback\n{output[-2000:]}", flush=True)
    print(
        f"{len(trials)} signals ({', '.join(f'{counts[name]} to {name}' for name in COMMANDS)}), seed "
        f"{arguments.seed}: {wrong} with faults, {counts['traceback']} with a traceback; processes were gone after "
        f"{slowest[0]:.1f} s at most ({slowest[1]})"
    )
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
