"""One GPU per job: two runs on one would take turns."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Collection, Sequence

VISIBLE = "CUDA_VISIBLE_DEVICES"  # comma-separated
COMMAND = ("nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader")


def list_gpus() -> list[str]:
    """Return this machine's GPUs by CUDA's names, limited to those that the user lets this process see."""
    if VISIBLE in os.environ:
        return [name for name in os.environ[VISIBLE].split(",") if name.strip() not in ("", "-1")]
    if shutil.which(COMMAND[0]) is None:
        return []
    # torch would take seconds to import and keep a part of each GPU's memory.
    done = subprocess.run(COMMAND, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return [] if done.returncode else done.stdout.split()


def find_least_used(names: Sequence[str], used: Collection[str | None]) -> str | None:
    """Return the GPU with the fewest users; None without a GPU."""
    return min(names, key=list(used).count, default=None)


def call_on_gpu(gpu: str | None, function: Callable[..., None], *arguments: object) -> None:
    """Call a function with only one GPU visible, in a process that has not imported torch yet."""
    if gpu is not None:
        os.environ[VISIBLE] = gpu
    function(*arguments)
