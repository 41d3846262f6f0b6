"""Compare two runs at the same time on one card with the same runs one after the other."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from benchmarks.gpu_parts.compare import describe_difference
from benchmarks.gpu_parts.setting import Setting, run_pipeline
from pipeline.artifacts.project import RUNS
from pipeline.artifacts.run_folder import RunFolder

NAMES = ("unet-0.002-0", "unet-0.002-1")


@dataclass(frozen=True)
class Sweep:
    """A finished sweep."""

    runs: tuple[RunFolder, ...]
    seconds: float  # wall time

    @property
    def training_seconds(self) -> float:
        """Seconds from the start of the first run to the last epoch of all."""
        times = [timing for run in self.runs if (timing := run.read_timing())]
        return (max(one.last_ms or 0 for one in times) - min(one.began_ms or 0 for one in times)) / 1000


def run(setting: Setting) -> None:
    """Print the wall times of both sweeps, and the difference between their runs."""
    sweeps: list[Sweep] = []
    for num_workers in (1, 2):
        setting.print_row(f"2 runs, --workers {num_workers}", sweep, setting, num_workers, sweeps)
    if len(sweeps) == 2:
        setting.print_row("time of --workers 2 relative to --workers 1", compare_times, *sweeps)
        for alone, together in zip(*(one.runs for one in sweeps), strict=True):
            setting.print_row(f"{alone.name}, together and alone", describe_difference, alone, together)


def sweep(setting: Setting, num_workers: int, sweeps: list[Sweep]) -> str:
    """Sweep in a copy of the project, and add the result to `sweeps`."""
    root = setting.project.with_name(f"sweep-{num_workers}")
    shutil.copytree(setting.project, root, symlinks=True)
    seconds = run_pipeline(root, "sweep", "--workers", str(num_workers), *NAMES)
    found = Sweep(tuple(RunFolder(root / RUNS / name) for name in NAMES), seconds)
    sweeps.append(found)
    return f"{seconds:.1f} s, including {found.training_seconds:.1f} s of training"


def compare_times(alone: Sweep, together: Sweep) -> str:
    """Compare the times of two sweeps, with and without starting the processes."""
    training = together.training_seconds / alone.training_seconds
    return f"{together.seconds / alone.seconds:.2f}, training only {training:.2f}"
