"""Unpacking archives from anywhere: of a hostile or a broken one, nothing is written that stays."""

from __future__ import annotations

import contextlib
import gzip
import io
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from pipeline.atomic_io import replacing
from pipeline.errors import PipelineError
from pipeline.prepare.sample_ids import escape_unprintable

_CHUNK = 65_536  # bytes read at once
_ZIP, _GZIP = b"PK", b"\x1f\x8b"  # how files of these kinds begin
_MACOS = "__MACOSX"  # its folder for hidden files in a zip
_END = bytes(tarfile.BLOCKSIZE)  # a block of zeros stands behind the last member of a tar
_HEADER, _HEADER_ON_AVERAGE = 65_536, 4_096  # most bytes of a member's headers; 512 is usual
_KINDS = {
    **dict.fromkeys((tarfile.SYMTYPE, stat.S_IFLNK), "a symbolic link"),
    tarfile.LNKTYPE: "a hard link",
    **dict.fromkeys((tarfile.CHRTYPE, tarfile.BLKTYPE, stat.S_IFCHR, stat.S_IFBLK), "a device"),
    **dict.fromkeys((tarfile.FIFOTYPE, stat.S_IFIFO), "a named pipe"),
}
_REMEDY = (
    "Nothing was unpacked. Get the archive anew from whoever publishes it; if it comes to the same, do not use it."
)


def unpack(archive: Path, into: Path, *, most_bytes: int, most_files: int) -> None:
    """Unpack a .tar.gz or a .zip, whole or not at all; its content says which it is, not its name.

    Of a member, its name and its bytes are taken: no mode, no owner, no link. Hidden ones are passed over, such as
    those that macOS adds.

    Args:
        archive: that nobody vouches for.
        into: the folder for the members; one that is there already is replaced.
        most_bytes: that all members together may have, counted while they are read.
        most_files: members that there may be, folders and hidden ones included.

    Raises:
        PipelineError: The archive is none, is damaged or holds no file; or a member's name leads out of the folder or
            stands there twice, a member is neither a file nor a folder, or a bound is passed.
    """
    with replacing(into) as folder:
        size = files = 0
        for count, member in enumerate(_members(archive), start=1):
            if count > most_files:
                raise _refused(archive, member, f"is one too many: at most {most_files:,} were expected")
            if why := member.strange or _misleading(member):
                raise _refused(archive, member, why)
            try:
                with _created(folder, member) as file:
                    for chunk in _chunks(archive, member):
                        size += len(chunk)
                        if size > most_bytes:
                            why = f"brings what is unpacked to more than the {most_bytes:,} bytes that were expected"
                            raise _refused(archive, member, why)
                        if file:
                            file.write(chunk)
            except (FileExistsError, NotADirectoryError):  # also where the disk takes A and a for one name
                raise _refused(archive, member, "stands there twice, or is both a file and a folder") from None
            files += not (member.is_folder or member.is_hidden)
        if not files:
            raise PipelineError(f"{archive} holds no file. {_REMEDY}")


@dataclass(frozen=True)
class _Member:
    name: str  # as the archive spells it
    is_folder: bool
    strange: str  # what it is instead of a file or a folder, in words that follow its name; else empty
    open: Callable[[], IO[bytes] | None]  # None: has no content

    @property
    def parts(self) -> tuple[str, ...]:
        return PurePosixPath(self.name).parts

    @property
    def is_hidden(self) -> bool:
        return any(part.startswith(".") or part == _MACOS for part in self.parts)


def _misleading(member: _Member) -> str:
    """Why a name is refused, in words that follow it; empty where it stays in the folder, on any system."""
    if member.name.startswith("/"):
        return "has an absolute path"
    if ".." in member.parts:
        return "leads out of the folder by '..'"
    if "\\" in member.name or re.match("[A-Za-z]:", member.name):
        return "has a path of Windows, which leads elsewhere there"
    if not member.name.isprintable():
        return "has a name with control characters, or with bytes that are no text"
    return "" if member.parts or member.is_folder else "has no name"


