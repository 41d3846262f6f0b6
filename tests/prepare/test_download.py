"""Downloads from a local server, and unpacking archives."""

from __future__ import annotations

import contextlib
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import PipelineError
from pipeline.prepare.download import download, unpack
from tests.servers import find_free_port

CONTENT = bytes(index % 251 for index in range(200_000))
FILES = {"images/a.jpg": b"\xff\xd8" * 700, "images/deep/b.jpg": bytes(512), "README": b"read me"}


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@dataclass
class Page:
    """Response of the server to one path."""

    content: bytes = CONTENT
    max_bytes: int | None = None  # the connection is closed after these
    has_length: bool = True
    hangs: bool = False  # instead of closing the connection
    redirect: str = ""
    status: int = 200


@dataclass
class Site:
    url: str
    pages: dict[str, Page] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    end: threading.Event = field(default_factory=threading.Event)

    def add(self, path: str = "a", page: Page | None = None) -> str:
        self.pages[f"/{path}"] = page or Page()
        return f"{self.url}/{path}"


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        self.site.requests.append(self.path)
        page = self.site.pages.get(self.path, Page(status=404))
        if page.status != 200:
            self.send_error(page.status)
            return
        self.send_response(302 if page.redirect else 200)
        if page.redirect:
            self.send_header("Location", page.redirect)
        if page.has_length:
            self.send_header("Content-Length", str(0 if page.redirect else len(page.content)))
        self.end_headers()
        if not page.redirect:
            self.wfile.write(page.content[: page.max_bytes])
        if page.hangs:
            self.site.end.wait(30)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serve() -> Iterator[Site]:
    handler = type("SiteHandler", (Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        handler.site = site = Site(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            site.end.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    with serve() as site:
        yield site


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "new" / "images.tar.gz"


def get_error(target: Path, *urls: str) -> str:
    """Return the error of a download, which leaves no file."""
    with pytest.raises(PipelineError) as error:
        download(urls, target, md5(CONTENT), timeout=5)
    assert not list(target.parent.glob("*"))
    return str(error.value)


@pytest.mark.parametrize("has_length", [True, False])
def test_repeated_download_sends_one_request(site: Site, target: Path, has_length: bool) -> None:
    url = site.add("a", Page(has_length=has_length))
    for _ in range(2):
        download([url], target, md5(CONTENT))
        assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert site.requests == ["/a"]


def test_download_keeps_an_existing_file_with_another_md5(site: Site, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"other")
    with pytest.raises(PipelineError, match=f"has the MD5 {md5(b'other')} instead of {md5(CONTENT)}, so"):
        download([site.add()], target, md5(CONTENT))
    assert (target.read_bytes(), site.requests) == (b"other", [])


BROKEN = {
    "status": Page(status=503),
    "other file": Page(b"Please log in"),
    "cut": Page(max_bytes=70_000),
    "cut without a length": Page(max_bytes=70_000, has_length=False),
    "redirected to a file": Page(redirect="file:///etc/hostname"),
    "redirected to ftp": Page(redirect="ftp://127.0.0.1/a"),
}


@pytest.mark.parametrize("page", BROKEN.values(), ids=BROKEN.keys())
def test_download_from_a_broken_server_continues_with_the_mirror(site: Site, target: Path, page: Page) -> None:
    bad = site.add("bad", page)
    assert f"\n{bad}: " in get_error(target, bad)
    download([bad, site.add("good")], target, md5(CONTENT))
    assert target.read_bytes() == CONTENT
    assert site.requests == ["/bad", "/bad", "/good"]


def test_download_failure_names_all_urls(site: Site, target: Path) -> None:
    closed = f"http://127.0.0.1:{find_free_port()}/a"
    error = get_error(target, closed, site.add("a", Page(status=503)), f"{site.url}/missing")
    assert error.startswith(f"{target} could not be downloaded.\n{closed}: ")
    assert "503" in error
    assert "404" in error


@pytest.mark.parametrize("max_bytes", [0, 70_000])
def test_download_from_a_silent_server_times_out(site: Site, target: Path, max_bytes: int) -> None:
    with pytest.raises(PipelineError, match="timed out"):
        download([site.add("a", Page(max_bytes=max_bytes, hangs=True))], target, md5(CONTENT), timeout=0.2)


def test_download_follows_a_redirect(site: Site, target: Path) -> None:
    download([site.add("a", Page(redirect=site.add("b")))], target, md5(CONTENT))
    assert target.read_bytes() == CONTENT


def write_tar(path: Path, *members: tuple[str, bytes, bytes]) -> Path:
    """Write an archive of members with name, content and type."""
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name, content, kind in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(content), "/etc/hostname"
            archive.addfile(info, io.BytesIO(content))
    return path


def write_files(path: Path, files: dict[str, bytes]) -> Path:
    return write_tar(path, *((name, content, tarfile.REGTYPE) for name, content in files.items()))


def read_all(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def get_unpack_error(archive: Path, max_bytes: int = 10_000, max_files: int = 20) -> str:
    """Return the error of an archive; nothing may be written anywhere."""
    before = read_all(archive.parent)
    with pytest.raises(PipelineError) as error:
        unpack(archive, archive.parent / "into", max_bytes=max_bytes, max_files=max_files)
    assert read_all(archive.parent) == before
    assert not (archive.parent / "into").exists()
    return str(error.value)


def test_unpack_skips_hidden_files_and_replaces_the_folder(tmp_path: Path) -> None:
    (tmp_path / "into").mkdir()
    (tmp_path / "into" / "old").touch()
    hidden = {"images/._a.jpg": b"m", "._images": b"m", ".git/config": b"g"}
    unpack(write_files(tmp_path / "a.tar.gz", FILES | hidden), tmp_path / "into", max_bytes=10_000, max_files=20)
    assert read_all(tmp_path / "into") == FILES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "into"]


@pytest.mark.parametrize("name", ["../evil", "images/../../evil", "a/../../into/../evil"])
def test_unpack_member_outside_the_folder_is_an_error(tmp_path: Path, name: str) -> None:
    assert "outside" in get_unpack_error(write_files(tmp_path / "a.tar.gz", {**FILES, name: b"evil"}))


def test_unpack_absolute_name_stays_in_the_folder(tmp_path: Path) -> None:
    archive = write_files(tmp_path / "a.tar.gz", {f"{tmp_path}/evil": b"evil"})
    unpack(archive, tmp_path / "into", max_bytes=10, max_files=2)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_unpack_of_links_and_devices_is_an_error(tmp_path: Path, kind: bytes) -> None:
    archive = write_tar(tmp_path / "a.tar.gz", ("images", b"", kind), ("images/a.jpg", b"a", tarfile.REGTYPE))
    assert "images is neither a file nor a folder" in get_unpack_error(archive)


def test_unpack_limits_bytes_and_files(tmp_path: Path) -> None:
    archive = write_files(tmp_path / "a.tar.gz", FILES)
    size = sum(map(len, FILES.values()))
    assert f"{size - 1:,} bytes" in get_unpack_error(archive, max_bytes=size - 1)
    assert "more than 2 files" in get_unpack_error(archive, max_files=2)
    unpack(archive, tmp_path / "into", max_bytes=size, max_files=3)


def test_unpack_counts_a_sparse_file_with_its_full_size(tmp_path: Path) -> None:
    info = tarfile.TarInfo("images/a.jpg")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1000000000000"}
    info.size = 512
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(b"1\n0\n0\n".ljust(512, b"\0")))
    assert "bytes" in get_unpack_error(tmp_path / "a.tar.gz")


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x05\x06" + bytes(18)])
def test_unpack_of_an_invalid_archive_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar.gz").write_bytes(content)
    assert get_unpack_error(tmp_path / "a.tar.gz").startswith(f"{tmp_path / 'a.tar.gz'} cannot be unpacked: ")


@given(st.data())
def test_unpack_damaged_archive_writes_nothing_outside(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    archive = write_files(folder / "a.tar.gz", FILES)
    content = bytearray(archive.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    archive.write_bytes(content[: data.draw(st.integers(position, len(content)))])
    with contextlib.suppress(PipelineError):
        unpack(archive, folder / "into", max_bytes=10_000, max_files=20)
    assert {path.name for path in folder.iterdir()} <= {"a.tar.gz", "into"}
