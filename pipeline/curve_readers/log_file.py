"""Read log files, which may be damaged, huge, or still growing."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.wording import format_megabytes

HEAD_BYTES = 1 << 20  # formats are recognized by the beginning of a file
MAX_BYTES = 100_000_000  # of files that are read as a whole; a history of a thousand epochs has less than one megabyte
MAX_FILES = 5000  # in a folder


@dataclass(frozen=True)
class LogFile:
    """A log file."""

    path: Path
    # Whether the file was just written to, so that its last line is left out if it has no line break yet
    is_growing: bool = False

    @cached_property
    def head(self) -> bytes:
        """The first bytes of the file.

        Raises:
            PipelineError: The file cannot be read, or is a pipe or device.
        """
        try:
            if not stat.S_ISREG(self.path.stat().st_mode):
                raise PipelineError(f"{self.path} is not a regular file. Copy its content to a file first.")
            with self.path.open("rb") as file:
                return file.read(HEAD_BYTES)
        except OSError as error:
            raise PipelineError(f"{self.path} cannot be read: {error.strerror}.") from None

    @cached_property
    def text_head(self) -> str:
        """The first characters of the file; bytes that are not UTF-8 are replaced."""
        return self.head.decode("utf-8-sig", errors="replace")

    @cached_property
    def ends_with_line_break(self) -> bool:
        """Whether the last line is complete."""
        return self._content.endswith((b"\n", b"\r"))

    def read_bytes(self) -> bytes:
        """Read the whole file.

        Raises:
            PipelineError: The file cannot be read, or is too large.
        """
        return self._content

    def read_text(self, expected: str, keep_last_line: bool = False) -> str:
        """Read the whole file as UTF-8 text.

        Args:
            expected: End of the message for other files.
            keep_last_line: Whether an incomplete last line is kept even if the file is growing.

        Raises:
            PipelineError: The file cannot be read, is too large, or is not UTF-8.
        """
        content = self._content
        if self.is_growing and not keep_last_line and not self.ends_with_line_break:
            content = content[: content.rfind(b"\n") + 1]
        try:
            return content.decode("utf-8-sig")  # spreadsheets write a byte order mark
        except UnicodeDecodeError as error:
            raise PipelineError(f"{self.path} is not UTF-8 text ({error}); {expected}.") from None

    @cached_property
    def _content(self) -> bytes:
        if len(self.head) < HEAD_BYTES:
            return self.head
        try:
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size > MAX_BYTES:
                    raise PipelineError(
                        f"{self.path} has {format_megabytes(size)}; expected at most {format_megabytes(MAX_BYTES)}. "
                        f"Export only the losses."
                    )
                return file.read(MAX_BYTES)
        except OSError as error:
            raise PipelineError(f"{self.path} cannot be read: {error.strerror}.") from None


def list_files(path: Path) -> tuple[Path, ...]:
    """List all files in a folder and its subfolders, sorted; links to folders are not followed.

    Raises:
        PipelineError: The folder cannot be read, or has too many files.
    """
    files: list[Path] = []

    def refuse(error: OSError) -> None:
        raise PipelineError(f"{error.filename} cannot be read: {error.strerror}.")

    for folder, _, names in os.walk(path, onerror=refuse):
        files += [Path(folder, name) for name in names]
        if len(files) > MAX_FILES:
            raise PipelineError(f"{path} has more than {MAX_FILES:,} files. Pass the folder of one run.")
    return tuple(sorted(files))
