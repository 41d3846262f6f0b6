"""Archives that nobody vouches for: unpacked whole, or nothing of them is left anywhere."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import PipelineError
from pipeline.prepare.fetching.archives import unpack

FILES = {"images/a.jpg": b"\xff\xd8" * 700, "images/deep/b.jpg": bytes(512), "README": b"read me"}
BOUNDS = {"most_bytes": 10_000, "most_files": 20}


def member(
    name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(content), link
    return info, content


def write_tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return path


def write_zip(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return path


def tar_of(path: Path, files: dict[str, bytes]) -> Path:
    return write_tar(path, *(member(name, content) for name, content in files.items()))


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(archive: Path, **bounds: int) -> str:
    """What is said of an archive of which nothing may be left, not even a folder."""
    before = set(archive.parent.rglob("*"))
    with pytest.raises(PipelineError) as error:
        unpack(archive, archive.parent / "into" / "here", **{**BOUNDS, **bounds})
    assert set(archive.parent.rglob("*")) - before <= {archive.parent / "into"}
    assert str(error.value).startswith(str(archive))
    assert "Nothing was unpacked." in str(error.value)
    return str(error.value)


WRITERS = pytest.mark.parametrize("write", [tar_of, write_zip])
Writer = Callable[[Path, dict[str, bytes]], Path]


@WRITERS
def test_what_is_packed_is_unpacked_whatever_the_archive_is_called(tmp_path: Path, write: Writer) -> None:
    unpack(write(tmp_path / "archive", FILES), tmp_path / "into", **BOUNDS)
    assert everything(tmp_path / "into") == FILES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "into"]


SIZES = st.one_of(st.sampled_from([0, 1, 511, 512, 513, 1024, 65_536, 65_537, 131_072]), st.integers(0, 70_000))
FORMATS = st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])


@given(files=st.dictionaries(st.text("abé", min_size=1, max_size=90), SIZES, min_size=1, max_size=5), kind=FORMATS)
def test_a_tar_of_any_kind_comes_back(files: dict[str, int], kind: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        content = {f"{name[:3]}-{'f' * 60}/{name}.jpg": bytes([7]) * size for name, size in files.items()}
        with tarfile.open(Path(name) / "a.tar.gz", "w:gz", format=kind, compresslevel=1) as archive:
            for info, data in (member(*item) for item in content.items()):
                archive.addfile(info, io.BytesIO(data))
        unpack(Path(name) / "a.tar.gz", Path(name) / "into", most_bytes=sum(files.values()), most_files=5)
        assert everything(Path(name) / "into") == content


@WRITERS
def test_hidden_members_are_passed_over(tmp_path: Path, write: Writer) -> None:
    extra = {"images/._a.jpg": b"m", "._images": b"m", ".git/config": b"g", "__MACOSX/images/b.jpg": b"m"}
    unpack(write(tmp_path / "archive", {**extra, **FILES}), tmp_path / "into", **BOUNDS)
    assert everything(tmp_path / "into") == FILES
    assert not (tmp_path / "into" / "__MACOSX").exists()


def test_folders_are_made_and_neither_modes_nor_dots_matter(tmp_path: Path) -> None:
    strict, _ = member("./kept/", kind=tarfile.DIRTYPE)
    strict.mode = 0
    archive = write_tar(tmp_path / "a.tar.gz", (strict, b""), (strict, b""), member("./kept//a", b"a"))
    unpack(archive, tmp_path / "into", **BOUNDS)
    assert everything(tmp_path / "into") == {"kept/a": b"a"}


@WRITERS
def test_a_folder_that_is_there_is_replaced_but_only_by_a_good_archive(tmp_path: Path, write: Writer) -> None:
    (tmp_path / "into").mkdir()
    (tmp_path / "into" / "old").write_text("old")
    with pytest.raises(PipelineError):
        unpack(write(tmp_path / "bad", {"a": b"a", "../b": b"b"}), tmp_path / "into", **BOUNDS)
    assert everything(tmp_path / "into") == {"old": b"old"}
    unpack(write(tmp_path / "good", FILES), tmp_path / "into", **BOUNDS)
    assert everything(tmp_path / "into") == FILES


@WRITERS
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("/etc/evil", "has an absolute path"),
        ("../evil", "leads out of the folder by '..'"),
        ("images/../../evil", "leads out of the folder by '..'"),
        ("images/..", "leads out of the folder by '..'"),
        ("C:/evil", "has a path of Windows"),
        ("c:evil", "has a path of Windows"),
        ("..\\evil", "has a path of Windows"),
        ("images\\evil", "has a path of Windows"),
        ("a\nb", "has a name with control"),
        (".", "has no name"),
        ("images/.hidden/../../../evil", "leads out of the folder by '..'"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, write: Writer, name: str, why: str) -> None:
    said = refused(write(tmp_path / "archive", {**FILES, name: b"evil"}))
    spelt = name.replace("\n", "\\n")
    assert f"its member '{spelt}' {why}" in said


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a named pipe"),
        (b"Z", "no plain file"),
        (tarfile.GNUTYPE_SPARSE, "no plain file"),
    ],
)
@pytest.mark.parametrize("name", ["strange", ".strange"])
def test_a_tar_holds_files_and_folders_only(tmp_path: Path, kind: bytes, why: str, name: str) -> None:
    archive = write_tar(tmp_path / "a.tar.gz", member("a", b"a"), member(name, kind=kind, link="a"))
    assert f"its member '{name}' is {why}" in refused(archive)


@pytest.mark.parametrize(
    ("kind", "why"),
    [(stat.S_IFLNK, "a symbolic link"), (stat.S_IFIFO, "a named pipe"), (stat.S_IFSOCK, "no plain file")],
)
def test_a_zip_holds_files_and_folders_only(tmp_path: Path, kind: int, why: str) -> None:
    info = zipfile.ZipInfo("strange")
    info.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    assert f"its member 'strange' is {why}" in refused(tmp_path / "a.zip")


def test_a_link_is_never_written_through(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    link = member("images", kind=tarfile.SYMTYPE, link=str(tmp_path / "outside"))
    assert "'images' is a symbolic link" in refused(write_tar(tmp_path / "a.tar.gz", link, member("images/a", b"a")))
    assert not list((tmp_path / "outside").iterdir())


@pytest.mark.parametrize(
    "names", [("a", "a"), ("a", "./a"), ("b/a", "b//a"), ("a", "a/b"), ("a", "a/b/c"), ("a/b", "a")]
)
def test_a_name_stands_there_once(tmp_path: Path, names: tuple[str, str]) -> None:
    archive = write_tar(tmp_path / "a.tar.gz", *(member(name, name.encode()) for name in names))
    assert f"its member '{names[1]}' stands there twice" in refused(archive)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_stands_in_a_zip_once(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a", "1")
        archive.writestr("a", "2")
    assert "its member 'a' stands there twice" in refused(tmp_path / "a.zip")


@WRITERS
def test_the_bound_is_on_all_members_together_hidden_ones_included(tmp_path: Path, write: Writer) -> None:
    archive = write(tmp_path / "archive", {"a": bytes(600), ".b": bytes(300), "c": bytes(100)})
    unpack(archive, tmp_path / "into", most_bytes=1000, most_files=3)
    (tmp_path / "into" / "a").unlink()
    said = refused(archive, most_bytes=999)
    assert "its member 'c' brings what is unpacked to more than the 999 bytes that were expected" in said


@WRITERS
def test_there_may_be_only_so_many_members(tmp_path: Path, write: Writer) -> None:
    said = refused(write(tmp_path / "archive", {"a": b"", ".b": b"", "c": b""}), most_files=2)
    assert "its member 'c' is one too many: at most 2 were expected" in said


def test_a_zip_that_belittles_a_member_is_refused(tmp_path: Path) -> None:
    """The header says 5 bytes, and gigabytes may follow."""
    content = bytes(9_999)
    archive = write_zip(tmp_path / "a.zip", {"bomb": content})
    size = len(content).to_bytes(4, "little")
    packed = archive.read_bytes()
    assert packed.count(size) == 2
    archive.write_bytes(packed.replace(size, (5).to_bytes(4, "little")))
    assert "'bomb'" in refused(archive, most_bytes=100)


def test_a_tar_that_exaggerates_a_member_is_refused(tmp_path: Path) -> None:
    info, _ = member("a")
    info.size = 1 << 62
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(2048)))
    assert "damaged or not whole, at its member 'a'" in refused(tmp_path / "a.tar.gz")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
@pytest.mark.parametrize("size", [1 << 30, -512])
def test_a_header_cannot_fill_the_memory_nor_lead_round_in_circles(tmp_path: Path, kind: bytes, size: int) -> None:
    first = member("a", b"a")[0].tobuf() + b"a".ljust(512, b"\0")
    info, _ = member("header", kind=kind)
    info.size = size
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(first + info.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)))
    refused(tmp_path / "a.tar.gz")


def test_many_headers_cannot_fill_the_memory_either(tmp_path: Path) -> None:
    """Each is modest, but tarfile keeps them all."""
    members = []
    for index in range(10):
        info, content = member(f"a{index}", b"a")
        info.pax_headers = {"comment": "x" * 40_000}
        members.append((info, content))
    assert "a header is too large" in refused(write_tar(tmp_path / "a.tar.gz", *members))
    unpack(write_tar(tmp_path / "b.tar.gz", members[0]), tmp_path / "into", **BOUNDS)


def test_a_member_of_negative_size_is_not_read_for_ever(tmp_path: Path) -> None:
    info, _ = member(".a")
    info.size = -1024
    first = member("a", b"a" * 512)[0].tobuf() + b"a" * 512
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(first + info.tobuf(tarfile.GNU_FORMAT) + bytes(2048)))
    refused(tmp_path / "a.tar.gz", most_files=1_000_000_000)


def test_a_sparse_file_is_refused(tmp_path: Path) -> None:
    info, content = member("a", b"1\n0\n512\n".ljust(512, b"\0") + bytes(512))
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 50)}
    assert "'a' is no plain file" in refused(write_tar(tmp_path / "a.tar.gz", (info, content)))


def test_only_deflate_unpacks_little_by_little(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a": b"a"}, zipfile.ZIP_BZIP2)
    assert "its member 'a' is packed otherwise than by deflate" in refused(archive)


def test_a_zip_with_a_password_is_told(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"a": b"a"})
    content = bytearray(archive.read_bytes())
    for begin, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(begin) + flags] |= 1
    archive.write_bytes(content)
    assert "at its member 'a'" in refused(archive)
    assert "password" in refused(archive)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><p>Not found", "it begins with b'<!'"),
        (gzip.compress(b""), "damaged or not whole"),
        (gzip.compress(b"no tar " * 100), "damaged or not whole"),
        (gzip.compress(bytes(10_240)), "holds no file"),
        (b"PK\x03\x04 and no more", "damaged or not whole"),
    ],
    ids=[  # made of the contents, they would be others at each second: gzip writes the time
        "nothing",
        "a web page",
        "gzip of nothing",
        "gzip of text",
        "an empty tar",
        "the start of a zip",
    ],
)
def test_what_is_no_archive_is_told(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "a.tar.gz").write_bytes(content)
    assert why in refused(tmp_path / "a.tar.gz")


def test_an_archive_of_hidden_files_and_folders_holds_no_file(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar.gz", member(".a", b"a"), member("b", kind=tarfile.DIRTYPE))
    assert "holds no file" in refused(archive)


def test_a_missing_archive_is_the_systems_to_tell(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a\.zip"):
        unpack(tmp_path / "a.zip", tmp_path / "into", **BOUNDS)


def test_a_tar_cut_between_two_members_is_not_whole(tmp_path: Path) -> None:
    """Python's tarfile takes it for a whole one."""
    whole = gzip.decompress(tar_of(tmp_path / "a.tar.gz", FILES).read_bytes())
    for garbage in (b"", b"garbage".ljust(2048, b"g")):
        (tmp_path / "a.tar.gz").write_bytes(gzip.compress(whole[: 512 + 1536] + garbage))
        assert "its end is missing" in refused(tmp_path / "a.tar.gz")


