"""Kill a small sweep by SIGKILL at random moments, restart it until it succeeds, and compare with an undisturbed one.

Run in the project's folder: `python -m benchmarks.chaos`, some minutes. Each kill hits the sweep, one of its workers,
or all of its processes. All files of runs and evaluations except `timing.json`, all points in MLflow, and what DVC
restores from its cache must be equal, and no temporary file may remain. Exits with 1 otherwise.
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.project import copy_project

OUTPUTS = (
    "runs",
    "evaluation",
    "data/prepared",
    ".cache",
    "mlruns",
    "mlflow.db",
    "mlflow.db.lock",
    "dvc.lock",
    ".dvc/cache",
)
KINDS = ("the sweep", "a worker", "all")


@dataclass
class Chaos:
    """A project with four runs, and the results of an undisturbed sweep."""

    root: Path
    files: dict[str, bytes] = field(default_factory=dict)
    points: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    seconds: float = 0.0  # of the undisturbed sweep

    def set_up(self, epochs: int) -> None:
        """Copy the project, reduce it, and sweep it undisturbed."""
        changes = {
            "data": {"image_size": 32, "samples": {"train": 16, "validation": 6, "test": 6}},
            "model": {"base_channels": 4, "depth": 2, "dropout": 0.2},
            "train": {"epochs": epochs},
            "grid": {"variant": ["unet", "unet_no_skip"], "learning_rate": [0.01], "seed": [0, 1]},
        }
        copy_project(self.root, changes)
        started = time.monotonic()
        with self.start() as sweep:
            if sweep.wait():
                raise SystemExit((self.root / "output").read_text(encoding="utf-8"))
        self.seconds = time.monotonic() - started
        self.files, self.points = self.read_files(), self.read_points()

    def start(self) -> subprocess.Popen[bytes]:
        """Start a sweep in a session of its own, so that all of its processes can be killed at once."""
        variables = {**os.environ, "PYTHONPATH": str(self.root), "MLFLOW_TRACKING_URI": "", "DVC_NO_ANALYTICS": "true"}
        variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        with (self.root / "output").open("ab") as output:
            return subprocess.Popen(
                ["pipeline", "sweep"],
                cwd=self.root, env=variables, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    def reset(self) -> None:
        """Remove all outputs."""
        for name in OUTPUTS:
            path = self.root / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def read_files(self) -> dict[str, bytes]:
        """Read all files of runs and evaluations whose bytes must be equal."""
        paths = [path for folder in ("runs", "evaluation") for path in (self.root / folder).rglob("*")]
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in paths
            if path.is_file() and path.name != "timing.json"
        }

    def read_points(self) -> dict[str, list[tuple[Any, ...]]]:
        """Read the status and all points of each MLflow run by name; duplicate runs are concatenated."""
        store = sqlite3.connect(self.root / "mlflow.db")
        found: dict[str, list[tuple[Any, ...]]] = {}
        for run_id, name, status in store.execute("SELECT run_uuid, name, status FROM runs").fetchall():
            points = store.execute(
                "SELECT key, step, value FROM metrics WHERE run_uuid = ? AND key != 'training_seconds' "
                "ORDER BY key, step, timestamp",
                (run_id,),
            ).fetchall()
            found.setdefault(name, []).extend([(status,), *points])
        store.close()
        return found

    def find_faults(self) -> list[str]:
        """Return what differs from the undisturbed sweep, and what was left behind."""
        found, files = [], self.read_files()
        found += [f"{name} is missing" for name in self.files.keys() - files.keys()]
        found += [f"{name} is left over" for name in files.keys() - self.files.keys()]
        found += [f"{name} differs" for name in self.files.keys() & files.keys() if self.files[name] != files[name]]
        points = self.read_points()
        for name in self.points.keys() | points.keys():
            if self.points.get(name) != points.get(name):
                found.append(f"{name} in MLflow differs: {points.get(name, ['missing'])[0]}")
        patterns = (
            "runs/.*",
            "evaluation/.*",
            "data/.*",
            ".cache/unfinished/*",
            ".cache/attempts/*.json",
            ".dvc.lock*",
            ".cache/dvc.lock",
        )
        patterns = (
            *patterns,
            "mlflow.db.making*",
            ".*.yaml*",
        )
        found += [f"{path} is left over" for pattern in patterns for path in self.root.glob(pattern)]
        status = json.loads(self.run_dvc("status", "--json"))
        found += [f"DVC calls {name} stale" for name in status if "@" in name]
        return found

    def find_cache_faults(self) -> list[str]:
        """Return what differs after DVC has restored everything from its cache."""
        shutil.rmtree(self.root / "runs")
        shutil.rmtree(self.root / "evaluation")
        self.run_dvc("checkout", "--quiet")
        return [f"of the cache: {fault}" for fault in self.find_faults()]

    def run_dvc(self, *arguments: str) -> str:
        """Run a DVC command and return its output."""
        command = [sys.executable, "-m", "dvc", *arguments]
        return subprocess.run(command, cwd=self.root, check=False, stdout=subprocess.PIPE, text=True).stdout

    def list_processes(self) -> list[psutil.Process]:
        """Return all processes that run in the project's folder."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.cwd() == str(self.root) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found


