"""Keep folders of runs outside the grid out of `runs/` and `evaluation/`, because DVC hashes these as a whole.

`compare`, `showcase` and `report` depend on the two folders, since dvc.yaml cannot list those of a grid's cells as
dependencies. A folder that remains from another grid would change their hashes, and no clone could reproduce them.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

import click

from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.project import CACHE, EVALUATION, RUNS
from pipeline.artifacts.run_folder import RunFolder

FOLDER = CACHE / "outside_grid"
RECORDS = {RUNS: RunFolder.RECORD, EVALUATION: EvaluationFolder.METRICS}


def move_outside_grid(names: Collection[str], root: Path = Path()) -> None:
    """Move the folders of runs outside the grid to `.cache/outside_grid/`, and back if they are in the grid again.

    A folder in `runs/` or `evaluation/` is never replaced. Committed runs are in DVC's cache too.

    Args:
        names: of the runs in the grid.
        root: the project's folder, or a study's.
    """
    moved, returned = set[str](), set[str]()
    for name, folder, aside in _places(root, root / FOLDER):
        if name not in names:
            _move(folder, aside)
            moved.add(name)
    for name, aside, folder in _places(root / FOLDER, root):
        if name in names and not folder.exists():
            _move(aside, folder)
            returned.add(name)
    if moved:
        click.echo(f"No longer in the grid, so moved to {FOLDER}/: {', '.join(sorted(moved))}", err=True)
    if returned:
        click.echo(f"In the grid again, so moved back from {FOLDER}/: {', '.join(sorted(returned))}", err=True)


def _places(here: Path, there: Path) -> Iterator[tuple[str, Path, Path]]:
    """Yield the name of each run or evaluation, its folder, and the corresponding folder below the other root."""
    for part, record in RECORDS.items():
        for path in sorted((here / part).glob(f"*/{record}")):
            if not path.parent.name.startswith("."):  # of a killed stage
                yield path.parent.name, path.parent, there / part / path.parent.name


def _move(folder: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    if to.exists():
        shutil.rmtree(to)
    shutil.move(folder, to)
