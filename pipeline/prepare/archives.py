"""Unpack zip and tar archives that may be malicious: with limits, and without links or names outside the folder."""

from __future__ import annotations

import errno
import gzip
import io
import lzma
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, cast

from pipeline.atomic_io import atomic_directory
from pipeline.errors import PipelineError
from pipeline.wording import escape_unprintable

_GZIP_MAGIC = b"\x1f\x8b"
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")  # at the start, because a tar archive may end with a zip
_CHUNK_BYTES = 1 << 20
_MAX_TABLE_BYTES = 64_000_000  # of a zip's table of contents, or of a header of a tar, which are read as a whole
_MAX_NAME = 120  # characters of a name in a message
_RESERVED_BYTES = 100_000_000  # that stay free on the disk
_DRIVE = re.compile(r"[A-Za-z]:")
_ENCRYPTED = 0x1
_NAME_ERRORS = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)
_UNUSED_FOLDER = "__MACOSX"  # resource forks that macOS adds
_ZARR_METADATA = (".zarray", ".zattrs", ".zgroup", ".zmetadata")  # hidden files of Zarr 2 that are part of an image
_READ_AGAIN = "Create or download the archive again."
_UNPACK_YOURSELF = "If you trust it, unpack it yourself and use the folder."
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,  # a compression method or version of zip that Python does not support
    ValueError,  # a number in a header that is not one, or a null character in a name
    OverflowError,
    RuntimeError,
)


class ArchiveError(Exception):
    """An archive cannot be unpacked. The reason follows "cannot be unpacked: ", and the advice is a sentence."""

    def __init__(self, reason: str, advice: str = _READ_AGAIN) -> None:
        super().__init__(reason)
        self.advice = advice


@dataclass(frozen=True)
class _Member:
    """A member of an archive."""

    name: str
    size: int  # as the archive declares it, bytes
    is_folder: bool
    is_file: bool
    open: Callable[[], IO[bytes] | None]  # None unless it is a file


def unpack(archive: Path, folder: Path, *, max_bytes: int, max_files: int) -> None:
    """Unpack a zip or tar archive, completely or not at all.

    Hidden members, except the metadata of Zarr 2, and those that macOS adds are skipped, but count toward the limits.
    Archives in the archive are not unpacked.

    Args:
        archive: The archive.
        folder: Folder to create. It is replaced if it exists.
        max_bytes: Maximum size of all members together.
        max_files: Maximum number of members.

    Raises:
        PipelineError: The archive is damaged, encrypted or too large, or a member is a link or device, has the same
            name as another one, or leads outside the folder.
    """
    with atomic_directory(folder) as target:
        try:
            writer = _Writer(target, max_bytes, max_files)
            with closing(_list_members(archive, max_files)) as members:
                for member in members:
                    writer.write(member)
        except (*_BROKEN, ArchiveError) as error:
            advice = error.advice if isinstance(error, ArchiveError) else _READ_AGAIN
            reason = escape_unprintable(str(error)) or type(error).__name__
            raise PipelineError(f"{archive} cannot be unpacked: {reason}. Nothing was unpacked. {advice}") from None


class _Writer:
    """Writes members below a folder, and counts them."""

    def __init__(self, folder: Path, max_bytes: int, max_files: int) -> None:
        self._folder, self._max_bytes, self._max_files = folder, max_bytes, max_files
        self._free_bytes = max(0, shutil.disk_usage(folder).free - _RESERVED_BYTES)
        self._num_bytes = self._num_files = 0

    def write(self, member: _Member) -> None:
        """Write a member, unless it is hidden.

        Raises:
            ArchiveError: The member is not a file or folder, has an unusable name, or exceeds a limit.
        """
        if member.size < 0:
            raise ArchiveError(f"{_shorten(member.name)} declares a size of {member.size} bytes")
        self._num_files += 1
        self._num_bytes += member.size  # readers of both formats return no more than the declared size
        self._check_limits()
        if not (member.is_file or member.is_folder):
            raise ArchiveError(
                f"{_shorten(member.name)} is neither a file nor a folder",
                "Links and devices are refused: create the archive with the files themselves, such as with `tar "
                "--dereference --hard-dereference`, or with `zip -r`.",
            )
        path = _check_name(member.name)
        if member.is_folder or not path.parts or _is_unused(path):
            return
        target = self._folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            file = target.open("xb")
        except (FileExistsError, NotADirectoryError):
            raise ArchiveError(
                f"it has two members with the name {_shorten(member.name)}, or with names that this disk does not tell "
                f"apart",
                "Create the archive again, with different names.",
            ) from None
        except OSError as error:
            if error.errno not in _NAME_ERRORS:  # such as a full disk
                raise
            reason = f"{_shorten(member.name)} cannot be written ({error.strerror})"
            raise ArchiveError(reason, "Rename the file, and create the archive again.") from None
        with file:
            content = member.open()
            assert content is not None
            with content:
                shutil.copyfileobj(content, file, _CHUNK_BYTES)
        target.chmod(0o444)  # an edited copy would no longer be the content of the archive

    def _check_limits(self) -> None:
        """Raise `ArchiveError` if there are too many members, or if they are too large."""
        _check_number(self._num_files, self._max_files)
        if self._num_bytes > self._max_bytes:
            raise ArchiveError(f"it has more than {self._max_bytes:,} bytes when unpacked", _UNPACK_YOURSELF)
        if self._num_bytes > self._free_bytes:
            raise ArchiveError(
                f"it needs more than the {self._free_bytes:,} bytes that the disk of {self._folder.parent} has for it",
                "Free some space.",
            )


