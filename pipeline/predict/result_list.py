"""List the files that `pipeline predict` writes to a folder, so that it never replaces other files there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from pipeline.atomic_io import write_text
from pipeline.errors import PipelineError
from pipeline.wording import join_names

FILE = ".predicted_files.json"  # in the output folder


class ResultList:
    """List of the results in an output folder, which later predictions may replace.

    Args:
        folder: Output folder.

    Raises:
        PipelineError: The list of earlier predictions cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / FILE
        self._names = self._read()

    def add(self, paths: Iterable[Path]) -> None:
        """Add files before they are written, so that an interrupted command can be repeated.

        Raises:
            PipelineError: A file exists that is not in the list.
        """
        names = {path.relative_to(self._folder).as_posix() for path in paths}
        new = names - self._names
        if others := [self._folder / name for name in sorted(new) if os.path.lexists(self._folder / name)]:
            raise PipelineError(
                f"--out: the results would replace files that no earlier `pipeline predict` wrote: "
                f"{join_names(others)}. Choose another folder, or move these files."
            )
        if new:
            self._names |= new
            write_text(self._path, json.dumps(sorted(self._names), indent=0) + "\n")

    def _read(self) -> set[str]:
        try:
            names = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return set()
        except ValueError as error:
            raise PipelineError(f"--out: {self._path} is not JSON ({error}). Choose another folder.") from None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise PipelineError(f"--out: {self._path} is not a list of file names. Choose another folder.")
        return set(names)
