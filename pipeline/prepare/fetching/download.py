"""Downloading a file that others publish: goes on where it broke off, and ends with the file that is meant or none."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from pipeline.atomic_io import naming
from pipeline.errors import PipelineError

_CHUNK = 65_536  # bytes read at once


class _FailedError(Exception):
    """An address did not give the file; the text says why, in words that follow the address."""


def download(
    addresses: Sequence[str], target: Path, md5: str, *, console: Console | None = None, timeout: float = 30
) -> None:
    """Download a file, unless it is there already; what is half there, as <name>.part, is gone on with.

    Args:
        addresses: of the same file, http or https; the next one is asked where one fails.
        target: the file to write.
        md5: of the whole file, hexadecimal.
        console: for the bar; None: stderr.
        timeout: seconds without a byte after which an address has failed.

    Raises:
        PipelineError: An address is of another kind, what lies at `target` is another file, or no address gave the
            file. What came of it stays for the next time, unless it is not what was expected.
    """
    for address in addresses:
        if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
            raise PipelineError(f"{address} is no address to download from; it must begin with https:// or http://.")
    if target.exists():
        if (found := _md5(target)) != md5:
            raise PipelineError(
                f"{target} has the MD5 {found}, but {md5} is expected: it is another file, or not whole. Remove it and "
                f"run the same command again."
            )
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    console = console or Console(stderr=True)
    failures = []
    for address in addresses:
        try:
            _fetch(address, part, md5, console, timeout)
        except _FailedError as error:
            failures.append(f"{address} {error}")
        else:
            part.replace(target)
            return
    remedy = "Run the same command again, or get the file in another way and put it there."
    if there := _size(part):
        remedy = f"{part} holds the first {there:,} bytes: the same command goes on from there."
    raise PipelineError("\n".join([f"{target} could not be downloaded.", *failures, remedy]))


def _md5(path: Path) -> str:
    """The MD5 of a file's content, hexadecimal: enough to tell damage, and what publishers tell."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _fetch(address: str, part: Path, md5: str, console: Console, timeout: float) -> None:
    """Make `part` the whole file, or raise `_FailedError`."""
    while True:
        kept = _transfer(address, part, console, timeout)
        if (found := _md5(part)) == md5:
            return
        part.unlink()
        if not kept:
            raise _FailedError(f"gave a file with the MD5 {found}, but {md5} is expected")
        # What was there already was of another file, or of an older one: now from the beginning.


def _transfer(address: str, part: Path, console: Console, timeout: float) -> int:
    """Load what is missing in `part`, and say how many of its bytes were kept."""
    there = _size(part)
    try:
        response = _opened(address, there, timeout)
    except urllib.error.HTTPError as error:
        with error:
            if there and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return there  # nothing is behind it: it is whole, or of another file
            raise _FailedError(f"answers {error.code} ({error.reason})") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _FailedError(f"cannot be reached ({_words(error)})") from None
    with response:
        kept = _kept(response, there)
        left = response.length  # bytes; None where the server does not say
        console.print(f"{part.stem}: from {address}", markup=False, highlight=False, soft_wrap=True)
        loaded = 0
        with naming(part), part.open("ab" if kept else "wb") as file, _bars(console) as bars:
            task = bars.add_task("", total=None if left is None else kept + left, completed=kept)
            while chunk := _read(response):
                file.write(chunk)
                loaded += len(chunk)
                bars.advance(task, len(chunk))
            file.flush()
            os.fsync(file.fileno())
    if left is not None and loaded < left:
        raise _FailedError(f"broke off after {kept + loaded:,} of {kept + left:,} bytes")
    return kept


def _bars(console: Console) -> Progress:
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(compact=True))
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _opened(address: str, there: int, timeout: float) -> http.client.HTTPResponse:
    request = urllib.request.Request(address, headers={"User-Agent": "unet-learning-report"})
    if there:
        # Without a condition on the file's version: mirrors name theirs differently, and the MD5 tells in the end.
        request.add_header("Range", f"bytes={there}-")
    response = _opener().open(request, timeout=timeout)
    assert isinstance(response, http.client.HTTPResponse)
    return response


def _opener() -> urllib.request.OpenerDirector:
    """One that nothing leads to files or to other protocols, as a redirection to ftp:// would."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def _kept(response: http.client.HTTPResponse, there: int) -> int:
    """How many bytes of those that are there the answer goes on from."""
    if response.status == HTTPStatus.OK:
        return 0  # a server that knows no ranges, or nothing was there
    begin = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if response.status == HTTPStatus.PARTIAL_CONTENT and begin and int(begin[1]) == there:
        return there
    raise _FailedError(f"answers {response.status} with another part of the file than the one asked for")


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(_CHUNK)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _FailedError(f"broke off ({_words(error)})") from None


def _words(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(reason) or type(reason).__name__
