"""Writes dvc.lock whole or not at all, its entries in the order of dvc.yaml.

DVC appends the entry of a stage when the stage first ends, and keeps the entries of stages that are gone. So the order
would tell which of two trainings was faster, and equal projects would have different files.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dvc.stage import PipelineStage
from dvc.stage.cache import StageCache, _get_cache_hash
from dvc.stage.serialize import to_lockfile
from dvc.utils.serialize import dump_yaml, dumps_yaml, load_yaml, modify_yaml

from pipeline import runs
from pipeline.atomic_io import write_bytes

_ENTRY = re.compile(r"^  ([^\s:][^:]*):$", re.MULTILINE)  # parsing YAML takes seconds with hundreds of stages


def write_lock(lock: Path, stages: Iterable[PipelineStage], names: Sequence[str], run_cache: StageCache) -> None:
    """Put the entries of stages into dvc.lock.

    Args:
        lock: path of the file, which need not exist.
        stages: those whose entries are added or replaced; their outputs are in DVC's cache.
        names: of all stages, in the order of dvc.yaml; entries of others are removed.
        run_cache: where removed entries go, so that a stage that returns to dvc.yaml is restored: DVC's run cache does
            not know the stages that were pulled.
    """
    new = _copy(lock)
    with modify_yaml(str(new)) as content:
        content.setdefault("schema", "2.0")
        entries = content.get("stages", {})
        for stage in stages:
            entries.update(to_lockfile(stage))
        removed = [name for name in entries if name not in names]
        content["stages"] = {name: entries[name] for name in names if name in entries}
    if removed:
        recorded = load_yaml(str(lock))["stages"]
        for name in removed:
            _remember(run_cache, recorded[name])
    _replace(new, lock)


def is_in_order(lock: Path, names: Sequence[str]) -> bool:
    """Return whether dvc.lock has entries of these stages only, in their order; true if the file is missing."""
    if not lock.exists():
        return True
    entries = _ENTRY.findall(lock.read_text(encoding="utf-8"))
    known = set(entries)
    return entries == [name for name in names if name in known]


def replace_lock(lock: Path, content: Mapping[str, Any]) -> None:
    """Write dvc.lock with this content."""
    new = _copy(lock)
    dump_yaml(str(new), content)
    _replace(new, lock)


def _copy(lock: Path) -> Path:
    new = lock.parent / runs.SCRATCH / lock.name
    write_bytes(new, lock.read_bytes() if lock.exists() else b"")
    return new


def _replace(new: Path, lock: Path) -> None:
    """Rename a file that DVC wrote into place: DVC itself writes in place, where a kill leaves half of it."""
    with new.open("rb") as file:
        os.fsync(file.fileno())
    new.replace(lock)


def _remember(run_cache: StageCache, entry: dict[str, Any]) -> None:
    """Put an entry of dvc.lock into DVC's run cache, whose files have the same content."""
    key, value = _get_cache_hash(copy.deepcopy(entry), key=True), _get_cache_hash(entry)
    path = Path(run_cache._get_cache_path(key, value))
    if not path.exists():
        write_bytes(path, dumps_yaml(entry).encode())
