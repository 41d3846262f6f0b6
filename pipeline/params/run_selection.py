"""Select runs of the grid by name or pattern on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from pipeline.errors import PipelineError


def select_runs(names: Sequence[str], targets: Sequence[str]) -> list[str]:
    """Select the runs of the grid that match the targets, in its order; all runs without targets.

    Targets are names, or patterns with `*`; DVC's `train@<run>` and `evaluate@<run>` are accepted.

    Raises:
        PipelineError: A target matches no run.
    """
    patterns = [target.removeprefix("train@").removeprefix("evaluate@") for target in targets]
    for target, pattern in zip(targets, patterns, strict=True):
        if not any(fnmatchcase(name, pattern) for name in names):
            raise PipelineError(f"'{target}' matches no run of the grid, whose runs are {names[0]} to {names[-1]}.")
    return [name for name in names if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)]
