"""List the results that `pipeline predict` writes to a folder, so that it never replaces other or edited ones there."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from pipeline.artifacts.folder import hash_file, list_files
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
        self._digests = self._read()  # SHA-256 by name; None until the prediction is complete
        self._added: set[str] = set()

    def add(self, paths: Iterable[Path]) -> None:
        """Add files and folders before they are written, so that an interrupted command can be repeated.

        Raises:
            PipelineError: A file exists that is not in the list, or that has changed since it was written.
        """
        names = {path.relative_to(self._folder).as_posix() for path in paths} - self._added
        existing = sorted(name for name in names if os.path.lexists(self._folder / name))
        unknown = [name for name in existing if name not in self._digests]
        self._refuse(unknown, "that no earlier `pipeline predict` wrote")
        changed = [name for name in existing if self._is_changed(name)]
        self._refuse(changed, "that were changed after `pipeline predict` wrote them")
        if names:
            self._added |= names
            self._digests |= dict.fromkeys(names)
            self._write()

    def finish(self) -> None:
        """Record the content of the files, so that changes can be recognized."""
        for name in self._added:
            digest = _hash_result(self._folder / name)
            if digest is None:  # the image was skipped
                del self._digests[name]
            else:
                self._digests[name] = digest
        self._write()

    def _refuse(self, names: list[str], reason: str) -> None:
        if names:
            raise PipelineError(
                f"--out: the results would replace files {reason}: "
                f"{join_names([self._folder / name for name in names])}. Choose another folder, or move these files."
            )

    def _is_changed(self, name: str) -> bool:
        digest = self._digests[name]
        return digest is not None and _hash_result(self._folder / name) != digest

    def _read(self) -> dict[str, str | None]:
        try:
            digests = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise self._create_error(f"is not JSON ({error})") from None
        if not isinstance(digests, dict) or not all(isinstance(one, str | None) for one in digests.values()):
            raise self._create_error("does not map file names to SHA-256 digests")
        return digests

    def _create_error(self, problem: str) -> PipelineError:
        return PipelineError(
            f"--out: {self._path} {problem}. Choose another folder, or delete {self._folder} if you do not need any "
            f"file in it."
        )

    def _write(self) -> None:
        write_text(self._path, json.dumps(self._digests, indent=0, sort_keys=True) + "\n")


def _hash_result(path: Path) -> str | None:
    """Return the SHA-256 of a file, or of the names and contents of a folder's files; None if there is neither."""
    if path.is_file():
        return hash_file(path)
    if not path.is_dir():
        return None
    digest = hashlib.sha256()
    for name, file in list_files(path).items():
        digest.update(os.fsencode(f"{name}\0{hash_file(file)}\0"))
    return digest.hexdigest()
