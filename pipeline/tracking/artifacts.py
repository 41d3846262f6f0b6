"""A run's files in MLflow: which are there, and whether they are what lies on the disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.runs import TIMING

if TYPE_CHECKING:
    from mlflow import MlflowClient

DIGEST = "pipeline.sha256."  # and the folder's name among the artifacts: a tag


def checksum(path: Path) -> str:
    """SHA-256 of a file, hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def folder_digest(folder: Path) -> str:
    """SHA-256, hex, over the names and contents of a folder's files, subfolders included; a run's times are left out.

    A run that DVC restored has no times, and is the one that was sent with them.
    """
    digest = hashlib.sha256()
    files = sorted((path.relative_to(folder).as_posix(), path) for path in _files(folder))
    for name, path in ((name, path) for name, path in files if name != TIMING):
        digest.update(f"{name}\0{checksum(path)}\0".encode())
    return digest.hexdigest()


def listed(client: MlflowClient, run_id: str, folder: str) -> Iterator[tuple[str, int | None]]:
    """Path and bytes, as far as the store knows them, of the files below a folder of a run's artifacts."""
    for item in client.list_artifacts(run_id, folder):
        if item.is_dir:
            yield from listed(client, run_id, item.path)
        else:
            yield item.path, item.file_size


def are_there(client: MlflowClient, run_id: str, folder: Path, under: str) -> bool:
    """Whether each file of a folder is among the artifacts in `under`, as large as it is on the disk."""
    found = dict(listed(client, run_id, under))
    return all(
        found.get(f"{under}/{path.relative_to(folder).as_posix()}", -1) in (None, path.stat().st_size)
        for path in _files(folder)
    )


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
