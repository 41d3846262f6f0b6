"""Memory that was given back is there again without the system; in a process of its own, since it lasts."""

from __future__ import annotations

import subprocess
import sys

FAULTS = """
import resource, sys
import torch
from pipeline.models.malloc import disable_malloc_trim

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(10_000_000)  # 40 MB, given back at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "kept":
    disable_malloc_trim()
for _ in range(10):
    last = faults()
print(last)
"""


def faults(how: str) -> int:
    """Pages that the system had to hand out for the tenth of ten tensors that follow each other."""
    return int(subprocess.run([sys.executable, "-c", FAULTS, how], check=True, stdout=subprocess.PIPE).stdout)


def test_a_tensor_lies_where_those_before_it_did() -> None:
    assert faults("kept") < 100


def test_the_system_would_hand_out_all_of_it_again() -> None:
    assert faults("given back") > 1_000
