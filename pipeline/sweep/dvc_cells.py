"""Questions to DVC about one cell, with DVC's memory of folder listings emptied after each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.stage import PipelineStage

from pipeline import runs
from pipeline.sweep.dvc_memory import forget_trees


def commit_cell(cell: PipelineStage) -> bool:
    """Put a cell's outputs into DVC's cache, as `dvc commit` does; returns False if a file is gone."""
    try:
        cell.save()
        cell.commit()
    except DvcException:
        return False
    finally:
        forget_trees()
    return True


def cell_status(cell: PipelineStage) -> dict[str, Any]:
    """Return a cell's status as `dvc status` has it; empty if it is up to date."""
    try:
        return dict(cell.status(check_updates=True))
    finally:
        forget_trees()


def output_hash(cell: PipelineStage) -> str | None:
    """Return DVC's hash of the one output of a cell as it is now; None if it is gone."""
    (out,) = cell.outs
    try:
        out.save()
    except DvcException:
        return None
    finally:
        forget_trees()
    value: str | None = out.hash_info.value
    return value


def is_only_change(folder: Path, status: Mapping[str, Any]) -> bool:
    """Return whether a folder that a cell depends on is the only change in its DVC status."""
    changes = [change for found in status.values() for change in found]
    if len(changes) != 1 or not isinstance(changes[0], dict):
        return False
    ((kind, paths),) = changes[0].items()
    return kind == "changed deps" and [Path(path).resolve() for path in paths] == [folder.resolve()]


def hash_dependencies(cell: PipelineStage) -> str:
    """Hash a cell's dependencies as they are now, without the run folder: its own training is about to write it."""
    hashes = {}
    for dependency in cell.deps:
        if not dependency.def_path.startswith(f"{runs.RUNS}/"):
            try:
                dependency.save()
                hashes[dependency.def_path] = dependency.hash_info.value
            except DvcException:  # it was removed, which is a change too
                hashes[dependency.def_path] = None
    forget_trees()
    return hashlib.sha256(json.dumps(hashes, sort_keys=True, default=str).encode()).hexdigest()


def names_of_runs(cells: Iterable[str], stage: str) -> list[str]:
    """Return the runs among names of cells that are of a stage."""
    prefix = f"{stage}@"
    return [cell.removeprefix(prefix) for cell in cells if cell.startswith(prefix)]
