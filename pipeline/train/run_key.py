"""Run keys: equal keys mean equal parameters, data and code, and hence equal weights on equal processors."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.artifacts.format import FORMAT
from pipeline.artifacts.project import Project
from pipeline.artifacts.run_folder import Precision
from pipeline.errors import PipelineError
from pipeline.models.initial_weights import describe_weights
from pipeline.params import Cell
from pipeline.params.custom_code import custom_files, find_module_file
from pipeline.params.train import Constant, ReduceOnPlateau

PACKAGE = Path(__file__).parents[1]
# Code that affects a run's results. dvc.yaml has the same list, by which DVC decides whether a run is stale.
CODE = (
    "train/*.py",
    "data/*.py",
    "models/*.py",
    "inference/prediction.py",
    "inference/tiles.py",
    "imaging/windows.py",
    "analysis/scores.py",
)


def compute_run_key(cell: Cell, data_fingerprint: str, precision: Precision) -> str:
    """Compute the key of a run: the SHA-256 in hex of parameters, precision, data, training code and initial weights.

    Raises:
        PipelineError: The initial weights are unknown.
    """
    return _compute_key(cell, cell.model_dump(mode="json"), data_fingerprint, precision)


def compute_extension_key(cell: Cell, data_fingerprint: str, precision: Precision) -> str | None:
    """Compute a key that ignores the number of epochs and early stopping, so that shorter and longer runs share it.

    Returns:
        The key; None if the learning rate of a step depends on the number of epochs.
    """
    if not isinstance(cell.train.lr_scheduler, Constant | ReduceOnPlateau):
        return None
    parameters = cell.model_dump(mode="json")
    for name in ("epochs", "early_stopping"):
        del parameters["train"][name]
    return _compute_key(cell, parameters, data_fingerprint, precision)


def _compute_key(cell: Cell, parameters: Mapping[str, Any], data_fingerprint: str, precision: Precision) -> str:
    weights = describe_weights(cell.model)
    content = {
        "format": FORMAT,
        "cell": parameters,
        "precision": precision,
        "data": data_fingerprint,
        "code": {pattern: _hash({path.name: path for path in sorted(PACKAGE.glob(pattern))}) for pattern in CODE},
        "custom": _hash(_find_custom_files(cell)),
        "weights": [weights.sha256, weights.normalization] if weights else None,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def is_current(cell: Cell, project: Project) -> bool:
    """Return whether a run's folder has the results of training the cell with the current data and code."""
    try:
        record, data = project.run(cell.name).record, project.prepared.dataset
        return record.key == compute_run_key(cell, data.fingerprint, record.precision)
    except PipelineError:
        return False


def _find_custom_files(cell: Cell) -> dict[str, Path]:
    """Find the files, by name, that affect a run with a custom network or optimizer.

    These are all files in `custom/`, because custom code may import or read any of them, and the modules in packages
    that import paths name.
    """
    import_paths = cell.custom_import_paths.values()
    if not import_paths:
        return {}
    home = Project().home
    named = {path.partition(":")[0]: file for path in import_paths if (file := find_module_file(path))}
    return named | {file.relative_to(home).as_posix(): file for file in custom_files(home)}


def _hash(files: Mapping[str, Path]) -> str:
    digest = hashlib.sha256()
    for name, path in files.items():
        digest.update(name.encode() + b"\0" + _digest(path))
    return digest.hexdigest()


@functools.cache
def _digest(path: Path) -> bytes:
    """Hash a file once per process, because a worker keeps the code that it imported, even after an edit."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
