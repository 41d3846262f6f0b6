"""Memory allocation settings of this process."""

from __future__ import annotations

import ctypes

# glibc's <malloc.h>
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def disable_malloc_trim() -> None:
    """Let glibc keep freed memory for reuse; without glibc, do nothing.

    By default glibc returns the memory of each step's activations to the system, which zeroes it and hands it out again
    page by page in the next step. This takes a tenth of the training time (`benchmarks/throughput.py`, 160 px, batches
    of 32). Peak memory stays the same.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)
