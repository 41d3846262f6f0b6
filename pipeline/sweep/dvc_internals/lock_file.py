"""Write dvc.lock atomically in the order of dvc.yaml, and resolve its merge conflicts."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.stage import PipelineStage
from dvc.stage.cache import StageCache, _get_cache_hash
from dvc.stage.serialize import to_lockfile
from dvc.utils.serialize import dumps_yaml, load_yaml, parse_yaml

from pipeline.atomic_io import remove_leftovers, write_bytes, write_text
from pipeline.params.merge_conflict import split_sides

_ENTRY = re.compile(r"^  ([^\s:][^:]*):$", re.MULTILINE)  # parsing the YAML would take seconds


def is_in_order(lock: Path, names: Sequence[str]) -> bool:
    """Return whether dvc.lock has only stages in `names`, in the same order; true if the file is missing."""
    if not lock.exists():
        return True
    entries = _ENTRY.findall(lock.read_text(encoding="utf-8"))
    known = set(entries)
    return entries == [name for name in names if name in known]


def update_lock(lock: Path, stages: Iterable[PipelineStage], names: Sequence[str], run_cache: StageCache) -> None:
    """Write the entries of stages to dvc.lock.

    Args:
        lock: path of the file, which need not exist.
        stages: stages whose entries are added or replaced; their outputs must be in DVC's cache.
        names: names of all stages in the order of dvc.yaml; entries of other stages are removed.
        run_cache: cache to which removed entries are added, so that a stage that returns to dvc.yaml is restored. It
            does not have entries that came from git.
    """
    entries: dict[str, Any] = load_yaml(str(lock)).get("stages", {}) if lock.exists() else {}
    for stage in stages:
        entries |= to_lockfile(stage)
    for name in entries.keys() - set(names):
        _save_to_run_cache(run_cache, entries.pop(name))
    write_lock(lock, {name: entries[name] for name in names if name in entries})


def write_lock(lock: Path, entries: Mapping[str, Any]) -> None:
    """Replace dvc.lock atomically; DVC writes it in place, and leaves an incomplete file if it is killed."""
    remove_leftovers(lock)
    write_text(lock, dumps_yaml({"schema": "2.0", "stages": entries}))


def _save_to_run_cache(run_cache: StageCache, entry: dict[str, Any]) -> None:
    key, value = _get_cache_hash(copy.deepcopy(entry), key=True), _get_cache_hash(entry)
    path = Path(run_cache._get_cache_path(key, value))
    if not path.exists():
        write_bytes(path, dumps_yaml(entry).encode())


@dataclass(frozen=True)
class MergedLock:
    """Entries of both sides of a dvc.lock with a merge conflict.

    An entry records the inputs and outputs of a stage, so it stays valid after the merge if only one side has it. If
    the entries of both sides differ, git may have mixed their lines, and they are dropped. The output hashes of dropped
    train stages are kept: a run folder that has one of them and the current run key can be committed again.
    """

    entries: Mapping[str, Any]  # by stage
    dropped: tuple[str, ...]  # stages whose entries differ
    trained: Mapping[str, frozenset[str]]  # output hashes on both sides, by dropped train stage

    @classmethod
    def from_text(cls, text: str) -> MergedLock:
        """Merge both sides of a dvc.lock with conflict markers.

        Raises:
            ValueError: The markers are out of order, or one side is not a lock file.
        """
        ours, theirs = (_parse_entries(side) for side in split_sides(text))
        dropped = tuple(name for name in ours if name in theirs and ours[name] != theirs[name])
        return cls(
            entries={name: entry for name, entry in {**ours, **theirs}.items() if name not in dropped},
            dropped=dropped,
            trained={
                name: frozenset(out["md5"] for entry in (ours[name], theirs[name]) for out in entry.get("outs", []))
                for name in dropped
                if name.startswith("train@")
            },
        )

    def describe(self, recognized: int, fetched: int) -> str:
        """Describe the merge in one line, with the number of runs recognized and stages fetched afterwards."""
        parts = [f"kept {len(self.entries)} entries from both sides"]
        if self.dropped:
            cells = [name for name in self.dropped if "@" in name]
            names = [name for name in self.dropped if "@" not in name]
            names += [f"{len(cells)} stages of runs"] if cells else []
            parts.append(f"dropped {len(self.dropped)} that differ ({', '.join(names)})")
        if recognized:
            parts.append(f"recognized {recognized} trained runs by their keys")
        if fetched:
            parts.append(f"fetched the outputs of {fetched} stages from DVC's remote")
        return f"dvc.lock had a merge conflict: {'; '.join(parts)}"


def _parse_entries(text: str) -> dict[str, Any]:
    content = parse_yaml(text, "dvc.lock")
    entries = content.get("stages") if isinstance(content, dict) else None
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise ValueError("one side of the conflict has no stages")
    return entries
