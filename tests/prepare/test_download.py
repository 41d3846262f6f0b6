"""Downloads from a local server."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.prepare.download import download
from tests.servers import find_free_port

CONTENT = bytes(index % 251 for index in range(200_000))


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