def _check_number(num_files: int, max_files: int) -> None:
    if num_files > max_files:
        raise ArchiveError(f"it has more than {max_files:,} files", _UNPACK_YOURSELF)


def _check_name(name: str) -> PurePosixPath:
    """Return the path of a member; raise `ArchiveError` if it leads outside the folder."""
    path = PurePosixPath(name.replace("\\", "/"))  # some programs for Windows write \
    if path.is_absolute() or ".." in path.parts or _DRIVE.match(name):
        raise ArchiveError(f"{_shorten(name)} would be outside the folder", _UNPACK_YOURSELF)
    return path


def _is_unused(path: PurePosixPath) -> bool:
    parts = path.parent.parts if path.name in _ZARR_METADATA else path.parts
    return any(part.startswith(".") for part in parts) or _UNUSED_FOLDER in parts


def _shorten(name: str) -> str:
    return name if len(name) <= _MAX_NAME else f"{name[:_MAX_NAME]}…"


def _list_members(path: Path, max_files: int) -> Generator[_Member]:
    with path.open("rb") as file:
        is_zip = file.read(len(_ZIP_MAGIC[0])) in _ZIP_MAGIC
    return _list_zip(path, max_files) if is_zip else _list_tar(path)


def _list_zip(path: Path, max_files: int) -> Generator[_Member]:
    with path.open("rb") as file:
        limited = cast("BinaryIO", _LimitedReads(file))
        try:
            archive = zipfile.ZipFile(limited, metadata_encoding="utf-8")  # macOS does not mark names as UTF-8
        except UnicodeDecodeError:
            archive = zipfile.ZipFile(limited)
        with archive:
            _check_number(len(archive.infolist()), max_files)  # before any of them is written
            if any(info.flag_bits & _ENCRYPTED for info in archive.infolist()):
                raise ArchiveError("it is encrypted", "Create it without a password, or unpack it yourself.")
            for info in archive.infolist():
                mode = info.external_attr >> 16
                is_plain = stat.S_IFMT(mode) in (0, stat.S_IFREG, stat.S_IFDIR)
                yield _Member(
                    info.filename,
                    info.file_size,
                    is_folder=info.is_dir(),
                    is_file=is_plain and not info.is_dir(),
                    open=partial(archive.open, info),
                )


def _list_tar(path: Path) -> Generator[_Member]:
    with path.open("rb") as file:
        is_compressed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        file.seek(0)
        content = gzip.GzipFile(fileobj=file) if is_compressed else file
        try:
            archive = tarfile.open(fileobj=cast("BinaryIO", _LimitedReads(content)), mode="r:")  # noqa: SIM115
        except tarfile.ReadError as error:
            raise ArchiveError(f"it is neither a zip nor a tar archive, or damaged ({error})") from None
        with archive:
            while (info := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # otherwise, all headers stay in memory
                yield _Member(
                    info.name,
                    info.size,
                    is_folder=info.isdir(),
                    is_file=info.isfile(),
                    open=partial(archive.extractfile, info),
                )
            if not is_compressed and archive.offset >= path.stat().st_size:
                raise ArchiveError("it is incomplete: the blocks that mark its end are missing")
            while content.read(_CHUNK_BYTES):  # the checksum of compressed content is at its end
                pass


class _LimitedReads(io.RawIOBase):
    """A file that refuses to read more than `_MAX_TABLE_BYTES` in one call.

    Only headers, whose size the archive declares, are read in one call; members are read in chunks.
    """

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """Read bytes. Raise `ArchiveError` if there are too many."""
        content: bytes = self._file.read(_MAX_TABLE_BYTES + 1 if size < 0 else min(size, _MAX_TABLE_BYTES + 1))
        if len(content) > _MAX_TABLE_BYTES:
            raise ArchiveError(
                f"a part of it that lists files has more than {_MAX_TABLE_BYTES:,} bytes", _UNPACK_YOURSELF
            )
        return content

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        """Change the position."""
        place: int = self._file.seek(position, whence)
        return place

    def tell(self) -> int:
        """Return the position."""
        place: int = self._file.tell()
        return place

    def seekable(self) -> bool:
        """Return true."""
        return True

    def readable(self) -> bool:
        """Return true."""
        return True
