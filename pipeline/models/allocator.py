"""How this process asks the system for memory."""

from __future__ import annotations

import ctypes

# glibc's <malloc.h>
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Have the C library keep what torch gives back; elsewhere than on glibc nothing happens.

    The activations of one step are as large as those of the next. By default glibc returns each to the system, which
    hands it out again page by page, zeroed: a tenth of a training's time (`benchmarks/throughput.py`, 160 px, batches
    of 32). The process holds no more than its highest need.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)