def _created(folder: Path, member: _Member) -> contextlib.AbstractContextManager[IO[bytes] | None]:
    """A new file for a member's content, where it is to have one; the folders that it lies in are made."""
    path = folder.joinpath(*member.parts)
    if member.is_hidden:
        return contextlib.nullcontext()
    if member.is_folder:
        path.mkdir(parents=True, exist_ok=True)
        return contextlib.nullcontext()
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("xb")


def _chunks(archive: Path, member: _Member) -> Iterator[bytes]:
    if member.is_folder:
        return
    with (
        _damage_told(archive, f", at its member '{escape_unprintable(member.name)}'"),
        member.open() or io.BytesIO() as file,
    ):
        while chunk := file.read(_CHUNK):
            yield chunk


def _members(archive: Path) -> Iterator[_Member]:
    """What an archive holds, in its order; to be read while it is passed, as a tar cannot go back."""
    with archive.open("rb") as file:
        begin = file.read(len(_GZIP))
    if begin not in (_ZIP, _GZIP):
        begins = f"begins with {begin!r}" if begin else "is empty"
        raise PipelineError(f"{archive} is neither a .tar.gz nor a .zip: it {begins}. {_REMEDY}")
    with _damage_told(archive):
        yield from _of_zip(archive) if begin == _ZIP else _of_tar(archive)


def _of_zip(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as packed:
        for info in packed.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where no mode is told
            strange = "" if kind in (0, stat.S_IFREG, stat.S_IFDIR) else f"is {_KINDS.get(kind, 'no plain file')}"
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                strange = "is packed otherwise than by deflate"  # others can make gigabytes of one read
            name = info.orig_filename
            yield _Member(name, name.endswith("/"), strange, partial(packed.open, info))


def _of_tar(archive: Path) -> Iterator[_Member]:
    with _Tar(archive) as stream, tarfile.open(fileobj=stream, mode="r:") as packed:
        for info in packed:
            plain = (info.isreg() or info.isdir()) and not info.issparse()
            strange = "" if plain else f"is {_KINDS.get(info.type, 'no plain file')}"
            stream.in_member = True
            yield _Member(info.name, info.isdir(), strange, partial(packed.extractfile, info))
            stream.next_headers()
        # tarfile takes a header that it cannot read for the end, and gzip compares its checksum at its own end only.
        if stream.last != _END:
            raise tarfile.ReadError("its end is missing")
        stream.in_member = True
        stream.read(_CHUNK)
        if stream.read(1):
            raise tarfile.ReadError("it goes on behind its end")


class _Tar(gzip.GzipFile):
    """A tar under gzip, read forward only; its headers, which tarfile keeps in memory, may take only so much."""

    in_member = False  # whether a member's content is read, else headers
    last = b""  # what was read last
    _left = _HEADER

    def next_headers(self) -> None:
        """Say that a member's content is over."""
        self.in_member = False
        self._left = min(self._left + _HEADER_ON_AVERAGE, _HEADER)

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes."""
        if not self.in_member:
            if size is None or not 0 <= size <= self._left:
                raise tarfile.ReadError("a header is too large")
            self._left -= size
        self.last = super().read(size)
        return self.last

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go forward; a header that gives a negative size would lead round in circles."""
        if whence == io.SEEK_SET and offset < self.tell():  # which itself seeks, by nothing from where it is
            raise tarfile.ReadError("a header gives a negative size")
        return super().seek(offset, whence)


@contextlib.contextmanager
def _damage_told(archive: Path, where: str = "") -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a broken archive makes the libraries raise anything
        if isinstance(error, OSError) and error.filename:  # it may not be read, say
            raise
        why = str(error) or type(error).__name__
        raise PipelineError(f"{archive} is damaged or not whole{where} ({why}). {_REMEDY}") from None


def _refused(archive: Path, member: _Member, why: str) -> PipelineError:
    return PipelineError(f"{archive}: its member '{escape_unprintable(member.name[:200])}' {why}. {_REMEDY}")
