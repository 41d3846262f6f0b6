"""Unpacking archives, including malicious and damaged ones."""

from __future__ import annotations

import contextlib
import io
import os
import random
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import PipelineError
from pipeline.prepare.archives import unpack

FILES = {"images/a.jpg": random.Random(0).randbytes(1400), "images/deep/b.jpg": bytes(512), "README": b"read me"}
SIZE = sum(map(len, FILES.values()))

Write = Callable[[Path, dict[str, bytes]], Path]


def write_members(path: Path, *members: tuple[str, bytes, bytes], mode: str = "w:gz") -> Path:
    """Write a tar archive of members with name, content and type."""
    with tarfile.open(path, mode, format=tarfile.PAX_FORMAT) as archive:
        for name, content, kind in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(content), "/etc/hostname"
            archive.addfile(info, io.BytesIO(content))
    return path


def write_tar_gz(path: Path, files: dict[str, bytes]) -> Path:
    return write_members(path, *((name, content, tarfile.REGTYPE) for name, content in files.items()))


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    return write_members(path, *((name, content, tarfile.REGTYPE) for name, content in files.items()), mode="w:")


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


FORMATS = pytest.mark.parametrize("write", [write_zip, write_tar, write_tar_gz])


def read_all(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def get_error(archive: Path, max_bytes: int = 10_000, max_files: int = 20) -> str:
    """Return the error of an archive; nothing may be written anywhere."""
    before = read_all(archive.parent)
    with pytest.raises(PipelineError) as error:
        unpack(archive, archive.parent / "into", max_bytes=max_bytes, max_files=max_files)
    assert read_all(archive.parent) == before
    assert not (archive.parent / "into").exists()
    assert str(error.value).startswith(f"{archive} cannot be unpacked: ")
    return str(error.value)


@FORMATS
def test_unpack_skips_hidden_files_and_replaces_the_folder(write: Write, tmp_path: Path) -> None:
    (tmp_path / "into").mkdir()
    (tmp_path / "into" / "old").touch()
    hidden = {"images/._a.jpg": b"m", "._images": b"m", ".git/config": b"g", "__MACOSX/images/a.jpg": b"m"}
    hidden |= {"._a.zarr/.zgroup": b"m"}
    files = {**FILES, "images/c.jpg": b"c", "images/a.zarr/.zgroup": b"{}", "images/a.zarr/0/.zarray": b"{}"}
    archive = write(tmp_path / "archive", {**{f"./{name}": content for name, content in files.items()}, **hidden})
    unpack(archive, tmp_path / "into", max_bytes=10_000, max_files=20)
    assert read_all(tmp_path / "into") == files
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "into"]


@FORMATS
@pytest.mark.parametrize(
    "name", ["../evil", "images/../../evil", "a/../../into/../evil", "/evil", "C:/evil", "c:evil", "..\\evil"]
)
def test_unpack_member_outside_the_folder_is_an_error(write: Write, name: str, tmp_path: Path) -> None:
    assert "outside" in get_error(write(tmp_path / "archive", {**FILES, name: b"evil"}))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_unpack_of_links_and_devices_in_a_tar_is_an_error(kind: bytes, tmp_path: Path) -> None:
    archive = write_members(tmp_path / "a.tar.gz", ("images", b"", kind), ("images/a.jpg", b"a", tarfile.REGTYPE))
    assert "images is neither a file nor a folder" in get_error(archive)


def test_unpack_of_a_link_in_a_zip_is_an_error(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("images")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc")
        archive.writestr("images/passwd", "evil")
    assert "images is neither a file nor a folder" in get_error(tmp_path / "a.zip")


@FORMATS
def test_unpack_limits_bytes_and_files(write: Write, tmp_path: Path) -> None:
    archive = write(tmp_path / "archive", FILES)
    assert f"{SIZE - 1:,} bytes" in get_error(archive, max_bytes=SIZE - 1)
    assert "more than 2 files" in get_error(archive, max_files=2)
    unpack(archive, tmp_path / "into", max_bytes=SIZE, max_files=3)


@FORMATS
def test_unpack_member_that_expands_beyond_the_limit_is_an_error(write: Write, tmp_path: Path) -> None:
    assert "bytes when unpacked" in get_error(write(tmp_path / "archive", {"a.png": bytes(5_000_000)}))


def test_unpack_member_larger_than_declared_is_an_error(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a.png": bytes(50_000)})
    content = archive.read_bytes()
    assert content.count(struct.pack("<I", 50_000)) == 2  # in the local header and in the table of contents
    archive.write_bytes(content.replace(struct.pack("<I", 50_000), struct.pack("<I", 100)))
    assert "CRC" in get_error(archive)


def test_unpack_counts_a_sparse_file_with_its_full_size(tmp_path: Path) -> None:
    info = tarfile.TarInfo("images/a.jpg")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1000000000000"}
    info.size = 512
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(b"1\n0\n0\n".ljust(512, b"\0")))
    assert "bytes" in get_error(tmp_path / "a.tar.gz")


def test_unpack_of_a_negative_size_is_an_error(tmp_path: Path) -> None:
    header = bytearray(tarfile.TarInfo("a.png").tobuf())
    header[124:136] = (-512).to_bytes(12, "big", signed=True)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "a.tar").write_bytes(bytes(header) + bytes(1024))
    assert "a size of -512 bytes" in get_error(tmp_path / "a.tar")


