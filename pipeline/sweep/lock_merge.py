"""Merges the two sides of a dvc.lock that git could not merge.

An entry records the inputs and outputs of a stage, so an entry of one side is as true after the merge as before.
Where both sides have one and they differ, git may have mixed their lines: such an entry may be false.
It is dropped, and only the hashes of its trainings are kept, to be checked against the runs' own keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dvc.utils.serialize import parse_yaml_for_update

from pipeline.params.merge_conflict import split_sides


@dataclass(frozen=True)
class MergedLock:
    """The entries of two sides of dvc.lock that can be kept."""

    content: Mapping[str, Any]  # of the merged file
    dropped: tuple[str, ...]  # names of stages whose entries differ
    trained: Mapping[str, frozenset[str]]  # by name of a dropped training: the hashes of its output on either side

    def describe(self, recognized: int, fetched: int) -> str:
        """Return a line that reports the merge.

        Args:
            recognized: how many dropped trainings were recorded again, since their runs are up to date.
            fetched: how many outputs came from DVC's remote.
        """
        parts = [f"kept {len(self.content['stages'])} entries of both sides"]
        if self.dropped:
            cells = [name for name in self.dropped if "@" in name]
            names = [name for name in self.dropped if "@" not in name]
            names += [f"{len(cells)} of single runs"] if cells else []
            parts.append(f"dropped {len(self.dropped)} that differ ({', '.join(names)})")
        if recognized:
            parts.append(f"recognized {recognized} trained by run key")
        if fetched:
            parts.append(f"fetched {fetched} from DVC's remote")
        return f"dvc.lock had a merge conflict: {'; '.join(parts)}"


def merge_lock(text: str) -> MergedLock:
    """Merge the sides of a dvc.lock with conflict markers.

    Raises:
        ValueError: The markers are out of order, or one side is not a lock file.
    """
    ours, theirs = (_stages(side) for side in split_sides(text))
    dropped = tuple(name for name in ours if name in theirs and ours[name] != theirs[name])
    both = {**ours, **theirs}
    return MergedLock(
        content={"schema": "2.0", "stages": {name: entry for name, entry in both.items() if name not in dropped}},
        dropped=dropped,
        trained={
            name: frozenset(out["md5"] for entry in (ours[name], theirs[name]) for out in entry.get("outs", []))
            for name in dropped
            if name.startswith("train@")
        },
    )


def _stages(text: str) -> dict[str, Any]:
    content = parse_yaml_for_update(text, "dvc.lock")
    stages = content.get("stages") if isinstance(content, dict) else None
    if not isinstance(stages, dict) or not all(isinstance(entry, dict) for entry in stages.values()):
        raise ValueError("one side of the conflict has no stages")
    return stages
