"""Sizes of the checks on a GPU, tiny sizes to try them on a CPU, and rows whose failure does not stop the others."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.networks import NETWORKS, Workload

MAX_LOADERS = 16
NEEDS_GPU = "needs a GPU"


@dataclass
class Setting:
    """Sizes and device of the measurements.

    Attributes:
        project: Folder with a prepared copy of the project.
        has_failed: Whether a row has failed.
    """

    project: Path
    workload: Workload
    networks: tuple[str, ...]
    num_rounds: int
    num_eval_images: int
    params: dict[str, dict[str, Any]]  # changes to params.yaml
    has_failed: bool = field(default=False, init=False)

    @property
    def is_gpu(self) -> bool:
        """Whether a GPU is checked."""
        return self.workload.device == "cuda"

    def print_row(self, name: str, measure: Callable[..., str], *arguments: Any) -> None:
        """Print the result of a call as soon as it is known; if the call raises an error, print that instead."""
        try:
            result = measure(*arguments)
        except Exception as error:
            self.has_failed = True
            result = f"FAILED: {traceback.format_exception_only(error)[-1].strip()}"
        print(f"{name:<46}{result}", flush=True)


def create_setting(device: str, project: Path) -> Setting:
    """Create realistic sizes for a GPU, or tiny sizes for a CPU."""
    if device == "cuda":
        loaders = min(MAX_LOADERS, len(os.sched_getaffinity(0)))
        workload = Workload(1, device, 64, 256, 20, num_loaders=loaders, warmup_steps=5, min_seconds=1.5)
        params: dict[str, dict[str, Any]] = {
            "data": {"image_size": 128, "samples": {"train": 256, "validation": 64, "test": 16}},
            "train": {"epochs": 10, "batch_size": 16},
            "grid": {"variant": ["unet"], "learning_rate": [0.002], "seed": [0, 1, 2]},
        }
        return Setting(project, workload, tuple(NETWORKS), 3, 512, params)
    params = {
        "data": {"image_size": 32, "samples": {"train": 16, "validation": 6, "test": 6}},
        "model": {"base_channels": 4, "depth": 2},
        "train": {"epochs": 4, "batch_size": 4},
        "grid": {"variant": ["unet"], "learning_rate": [0.002], "seed": [0, 1, 2]},
    }
    workload = Workload(1, device, 2, 32, 4, min_seconds=0.2)
    return Setting(project, workload, ("unet16", "lite0"), 2, 4, params)


def run_pipeline(root: Path, *arguments: str) -> float:
    """Run a command of the project in a folder, and return its wall time in seconds.

    Raises:
        RuntimeError: The command fails; the message is the last line of its output.
    """
    env = {**os.environ, "MLFLOW_TRACKING_URI": "", "DVC_NO_ANALYTICS": "true"}
    env["PYTHONPATH"] = f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    # DVC starts `pipeline` by name, which may not be installed.
    command = root / "bin" / "pipeline"
    command.parent.mkdir(exist_ok=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pipeline "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    env["PATH"] = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
    start = time.perf_counter()
    done = subprocess.run([command, *arguments], cwd=root, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"pipeline {arguments[0]}: {(done.stdout + done.stderr).strip().splitlines()[-1:]}")
    return time.perf_counter() - start
