"""Move the folders of runs that are not in the grid out of `runs/` and `evaluation/`.

The stages after `evaluate` depend on each of these folders as a whole, because dvc.yaml cannot list the folders of
individual cells as dependencies. A run left over from an earlier grid would change the folders' hashes, and no other
clone of the project could reproduce them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from pathlib import Path

import click

from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.project import CACHE, EVALUATION, RUNS
from pipeline.artifacts.run_folder import RunFolder

FOLDER = CACHE / "outside_grid"
RECORDS = {RUNS: RunFolder.RECORD, EVALUATION: EvaluationFolder.METRICS}


def move_outside_grid(grid: Collection[str], root: Path = Path()) -> None:
    """Move the folders of runs outside the grid to `.cache/outside_grid/`, or back if they are in the grid again.

    Folders that exist in `runs/` and `evaluation/` are never overwritten. Committed runs are also in DVC's cache.
    """
    moved = _move(root, root / FOLDER, lambda folder, _: folder.name not in grid)
    returned = _move(root / FOLDER, root, lambda folder, to: folder.name in grid and not to.exists())
    if moved:
        click.echo(f"Runs that are no longer in the grid were moved to {FOLDER}/: {', '.join(sorted(moved))}", err=True)
    if returned:
        names = ", ".join(sorted(returned))
        click.echo(f"Runs that are in the grid again were moved back from {FOLDER}/: {names}", err=True)


def _move(here: Path, there: Path, should_move: Callable[[Path, Path], bool]) -> set[str]:
    """Move run and evaluation folders for which `should_move(folder, to)` is true; return the names of their runs."""
    moved = set()
    for part, record in RECORDS.items():
        for path in sorted((here / part).glob(f"*/{record}")):
            folder, to = path.parent, there / part / path.parent.name
            if should_move(folder, to) and not folder.name.startswith("."):  # hidden folders are left by killed stages
                to.parent.mkdir(parents=True, exist_ok=True)
                if to.exists():
                    shutil.rmtree(to)
                shutil.move(folder, to)
                moved.add(folder.name)
    return moved