def kill(sweep: subprocess.Popen[bytes], kind: str, chance: random.Random) -> str:
    """Kill a process of the sweep; return which, since a sweep without workers is killed itself."""
    workers = []
    for child in psutil.Process(sweep.pid).children():
        with contextlib.suppress(psutil.Error):  # it may be ending just now
            if "spawn_main" in " ".join(child.cmdline()):
                workers.append(child)
    if kind == "a worker" and workers:
        chance.choice(workers).kill()
        return kind
    if kind == "all":
        os.killpg(sweep.pid, signal.SIGKILL)
        return kind
    sweep.kill()
    return "the sweep"


def chaos(kills: int, seed: int, epochs: int, folder: Path) -> list[str]:
    """Kill sweeps, print one line per round, and return what is wrong."""
    chance, case = random.Random(seed), Chaos(folder)
    case.set_up(epochs)
    print(f"undisturbed: {case.seconds:.1f} s, {len(case.files)} files, {sum(map(len, case.points.values()))} points")
    found, done, rounds, counts = [], 0, 0, dict.fromkeys(KINDS, 0)
    while done < kills:
        case.reset()
        rounds += 1
        while True:
            sweep = case.start()
            try:
                code = sweep.wait(chance.uniform(0, case.seconds) if done < kills else None)
            except subprocess.TimeoutExpired:
                what = kill(sweep, KINDS[done % len(KINDS)], chance)
                done, counts[what] = done + 1, counts[what] + 1
                sweep.wait()
                continue
            if code == 0:
                break
            if sweep.returncode not in (0, 1):
                found.append(f"the sweep ended with {code}")
                break
        faults = case.find_faults() + (case.find_cache_faults() if done >= kills else [])
        print(f"round {rounds}: {done} kills so far; {'; '.join(faults) or 'all equal, nothing left'}", flush=True)
        found += faults
    gone = time.monotonic() + 30
    while case.list_processes() and time.monotonic() < gone:
        time.sleep(0.2)
    found += [f"still there: {process}" for process in case.list_processes()]
    killed = ", ".join(f"{count} of {kind}" for kind, count in counts.items())
    print(f"{done} kills ({killed}), seed {seed}, {rounds} rounds")
    return found


def main() -> None:
    """Exit with 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=40)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = chaos(arguments.kills, arguments.seed, arguments.epochs, Path(folder).resolve() / "project")
        if found:
            shutil.copy(Path(folder) / "project/output", "chaos.log")
    print("\n".join(found) or "all files and points equal those of the undisturbed sweep")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