@WRITERS
@given(data=st.data())
def test_a_truncated_archive_is_never_unpacked(write: Writer, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = write(Path(folder) / "archive", FILES)
        content = archive.read_bytes()
        archive.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
        refused(archive)


@WRITERS
@given(data=st.data())
def test_a_damaged_archive_is_unpacked_or_told_but_nothing_lies_outside(write: Writer, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archive = write(folder / "archive", FILES)
        content = bytearray(archive.read_bytes())
        if write is tar_of:
            content = bytearray(gzip.decompress(content))
        places = st.one_of(st.integers(0, len(content) - 1), st.integers(0, 511), st.integers(2048, 2559))
        for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=8)):
            content[place % len(content)] = value
        if data.draw(st.booleans()) and write is tar_of:  # with sums that fit, as who means harm would write
            for start in (0, 2048):
                content[start + 148 : start + 156] = b" " * 8
                content[start + 148 : start + 156] = b"%06o\0 " % sum(content[start : start + 512])
        archive.write_bytes(gzip.compress(content) if write is tar_of else content)
        before = archive.read_bytes()
        try:
            unpack(archive, folder / "into", **BOUNDS)
        except PipelineError:
            assert [path.name for path in folder.iterdir()] == ["archive"]
        else:
            assert sorted(path.name for path in folder.iterdir()) == ["archive", "into"]
            assert all(path.is_file() or path.is_dir() for path in folder.rglob("*"))
            assert not any(path.is_symlink() for path in folder.rglob("*"))
        assert archive.read_bytes() == before


@given(name=st.text(st.sampled_from("./\\:aC~ \0\n…"), min_size=1, max_size=12), folder=st.booleans())
def test_any_name_stays_inside_or_is_refused(name: str, folder: bool) -> None:
    with tempfile.TemporaryDirectory() as parent:
        top = Path(parent) / "top"
        top.mkdir()
        kind = tarfile.DIRTYPE if folder else tarfile.REGTYPE
        archive = write_tar(top / "archive", member("first", b"1"), member(name, kind=kind))
        try:
            unpack(archive, top / "into", **BOUNDS)
        except PipelineError:
            assert [path.name for path in top.iterdir()] == ["archive"]
        else:
            assert sorted(path.name for path in top.iterdir()) == ["archive", "into"]
        assert [path.name for path in Path(parent).iterdir()] == ["top"]
