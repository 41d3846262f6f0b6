"""Downloads from a real server on this machine: whole in the end, whatever happens between."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import re
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline.errors import PipelineError
from pipeline.prepare.fetching.download import download
from tests.servers import free_port

CONTENT = bytes(index % 251 for index in range(200_000))


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@dataclass
class Page:
    """What the server answers at an address, and how badly."""

    content: bytes = CONTENT
    ranges: bool = True
    shift: int = 0  # bytes by which it answers a range wrongly
    most: int | None = None  # bytes of an answer after which the connection is cut
    length: bool = True  # whether the answer says how long it is
    chunked: bool = False
    hangs: bool = False  # says nothing more after `most` bytes, instead of cutting the connection
    to: str = ""  # redirects there
    status: int = 0  # an error, instead of an answer


@dataclass
class Site:
    address: str
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # path and range
    end: threading.Event = field(default_factory=threading.Event)

    def add(self, path: str = "a", page: Page | None = None) -> str:
        self.pages[f"/{path}"] = page or Page()
        return f"{self.address}/{path}"


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        asked = self.headers["Range"]
        self.site.asked.append((self.path, asked))
        page = self.site.pages.get(self.path, Page(status=404))
        content, begin = page.content, 0
        if page.status:
            self.send_error(page.status)
            return
        if page.to:
            self.send_response(302)
            self.send_header("Location", page.to)
            self.end_headers()
            return
        if asked and page.ranges:
            begin = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) + page.shift
            if begin >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if page.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif page.length:
            self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        answer = content[begin:][: page.most]
        if page.chunked:
            ends = b"0\r\n\r\n" if page.most is None else b""
            answer = b"%x\r\n%s\r\n%s" % (len(answer), answer, ends)
        self.wfile.write(answer)
        if page.hangs:
            self.site.end.wait(30)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving() -> Iterator[Site]:
    """A server for as long as the block runs."""
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
    with serving() as found:
        yield found


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")


def get(target: Path, *addresses: str, content: bytes = CONTENT) -> None:
    download(addresses, target, md5(content), console=Console(file=io.StringIO()), timeout=10)


def failed(target: Path, *addresses: str, content: bytes = CONTENT) -> str:
    with pytest.raises(PipelineError) as error:
        get(target, *addresses, content=content)
    return str(error.value)


def part(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "new" / "images.tar.gz"


def with_part(target: Path, content: bytes) -> None:
    target.parent.mkdir()
    part(target).write_bytes(content)


def assert_whole(target: Path) -> None:
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize("page", [Page(), Page(length=False), Page(chunked=True)])
def test_a_file_is_downloaded_once(site: Site, target: Path, page: Page) -> None:
    address = site.add("a", page)
    for _ in range(2):
        get(target, address)
        assert_whole(target)
    assert site.asked == [("/a", None)]


def test_another_file_at_the_target_is_left_alone_and_told(site: Site, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"other")
    said = failed(target, site.add())
    assert said.startswith(f"{target} has the MD5 {md5(b'other')}, but {md5(CONTENT)} is expected")
    assert "Remove it" in said
    assert (target.read_bytes(), site.asked) == (b"other", [])


@pytest.mark.parametrize("page", [Page(most=70_000), Page(most=70_000, chunked=True)])
def test_what_broke_off_goes_on_with_the_same_command(site: Site, target: Path, page: Page) -> None:
    address = site.add("a", page)
    said = failed(target, address)
    assert said.splitlines()[0] == f"{target} could not be downloaded."
    assert f"{address} broke off" in said
    there = part(target).stat().st_size
    assert f"{part(target)} holds the first {there:,} bytes: the same command goes on from there." in said
    assert part(target).read_bytes() == CONTENT[:there] != b""
    assert not target.exists()
    page.most = None
    get(target, address)
    assert_whole(target)
    assert site.asked == [("/a", None), ("/a", f"bytes={there}-")]


def test_an_answer_that_is_cut_says_how_far_it_came(site: Site, target: Path) -> None:
    assert "broke off after 70,000 of 200,000 bytes" in failed(target, site.add("a", Page(most=70_000)))
    assert "broke off after 140,000 of 200,000 bytes" in failed(target, site.add("a", Page(most=70_000)))


def test_a_mirror_goes_on_where_the_first_address_broke_off(site: Site, target: Path) -> None:
    get(target, site.add("a", Page(most=70_000)), site.add("b"))
    assert_whole(target)
    assert site.asked == [("/a", None), ("/b", "bytes=70000-")]


def test_a_server_that_ignores_ranges_gives_the_whole_file(site: Site, target: Path) -> None:
    with_part(target, CONTENT[:500])
    get(target, site.add("a", Page(ranges=False)))
    assert_whole(target)
    assert site.asked == [("/a", "bytes=500-")]


def test_a_part_that_is_whole_already_is_taken(site: Site, target: Path) -> None:
    with_part(target, CONTENT)
    get(target, site.add())
    assert_whole(target)
    assert site.asked == [("/a", f"bytes={len(CONTENT)}-")]


@pytest.mark.parametrize(
    "other", [b"\n" * 500, b"\n" * len(CONTENT), b"\n" * 300_000], ids=["shorter", "as long", "longer"]
)
def test_a_part_of_another_file_is_begun_anew(site: Site, target: Path, other: bytes) -> None:
    """The file behind an address was replaced since, or the part was never of this file."""
    with_part(target, other)
    get(target, site.add())
    assert_whole(target)
    assert site.asked == [("/a", f"bytes={len(other)}-"), ("/a", None)]


def test_an_answer_with_another_range_spoils_nothing(site: Site, target: Path) -> None:
    with_part(target, CONTENT[:500])
    assert "answers 206 with another part" in failed(target, site.add("a", Page(shift=7)))
    assert part(target).read_bytes() == CONTENT[:500]


def test_another_file_is_removed_and_told(site: Site, target: Path) -> None:
    address = site.add("a", Page(b"Please log in"))
    said = failed(target, address)
    assert f"{address} gave a file with the MD5 {md5(b'Please log in')}, but {md5(CONTENT)} is expected" in said
    assert "Run the same command again, or get the file in another way" in said
    assert list(target.parent.iterdir()) == []


def test_a_mirror_is_asked_where_an_address_gives_another_file(site: Site, target: Path) -> None:
    get(target, site.add("a", Page(b"Please log in")), site.add("b"))
    assert_whole(target)
    assert site.asked == [("/a", None), ("/b", None)]


def test_a_mirror_is_asked_where_an_address_fails(site: Site, target: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}/a"
    get(target, nobody, site.add("a", Page(status=503)), f"{site.address}/missing", site.add("b"))
    assert_whole(target)


def test_all_that_failed_is_named(site: Site, target: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}/a"
    said = failed(target, nobody, site.add("a", Page(status=503)), f"{site.address}/missing")
    assert f"{nobody} cannot be reached ([Errno {errno.ECONNREFUSED}] Connection refused)" in said
    assert f"{site.address}/a answers 503 (Service Unavailable)" in said
    assert f"{site.address}/missing answers 404 (Not Found)" in said
    assert "goes on from there" not in said


@pytest.mark.parametrize("most", [0, 70_000])
def test_a_server_that_falls_silent_is_given_up(site: Site, target: Path, most: int) -> None:
    address = site.add("a", Page(most=most, hangs=True))
    with pytest.raises(PipelineError, match=r"broke off \(timed out\)"):
        download([address], target, md5(CONTENT), console=Console(file=io.StringIO()), timeout=0.2)


@pytest.mark.parametrize(
    "address", ["file:///etc/hostname", "ftp://127.0.0.1/a", "data:,a", "/etc/hostname", "HTTPX://a"]
)
def test_other_kinds_of_addresses_are_refused(site: Site, target: Path, address: str) -> None:
    assert failed(target, site.add(), address).startswith(f"{address} is no address to download from")
    assert (site.asked, target.parent.exists()) == ([], False)


@pytest.mark.parametrize("to", ["file:///etc/hostname", "ftp://127.0.0.1/a", "data:,a"])
def test_a_redirection_to_other_kinds_of_addresses_is_refused(site: Site, target: Path, to: str) -> None:
    address = site.add("a", Page(to=to))
    assert f"\n{address} " in failed(target, address)
    assert list(target.parent.iterdir()) == []


def test_a_redirection_is_followed_with_the_range(site: Site, target: Path) -> None:
    with_part(target, CONTENT[:500])
    get(target, site.add("a", Page(to=site.add("b"))))
    assert_whole(target)
    assert site.asked == [("/a", "bytes=500-"), ("/b", "bytes=500-")]


def test_a_full_disk_is_not_the_servers_fault(site: Site, target: Path) -> None:
    target.parent.mkdir()
    part(target).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as error:
        get(target, site.add(), site.add("b"))
    assert error.value.errno == errno.ENOSPC
    assert site.asked == [("/a", None)]


def test_a_bar_in_a_terminal_and_a_line_elsewhere(site: Site, tmp_path: Path) -> None:
    said = {}
    for terminal in (True, False):
        screen = io.StringIO()
        console = Console(file=screen, force_terminal=terminal, width=120, color_system=None)
        download([site.add()], tmp_path / f"{terminal}", md5(CONTENT), console=console)
        said[terminal] = screen.getvalue()
    assert said[False] == f"False: from {site.address}/a\n"
    assert "200.0/200.0 kB" in said[True]


@given(
    content=st.binary(min_size=1, max_size=3_000),
    junk=st.one_of(st.none(), st.binary(max_size=4_000), st.integers(0, 3_000)),
    pages=st.lists(st.tuples(st.booleans(), st.integers(0, 3_000), st.booleans()), max_size=3),
)
def test_whatever_lies_there_and_however_servers_fail_the_file_is_whole_in_the_end(
    content: bytes, junk: bytes | int | None, pages: list[tuple[bool, int, bool]]
) -> None:
    with tempfile.TemporaryDirectory() as folder, serving() as site:
        target = Path(folder) / "file"
        if junk is not None:
            part(target).write_bytes(content[:junk] if isinstance(junk, int) else junk)
        bad = [
            site.add(f"{index}", Page(content, ranges=ranges, most=most, length=length))
            for index, (ranges, most, length) in enumerate(pages)
        ]
        get(target, *bad, site.add("good", Page(content)), content=content)
        assert target.read_bytes() == content
        assert [path.name for path in Path(folder).iterdir()] == ["file"]
