"""Keep folders of runs outside the grid out of `runs/` and `evaluation/`, because DVC hashes these as a whole.

`compare`, `showcase` and `report` depend on the two folders, since dvc.yaml cannot list those of a grid's cells as
dependencies. A folder that remains from another grid would change their hashes, and no clone could reproduce them.
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
    """Move the folders of runs outside the grid to `.cache/outside_grid/`, and back if they are in the grid again.

    A folder in `runs/` or `evaluation/` is never replaced. Committed runs are in DVC's cache too.
    """
    moved = _move(root, root / FOLDER, lambda folder, _: folder.name not in grid)
    returned = _move(root / FOLDER, root, lambda folder, to: folder.name in grid and not to.exists())
    if moved:
        click.echo(f"No longer in the grid, so moved to {FOLDER}/: {', '.join(sorted(moved))}", err=True)
    if returned:
        click.echo(f"In the grid again, so moved back from {FOLDER}/: {', '.join(sorted(returned))}", err=True)


def _move(here: Path, there: Path, should_move: Callable[[Path, Path], bool]) -> set[str]:
    """Move run and evaluation folders for which `should_move(folder, to)` is true; return the names of their runs."""
    moved = set()
    for part, record in RECORDS.items():
        for path in sorted((here / part).glob(f"*/{record}")):
            folder, to = path.parent, there / part / path.parent.name
            if should_move(folder, to) and not folder.name.startswith("."):  # of a killed stage
                to.parent.mkdir(parents=True, exist_ok=True)
                if to.exists():
                    shutil.rmtree(to)
                shutil.move(folder, to)
                moved.add(folder.name)
    return moved
