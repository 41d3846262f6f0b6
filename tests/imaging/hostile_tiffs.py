"""Hostile TIFFs: small files that declare large images, or contain cycles."""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Callable, Sequence

BYTE, SHORT, LONG = 1, 3, 4
Tag = tuple[int, int, int, int]  # number, type, count, value or its offset


def write_tiff(pages: Sequence[Sequence[Tag]], tail: bytes = b"", is_cyclic: bool = False) -> bytes:
    """Encode a TIFF of directories, followed by `tail`; if cyclic, the last directory links to the first."""
    content, end = struct.pack("<2sHI", b"II", 42, 8), 8
    for number, tags in enumerate(pages):
        end += 2 + 12 * len(tags) + 4
        last = number == len(pages) - 1
        next_offset = (8 if is_cyclic else 0) if last else end
        entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
        content += struct.pack("<H", len(tags)) + entries + struct.pack("<I", next_offset)
    return content + tail


def get_tail_offset(tags: int) -> int:
    """Return the offset of the tail in a TIFF of one page with this number of tags."""
    return 8 + 2 + 12 * tags + 4


def make_image_tags(
    width: int, height: int, offset: int, size: int, samples: int = 5, compression: int = 1
) -> list[Tag]:
    """Make the tags of an image in one strip."""
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
def _make_deflate_bomb() -> bytes:
    deflated = zlib.compress(bytes(80_000_000), 1)
    return write_tiff([make_image_tags(16, 16, get_tail_offset(9), len(deflated), compression=8)], deflated)


def _make_tiles(side: int) -> bytes:
    tags = [tag for tag in make_image_tags(16, 16, get_tail_offset(11), 1_000) if tag[0] not in (273, 278, 279)]
    tags += [(322, LONG, 1, side), (323, LONG, 1, side), (324, LONG, 1, get_tail_offset(11)), (325, LONG, 1, 1_000)]
    return write_tiff([tags], bytes(2_000))


def _make_overlapping_tags(number: Callable[[int], int], size: int = 400_000) -> bytes:
    """Make thousands of tags whose values all span the rest of the file."""
    tags = [(number(index), LONG, size // 4, get_tail_offset(3_000)) for index in range(2_991)]
    return write_tiff([make_image_tags(16, 16, get_tail_offset(3_000), 16 * 16 * 5) + tags], bytes(size))


def _make_invalid_strip(offset: int, size: int) -> bytes:
    """Make two strips, the second with a wrong offset and size."""
    tail = get_tail_offset(9)
    tags = make_image_tags(16, 16, 0, 0)
    tags[5], tags[7], tags[8] = (273, LONG, 2, tail), (278, LONG, 1, 8), (279, LONG, 2, tail + 8)
    return write_tiff([tags], struct.pack("<4I", tail + 16, offset, 8 * 16 * 5, size) + bytes(2_000))


def _make_overlapping_strips(count: int, size: int) -> bytes:
    """Make one-row strips that all span the whole file."""
    tail = get_tail_offset(9)
    offsets, sizes = struct.pack("<I", tail) * count, struct.pack("<I", size) * count
    tags = make_image_tags(4, count, tail, 0)
    tags[5], tags[7], tags[8] = (273, LONG, count, tail), (278, LONG, 1, 1), (279, LONG, count, tail + len(offsets))
    return write_tiff([tags], offsets + sizes + bytes(size))


HOSTILE: dict[str, Callable[[], bytes]] = {
    "huge": lambda: write_tiff([make_image_tags(100_000, 100_000, get_tail_offset(9), 1_000)], bytes(1_000)),
    "huge, deflated": lambda: write_tiff(
        [make_image_tags(100_000, 100_000, get_tail_offset(9), 1_000, compression=8)], bytes(1_000)
    ),
    "huge pages": lambda: write_tiff([make_image_tags(10_000, 10_000, 5_000, 9, 1, compression=8)] * 5, bytes(10_000)),
    "no size": lambda: write_tiff([make_image_tags(0, 0, get_tail_offset(9), 1_000)], bytes(1_000)),
    "many samples": lambda: write_tiff(
        [make_image_tags(16, 16, get_tail_offset(9), 1_000, samples=65_535)], bytes(1_000)
    ),
    "a strip beyond the end": lambda: write_tiff([make_image_tags(16, 16, 1_000_000, 16 * 16 * 5)]),
    "a strip without an end": lambda: write_tiff(
        [make_image_tags(16, 16, get_tail_offset(9), 0xFFFF_FFFF, compression=8)], bytes(1_000)
    ),
    "deflated bomb": _make_deflate_bomb,
    "huge tiles": lambda: _make_tiles(60_000),
    "no tiles": lambda: _make_tiles(0),
    "a strip nowhere": lambda: _make_invalid_strip(0, 640),
    "a strip of nothing": lambda: _make_invalid_strip(1_000, 0),
    "tags of the whole file": lambda: _make_overlapping_tags(lambda index: 40_000 + index),
    "descriptions of the whole file": lambda: _make_overlapping_tags(lambda index: 270),
    "one tag again and again": lambda: _make_overlapping_tags(lambda index: 273),
    "strips of the whole file": lambda: _make_overlapping_strips(10_000, 1_000_000),
    "a circle of pages": lambda: write_tiff([make_image_tags(16, 16, 8, 100)] * 3, is_cyclic=True),
    "pages without end": lambda: write_tiff([[(256, LONG, 1, 16)]] * 20_000),
    "tags without end": lambda: write_tiff([make_image_tags(16, 16, 8, 100) + [(40_000, LONG, 1, 0)] * 20_000]),
    "a page beyond the end": lambda: struct.pack("<2sHI", b"II", 42, 0xFFFF_FFF0),
    "a page beyond any end": lambda: struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0xFFFF_FFFF_FFFF_FFF0),
    "a directory cut off": lambda: write_tiff([make_image_tags(16, 16, 8, 100)])[:40],
    "no page": lambda: struct.pack("<2sHI", b"II", 42, 0),
}
