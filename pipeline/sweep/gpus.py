"""A GPU a job, where there are any: two trainings on one would take turns."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Collection

VISIBLE = "CUDA_VISIBLE_DEVICES"  # what CUDA shows a process; a comma between devices
ASKED = ("nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader")


def gpus() -> list[str]:
    """The GPUs of this machine, by the names that CUDA takes; no more than the user lets this process see."""
    if VISIBLE in os.environ:
        return [name for name in os.environ[VISIBLE].split(",") if name.strip() not in ("", "-1")]
    if shutil.which(ASKED[0]) is None:
        return []
    # Asked of the driver, since torch would take seconds to import and keep a part of each GPU's memory.
    said = subprocess.run(ASKED, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return [] if said.returncode else said.stdout.split()


def least_used(names: list[str], used: Collection[str | None]) -> str | None:
    """The GPU that the fewest use, None where there is none."""
    return min(names, key=list(used).count, default=None)


def run_on(gpu: str | None, work: Callable[..., None], *arguments: object) -> None:
    """Work in a process that has not imported torch yet and shall see one GPU only."""
    if gpu is not None:
        os.environ[VISIBLE] = gpu
    work(*arguments)
