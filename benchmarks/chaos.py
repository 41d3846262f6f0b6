"""Kill a small sweep with SIGKILL at random times, restart it until it succeeds, and check its results.

    python -m benchmarks.chaos [--kills 50] [--seed 0] [--epochs 40]

Run it in the project's folder; it takes some minutes. Each kill ends the sweep, one of its workers, or all of its
processes. All files of runs and evaluations except `timing.json`, all metric values in MLflow, and the files that DVC
restores from its cache must equal those of the undisturbed sweep, and no temporary file may remain. The exit code is 1
otherwise.
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
SWEEP, WORKER, ALL = "the sweep", "a worker", "all"
TARGETS = (SWEEP, WORKER, ALL)
TEMPORARY_FILES = (
    "runs/.*",
    "evaluation/.*",
    "data/.*",
    ".cache/unfinished/*",
    ".cache/attempts/*.json",
    ".dvc.lock*",
    ".cache/dvc.lock",
    "mlflow.db.partial*",
    ".*.yaml*",
)


@dataclass
class ReferenceSweep:
    """A project with four runs, and the results of an undisturbed sweep."""

    root: Path
    files: dict[str, bytes] = field(default_factory=dict)
    metrics: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    seconds: float = 0.0

    def set_up(self, epochs: int) -> None:
        """Copy the project with a small grid, and run an undisturbed sweep."""
        changes: dict[str, dict[str, Any]] = {
            "data": {"image_size": 32, "samples": {"train": 16, "validation": 6, "test": 6}},
            "model": {"base_channels": 4, "depth": 2, "dropout": 0.2},
            "train": {"epochs": epochs},
            "grid": {"variant": ["unet", "unet_no_skip"], "learning_rate": [0.01], "seed": [0, 1]},
        }
        copy_project(self.root, changes)
        start = time.monotonic()
        with self.start() as sweep:
            if sweep.wait():
                raise SystemExit((self.root / "output").read_text(encoding="utf-8"))
        self.seconds = time.monotonic() - start
        self.files, self.metrics = self.read_files(), self.read_metrics()

    def start(self) -> subprocess.Popen[bytes]:
        """Start a sweep in a new session, so that all of its processes can be killed together."""
        env = {**os.environ, "PYTHONPATH": str(self.root), "MLFLOW_TRACKING_URI": "", "DVC_NO_ANALYTICS": "true"}
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        with (self.root / "output").open("ab") as output:
            return subprocess.Popen(
                ["pipeline", "sweep"],
                cwd=self.root, env=env, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    def reset(self) -> None:
        """Remove all outputs of the previous sweep."""
        for name in OUTPUTS:
            path = self.root / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def read_files(self) -> dict[str, bytes]:
        """Read all files of runs and evaluations that must be equal, by path."""
        paths = [path for folder in ("runs", "evaluation") for path in (self.root / folder).rglob("*")]
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in paths
            if path.is_file() and path.name != "timing.json"
        }

    def read_metrics(self) -> dict[str, list[tuple[Any, ...]]]:
        """Read the status and all metric values of MLflow's runs, by name; runs with equal names are concatenated."""
        store = sqlite3.connect(self.root / "mlflow.db")
        metrics: dict[str, list[tuple[Any, ...]]] = {}
        for run_id, name, status in store.execute("SELECT run_uuid, name, status FROM runs").fetchall():
            values = store.execute(
                "SELECT key, step, value FROM metrics WHERE run_uuid = ? AND key != 'training_seconds' "
                "ORDER BY key, step, timestamp",
                (run_id,),
            ).fetchall()
            metrics.setdefault(name, []).extend([(status,), *values])
        store.close()
        return metrics

    def find_faults(self) -> list[str]:
        """Return the differences from the undisturbed sweep, and the temporary files that remain."""
        faults, files = [], self.read_files()
        faults += [f"{name} is missing" for name in self.files.keys() - files.keys()]
        faults += [f"{name} is left over" for name in files.keys() - self.files.keys()]
        faults += [f"{name} differs" for name in self.files.keys() & files.keys() if self.files[name] != files[name]]
        metrics = self.read_metrics()
        for name in self.metrics.keys() | metrics.keys():
            if self.metrics.get(name) != metrics.get(name):
                faults.append(f"{name} in MLflow differs: {metrics.get(name, ['missing'])[0]}")
        faults += [f"{path} is left over" for pattern in TEMPORARY_FILES for path in self.root.glob(pattern)]
        status = json.loads(self.run_dvc("status", "--json"))
        faults += [f"DVC reports {name} as stale" for name in status if "@" in name]
        return faults

    def find_cache_faults(self) -> list[str]:
        """Restore runs and evaluations from DVC's cache, and return the differences from the undisturbed sweep."""
        shutil.rmtree(self.root / "runs")
        shutil.rmtree(self.root / "evaluation")
        self.run_dvc("checkout", "--quiet")
        return [f"in DVC's cache: {fault}" for fault in self.find_faults()]

    def run_dvc(self, *arguments: str) -> str:
        """Run a DVC command and return its output."""
        command = [sys.executable, "-m", "dvc", *arguments]
        return subprocess.run(command, cwd=self.root, check=False, stdout=subprocess.PIPE, text=True).stdout

    def list_processes(self) -> list[psutil.Process]:
        """Return all processes that run in the project's folder."""
        processes = []
        for process in psutil.process_iter():
            try:
                if process.cwd() == str(self.root) and process.status() != psutil.STATUS_ZOMBIE:
                    processes.append(process)
            except psutil.Error:
                continue
        return processes


