"""Disabling malloc's trimming reuses freed memory; tested in a subprocess because the setting is permanent."""

from __future__ import annotations

import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource
import torch
from pipeline.runtime.operating_system import disable_malloc_trim

def count_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(10_000_000)  # 40 MB, freed immediately
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

for change_malloc in (lambda: None, disable_malloc_trim):
    change_malloc()
    for _ in range(10):
        last = count_faults()
    print(last)
"""


@pytest.fixture(scope="module")
def faults() -> tuple[int, int]:
    """Page faults of the last of ten allocations of the same size, before and after trimming is disabled."""
    done = subprocess.run([sys.executable, "-c", COUNT_FAULTS], check=True, stdout=subprocess.PIPE)
    before, after = map(int, done.stdout.split())
    return before, after


def test_disable_malloc_trim_reuses_freed_memory(faults: tuple[int, int]) -> None:
    assert faults[1] < 100


def test_default_malloc_returns_freed_memory_to_the_system(faults: tuple[int, int]) -> None:
    assert faults[0] > 1_000
