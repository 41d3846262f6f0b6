"""Hostile TIFFs: small files that declare large images, or never end."""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Callable, Sequence

BYTE, SHORT, LONG = 1, 3, 4
Tag = tuple[int, int, int, int]  # number, type, count, value or its place


def written(pages: Sequence[Sequence[Tag]], tail: bytes = b"", circle: bool = False) -> bytes:
    """A TIFF of these directories, and behind them its `tail`; in a circle the last one is followed by the first."""
    content, place = struct.pack("<2sHI", b"II", 42, 8), 8
    for number, tags in enumerate(pages):
        place += 2 + 12 * len(tags) + 4
        last = number == len(pages) - 1
        following = (8 if circle else 0) if last else place
        entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
        content += struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)
    return content + tail


def start(tags: int) -> int:
    """Where the tail of a TIFF of one page lies."""
    return 8 + 2 + 12 * tags + 4


def image_tags(width: int, height: int, offset: int, size: int, samples: int = 5, compression: int = 1) -> list[Tag]:
    """Tags of an image in one strip."""
    return [
        (256, LONG, 1, width),
        (257, LONG, 1, height),
        (258, SHORT, 1, 8),
        (259, SHORT, 1, compression),
        (262, SHORT, 1, 1),
        (273, LONG, 1, offset),
        (277, SHORT, 1, samples),
        (278, LONG, 1, height),
        (279, LONG, 1, size),
    ]


@functools.cache
def _bomb() -> bytes:
    deflated = zlib.compress(bytes(80_000_000), 1)
    return written([image_tags(16, 16, start(9), len(deflated), compression=8)], deflated)


def _tiles(side: int) -> bytes:
    tags = [tag for tag in image_tags(16, 16, start(11), 1_000) if tag[0] not in (273, 278, 279)]
    tags += [(322, LONG, 1, side), (323, LONG, 1, side), (324, LONG, 1, start(11)), (325, LONG, 1, 1_000)]
    return written([tags], bytes(2_000))


def _everywhere(number: Callable[[int], int], size: int = 400_000) -> bytes:
    """Thousands of tags, each of which is the whole rest of the file."""
    tags = [(number(place), LONG, size // 4, start(3_000)) for place in range(2_991)]
    return written([image_tags(16, 16, start(3_000), 16 * 16 * 5) + tags], bytes(size))


def _torn(place: int, size: int) -> bytes:
    """Two strips, of which the second has another place and size than the one that it should have."""
    tail = start(9)
    tags = image_tags(16, 16, 0, 0)
    tags[5], tags[7], tags[8] = (273, LONG, 2, tail), (278, LONG, 1, 8), (279, LONG, 2, tail + 8)
    return written([tags], struct.pack("<4I", tail + 16, place, 8 * 16 * 5, size) + bytes(2_000))


def _strips(count: int, size: int) -> bytes:
    """Strips of a row, each of which is the whole file."""
    tail = start(9)
    offsets, sizes = struct.pack("<I", tail) * count, struct.pack("<I", size) * count
    tags = image_tags(4, count, tail, 0)
    tags[5], tags[7], tags[8] = (273, LONG, count, tail), (278, LONG, 1, 1), (279, LONG, count, tail + len(offsets))
    return written([tags], offsets + sizes + bytes(size))


HOSTILE: dict[str, Callable[[], bytes]] = {
    "huge": lambda: written([image_tags(100_000, 100_000, start(9), 1_000)], bytes(1_000)),
    "huge, deflated": lambda: written([image_tags(100_000, 100_000, start(9), 1_000, compression=8)], bytes(1_000)),
    "huge pages": lambda: written([image_tags(10_000, 10_000, 5_000, 9, 1, compression=8)] * 5, bytes(10_000)),
    "no size": lambda: written([image_tags(0, 0, start(9), 1_000)], bytes(1_000)),
    "many samples": lambda: written([image_tags(16, 16, start(9), 1_000, samples=65_535)], bytes(1_000)),
    "a strip beyond the end": lambda: written([image_tags(16, 16, 1_000_000, 16 * 16 * 5)]),
    "a strip without an end": lambda: written([image_tags(16, 16, start(9), 0xFFFF_FFFF, compression=8)], bytes(1_000)),
    "deflated bomb": _bomb,
    "huge tiles": lambda: _tiles(60_000),
    "no tiles": lambda: _tiles(0),
    "a strip nowhere": lambda: _torn(0, 640),
    "a strip of nothing": lambda: _torn(1_000, 0),
    "tags of the whole file": lambda: _everywhere(lambda place: 40_000 + place),
    "descriptions of the whole file": lambda: _everywhere(lambda place: 270),
    "one tag again and again": lambda: _everywhere(lambda place: 273),
    "strips of the whole file": lambda: _strips(10_000, 1_000_000),
    "a circle of pages": lambda: written([image_tags(16, 16, 8, 100)] * 3, circle=True),
    "pages without end": lambda: written([[(256, LONG, 1, 16)]] * 20_000),
    "tags without end": lambda: written([image_tags(16, 16, 8, 100) + [(40_000, LONG, 1, 0)] * 20_000]),
    "a page beyond the end": lambda: struct.pack("<2sHI", b"II", 42, 0xFFFF_FFF0),
    "a page beyond any end": lambda: struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0xFFFF_FFFF_FFFF_FFF0),
    "a directory cut off": lambda: written([image_tags(16, 16, 8, 100)])[:40],
    "no page": lambda: struct.pack("<2sHI", b"II", 42, 0),
}