def kill(sweep: subprocess.Popen[bytes], target: str, rng: random.Random) -> str:
    """Kill processes of a sweep and return the actual target: if there are no workers, the sweep itself is killed."""
    workers = []
    for child in psutil.Process(sweep.pid).children():
        with contextlib.suppress(psutil.Error):  # the child may be ending
            if "spawn_main" in " ".join(child.cmdline()):
                workers.append(child)
    if target == WORKER and workers:
        rng.choice(workers).kill()
        return target
    if target == ALL:
        os.killpg(sweep.pid, signal.SIGKILL)
        return target
    sweep.kill()
    return SWEEP


def kill_sweeps(kills: int, seed: int, epochs: int, folder: Path) -> list[str]:
    """Kill sweeps, print one line per completed sweep, and return all faults."""
    rng, project = random.Random(seed), ReferenceSweep(folder)
    project.set_up(epochs)
    num_values = sum(map(len, project.metrics.values()))
    print(f"undisturbed: {project.seconds:.1f} s, {len(project.files)} files, {num_values} metric values")
    faults, num_kills, num_rounds, counts = [], 0, 0, dict.fromkeys(TARGETS, 0)
    while num_kills < kills:
        project.reset()
        num_rounds += 1
        while True:
            sweep = project.start()
            try:
                code = sweep.wait(rng.uniform(0, project.seconds) if num_kills < kills else None)
            except subprocess.TimeoutExpired:
                target = kill(sweep, TARGETS[num_kills % len(TARGETS)], rng)
                num_kills, counts[target] = num_kills + 1, counts[target] + 1
                sweep.wait()
                continue
            if code == 0:
                break
            if sweep.returncode not in (0, 1):
                faults.append(f"the sweep ended with exit code {code}")
                break
        round_faults = project.find_faults() + (project.find_cache_faults() if num_kills >= kills else [])
        result = "; ".join(round_faults) or "all files and metrics equal, no temporary files"
        print(f"round {num_rounds}: {num_kills} kills so far; {result}", flush=True)
        faults += round_faults
    deadline = time.monotonic() + 30
    while project.list_processes() and time.monotonic() < deadline:
        time.sleep(0.2)
    faults += [f"still running: {process}" for process in project.list_processes()]
    targets = ", ".join(f"{count} of {target}" for target, count in counts.items())
    print(f"{num_kills} kills ({targets}), seed {seed}, {num_rounds} rounds")
    return faults


def main() -> None:
    """Print all faults, and exit with code 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=40)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        faults = kill_sweeps(args.kills, args.seed, args.epochs, Path(folder).resolve() / "project")
        if faults:
            shutil.copy(Path(folder) / "project/output", "chaos.log")
    print("\n".join(faults) or "all files and metrics equal those of the undisturbed sweep")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
