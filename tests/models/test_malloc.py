"""Disabling malloc's trimming reuses freed memory; tested in subprocesses because the setting is permanent."""

from __future__ import annotations

import subprocess
import sys

COUNT_FAULTS = """
import resource, sys
import torch
from pipeline.models.malloc import disable_malloc_trim

def count_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(10_000_000)  # 40 MB, freed immediately
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "kept":
    disable_malloc_trim()
for _ in range(10):
    last = count_faults()
print(last)
"""


def count_faults(mode: str) -> int:
    """Count the page faults of the last of ten allocations of the same size."""
    return int(subprocess.run([sys.executable, "-c", COUNT_FAULTS, mode], check=True, stdout=subprocess.PIPE).stdout)


def test_disable_malloc_trim_reuses_freed_memory() -> None:
    assert count_faults("kept") < 100


def test_default_malloc_returns_freed_memory_to_the_system() -> None:
    assert count_faults("default") > 1_000
