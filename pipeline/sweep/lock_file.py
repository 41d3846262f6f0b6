"""Writes dvc.lock whole or not at all, its entries in the order of dvc.yaml.

DVC appends the entry of a stage when the stage first ends, and keeps the entries of stages that are gone. So the order
would tell which of two trainings was faster, and equal projects would have different files.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dvc.stage import PipelineStage
from dvc.stage.serialize import to_lockfile
from dvc.utils.serialize import dump_yaml, modify_yaml

from pipeline import runs
from pipeline.files import write_bytes

_ENTRY = re.compile(r"^  ([^\s:][^:]*):$", re.MULTILINE)  # parsing YAML takes seconds with hundreds of stages


def write_lock(lock: Path, stages: Iterable[PipelineStage], names: Sequence[str]) -> None:
    """Put the entries of stages into dvc.lock.

    Args:
        lock: path of the file, which need not exist.
        stages: those whose entries are added or replaced; their outputs are in DVC's cache.
        names: of all stages, in the order of dvc.yaml; entries of others are removed.
    """
    with _replacing(lock) as new, modify_yaml(str(new)) as content:
        content.setdefault("schema", "2.0")
        entries = content.get("stages", {})
        for stage in stages:
            entries.update(to_lockfile(stage))
        content["stages"] = {name: entries[name] for name in names if name in entries}


def is_in_order(lock: Path, names: Sequence[str]) -> bool:
    """Return whether dvc.lock has entries of these stages only, in their order; true if the file is missing."""
    if not lock.exists():
        return True
    entries = _ENTRY.findall(lock.read_text(encoding="utf-8"))
    known = set(entries)
    return entries == [name for name in names if name in known]


def replace_lock(lock: Path, content: Mapping[str, Any]) -> None:
    """Write dvc.lock with this content."""
    with _replacing(lock) as new:
        dump_yaml(str(new), content)


@contextlib.contextmanager
def _replacing(lock: Path) -> Iterator[Path]:
    """Provide a copy of the file that takes its place when the block ends: DVC writes in place, and a kill cuts it."""
    new = lock.parent / runs.SCRATCH / lock.name
    write_bytes(new, lock.read_bytes() if lock.exists() else b"")
    yield new
    with new.open("rb") as file:
        os.fsync(file.fileno())
    new.replace(lock)
