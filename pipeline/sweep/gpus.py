"""Assign one GPU to each job, because two runs on the same GPU would take turns."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Collection, Sequence

VISIBLE = "CUDA_VISIBLE_DEVICES"  # comma-separated
COMMAND = ("nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader")


def list_gpus() -> list[str]:
    """List the GPUs that this process may use, by their identifiers in `CUDA_VISIBLE_DEVICES`."""
    if VISIBLE in os.environ:
        return [name for name in os.environ[VISIBLE].split(",") if name.strip() not in ("", "-1")]
    if shutil.which(COMMAND[0]) is None:
        return []
    # torch could list the GPUs too, but takes seconds to import and would occupy memory on each of them.
    done = subprocess.run(COMMAND, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return [] if done.returncode else done.stdout.split()


def find_least_used(names: Sequence[str], used: Collection[str | None]) -> str | None:
    """Return the GPU that occurs least often in `used`, or None if there are no GPUs."""
    return min(names, key=list(used).count, default=None)


def call_on_gpu(gpu: str | None, function: Callable[..., None], *arguments: object) -> None:
    """Call a function with only this GPU visible; the process must not have imported torch yet."""
    if gpu is not None:
        os.environ[VISIBLE] = gpu
    function(*arguments)
