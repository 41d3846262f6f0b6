"""What is finished and DVC has not recorded yet: without it, a kill between two of DVC's writes would cost it.

A line a stage, added by whoever finished it, in the scratch folder. A line counts as long as what the stage wrote, and
for an evaluation the run that it is of, are as they were then.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pipeline import runs
from pipeline.sweep.lock import FOLDER

FILE = FOLDER / "finished.jsonl"


class Journal:
    """The journal of the sweeps of one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root / FILE

    def add(self, stage: str, run: str, made_from: str) -> None:
        """Note that a stage (`train` or `evaluate`) of a run is finished, and what it was made from."""
        line = {"stage": f"{stage}@{run}", "made_from": made_from, "files": self._files(stage, run)}
        with contextlib.suppress(OSError):  # a full disk: then only a kill would cost it
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # One write to the end of the file: lines of several processes do not mix.
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                os.write(handle, b"\n" + json.dumps(line).encode())  # first: the line before may be half a line
                os.fsync(handle)
            finally:
                os.close(handle)

    def standing(self, known: Collection[str] = ()) -> dict[str, str]:
        """By stage, such as `train@unet-0.001-0`, what it was made from, where its files are as they were.

        Stages that are `known` are left out: looking at files takes time.
        """
        found: dict[str, str] = {}
        for line in self._lines():
            stage, _, run = str(line["stage"]).partition("@")
            if line["stage"] not in known and line["files"] == self._files(stage, run):
                found[line["stage"]] = line["made_from"]
        return found

    def clear(self) -> None:
        """DVC has recorded all of it."""
        self._path.unlink(missing_ok=True)

    def _lines(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        newest: dict[str, dict[str, Any]] = {}
        for text in self._path.read_bytes().splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):  # half a line
                line = json.loads(text)
                newest[line["stage"]] = line
        return list(newest.values())

    def _files(self, stage: str, run: str) -> str:
        folders = [self._root / runs.RUNS / run]
        if stage == "evaluate":
            folders.append(self._root / runs.EVALUATION / run)
        digest = hashlib.sha256()
        for path in (path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(self._root)}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()