def test_unpack_of_a_huge_header_is_an_error(tmp_path: Path) -> None:
    info = tarfile.TarInfo("header")
    info.type, info.size = tarfile.XHDTYPE, 100_000_000
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz", compresslevel=1) as archive:
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    assert "lists files has more than" in get_error(tmp_path / "a.tar.gz")


@FORMATS
def test_unpack_of_repeated_names_is_an_error(write: Write, tmp_path: Path) -> None:
    assert "two members with the name ./a.png" in get_error(write(tmp_path / "archive", {"a.png": b"", "./a.png": b""}))
    assert "two members" in get_error(write(tmp_path / "archive", {"a.png": b"", "a.png/b.png": b""}))


@FORMATS
def test_unpack_keeps_names_that_differ_in_case_or_are_not_ascii(write: Write, tmp_path: Path) -> None:
    files = {"a.png": b"1", "A.png": b"2", "ä/ß.png": b"3"}
    unpack(write(tmp_path / "archive", files), tmp_path / "into", max_bytes=10, max_files=5)
    assert read_all(tmp_path / "into") == files


def test_unpack_reads_names_of_a_zip_without_a_mark_as_utf_8_or_else_as_cp437(tmp_path: Path) -> None:
    for number, (name, expected) in enumerate([("ü.png".encode(), "ü.png"), (b"\x81.png", "ü.png")]):
        archive = write_zip(tmp_path / f"{number}.zip", {"x" * len(name): b"1"})
        archive.write_bytes(archive.read_bytes().replace(b"x" * len(name), name))
        unpack(archive, tmp_path / str(number), max_bytes=10, max_files=5)
        assert read_all(tmp_path / str(number)) == {expected: b"1"}


def test_unpack_keeps_names_of_a_tar_that_are_not_utf_8(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", {"xx.png": b"1"})
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as file:
        info = tarfile.TarInfo(os.fsdecode(b"\xff.png"))
        file.addfile(info)
    unpack(archive, tmp_path / "into", max_bytes=10, max_files=5)
    assert [os.fsencode(path.name) for path in (tmp_path / "into").iterdir()] == [b"\xff.png"]


@FORMATS
def test_unpack_of_a_name_that_the_disk_refuses_is_an_error(write: Write, tmp_path: Path) -> None:
    assert "cannot be written" in get_error(write(tmp_path / "archive", {"n" * 300: b""}))


@FORMATS
def test_unpack_does_not_open_archives_in_an_archive(write: Write, tmp_path: Path) -> None:
    inner = write_zip(tmp_path / "inner.zip", FILES).read_bytes()
    unpack(write(tmp_path / "archive", {"inner.zip": inner}), tmp_path / "into", max_bytes=10_000, max_files=5)
    assert read_all(tmp_path / "into") == {"inner.zip": inner}


def test_unpack_of_an_encrypted_zip_is_an_error(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a.png": b"1"})
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    content[6] |= 1
    archive.write_bytes(content)
    assert "encrypted" in get_error(archive)


def test_unpack_of_an_unknown_compression_is_an_error(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a.png": b"1"})
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 10] = content[8] = 97
    archive.write_bytes(content)
    get_error(archive)


@FORMATS
def test_unpack_of_a_truncated_archive_is_an_error(write: Write, tmp_path: Path) -> None:
    whole = write(tmp_path / "archive", FILES).read_bytes()
    end = len(whole.rstrip(b"\0")) if write is write_tar else len(whole)  # a tar ends with empty blocks
    for length in (end - 1, end // 2, 700):
        (tmp_path / "archive").write_bytes(whole[:length])
        get_error(tmp_path / "archive")


def test_unpack_of_a_tar_truncated_between_members_is_an_error(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", {"a.png": bytes(512), "b.png": bytes(512)})
    archive.write_bytes(archive.read_bytes()[:1024])
    assert "incomplete" in get_error(archive)


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x05\x06" + bytes(17), b"7z\xbc\xaf'\x1c" + bytes(600)])
def test_unpack_of_another_file_is_an_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(content)
    get_error(tmp_path / "a.tar.gz")


@given(st.data())
@FORMATS
def test_unpack_damaged_archive_writes_nothing_outside(
    tmp_path_factory: pytest.TempPathFactory, write: Write, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    archive = write(folder / "archive", FILES)
    content = bytearray(archive.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    archive.write_bytes(content[: data.draw(st.integers(position, len(content)))])
    with contextlib.suppress(PipelineError):
        unpack(archive, folder / "into", max_bytes=10_000, max_files=20)
    assert {path.name for path in folder.iterdir()} <= {"archive", "into"}
