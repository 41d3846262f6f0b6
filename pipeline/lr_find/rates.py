"""The learning rates of a range test. Imports nothing, because the command line's help quotes these numbers."""

from __future__ import annotations

LOWEST, HIGHEST = 1e-6, 1.0
STEPS = 240  # batches: 40 for each power of ten
