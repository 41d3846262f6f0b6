"""Writes dvc.lock whole or not at all, its entries in the order of dvc.yaml.

DVC appends the entry of a stage when the stage first ends, and keeps the entries of stages that are gone. So the order
would tell which of two trainings was faster, and equal projects would have different files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from dvc.stage import PipelineStage
from dvc.stage.serialize import to_lockfile
from dvc.utils.serialize import modify_yaml

from pipeline import runs
from pipeline.files import write_bytes


def write_lock(lock: Path, stages: Iterable[PipelineStage], names: Sequence[str]) -> None:
    """Put the entries of stages into dvc.lock.

    Args:
        lock: path of the file, which need not exist.
        stages: those whose entries are added or replaced; their outputs are in DVC's cache.
        names: of all stages, in the order of dvc.yaml; entries of others are removed.
    """
    new = lock.parent / runs.SCRATCH / lock.name
    write_bytes(new, lock.read_bytes() if lock.exists() else b"")
    with modify_yaml(str(new)) as content:
        content.setdefault("schema", "2.0")
        entries = content.get("stages", {})
        for stage in stages:
            entries.update(to_lockfile(stage))
        content["stages"] = {name: entries[name] for name in names if name in entries}
    with new.open("rb") as file:
        os.fsync(file.fileno())
    new.replace(lock)
