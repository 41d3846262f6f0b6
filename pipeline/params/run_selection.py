"""Runs of the grid that a command line names."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from pipeline.errors import PipelineError


def chosen_runs(names: Sequence[str], targets: Sequence[str]) -> list[str]:
    """The runs that the targets name or fit, in the grid's order; without targets all.

    Args:
        names: of the grid's runs.
        targets: names, or patterns in which `*` stands for anything; `train@` and `evaluate@`, as DVC writes them,
            mean their run.

    Raises:
        PipelineError: A target fits no run.
    """
    patterns = [target.removeprefix("train@").removeprefix("evaluate@") for target in targets]
    for target, pattern in zip(targets, patterns, strict=True):
        if not any(fnmatchcase(name, pattern) for name in names):
            raise PipelineError(f"'{target}' fits no run of the grid, which has {names[0]} to {names[-1]}.")
    return [name for name in names if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)]
