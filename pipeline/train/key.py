"""A run's key: equal keys mean equal parameters, data and training code, hence equal weights on equal processors."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pipeline.factories import factory_file
from pipeline.params import Cell
from pipeline.params.model import OwnModel
from pipeline.params.train import OwnOptimiser
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
    """The user's modules where network or optimiser are the user's own: as much training code as this package's."""
    factories = [
        chosen.factory for chosen in (cell.model, cell.train.optimiser) if isinstance(chosen, OwnModel | OwnOptimiser)
    ]
    return [file for file in map(factory_file, factories) if file]


def _hash(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
