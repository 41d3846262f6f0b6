"""A run's key: equal keys mean equal parameters, data and training code, hence equal weights on equal processors."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path

from pipeline.factories import factory_file, own_modules
from pipeline.params import Cell
from pipeline.params.model import OwnModel
from pipeline.params.train import OwnOptimiser
from pipeline.project import project_folder
from pipeline.runs import FORMAT, Precision

PACKAGE = Path(__file__).parents[1]
CODE = ("train/*.py", "data/*.py", "models/*.py", "analysis/scores.py")  # decides a run's numbers, as in dvc.yaml


def run_key(cell: Cell, data_fingerprint: str, precision: Precision) -> str:
    """SHA-256, hex, over the cell's canonical parameters, the resolved precision, the data and the training code."""
    content = {
        "format": FORMAT,
        "cell": cell.model_dump(mode="json"),
        "precision": precision,
        "data": data_fingerprint,
        "code": {pattern: _hash(sorted(PACKAGE.glob(pattern))) for pattern in CODE},
        "own": _hash(_own_files(cell)),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _own_files(cell: Cell) -> list[Path]:
    """The user's modules where network or optimiser are the user's own: as much training code as this package's.

    All of them, since the one that is named may import any other.
    """
    factories = [
        chosen.factory for chosen in (cell.model, cell.train.optimiser) if isinstance(chosen, OwnModel | OwnOptimiser)
    ]
    named = [file for file in map(factory_file, factories) if file]
    return sorted({*named, *own_modules(project_folder())}) if factories else []


def _hash(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + b"\0" + _content(path) + b"\0")
    return digest.hexdigest()


@functools.cache
def _content(path: Path) -> bytes:
    """As it was first read: a warm worker goes on with the code that it has imported, whatever becomes of the file."""
    return path.read_bytes()
