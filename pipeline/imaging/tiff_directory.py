"""A TIFF's directories, looked at before any decoder looks: what they claim costs time and memory, pixels or not.

A directory lists a page's tags: what each is, of which type, how many values it has and where they are. This file
travels with served models, beside the readers of pictures.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator

from .errors import PictureError

PAGES = 64  # in a file: channels, and smaller copies of them
_TAGS = 4_096  # of a page
_VALUES = 1 << 20  # of all known tags together; a strip has two
_HIDDEN = 65_535  # a tag that nobody uses

# What says where the pixels are and what they mean: NewSubfileType, ImageWidth, ImageLength, BitsPerSample,
# Compression, PhotometricInterpretation, FillOrder, StripOffsets, Orientation, SamplesPerPixel, RowsPerStrip,
# StripByteCounts, PlanarConfiguration, Predictor, TileWidth, TileLength, TileOffsets, TileByteCounts, ExtraSamples,
# SampleFormat, ImageDepth, TileDepth.
_KNOWN = frozenset(
    (254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 317, 322, 323, 324, 325, 338, 339, 32997, 32998)
)


def check(content: bytes) -> None:
    """Raise `PictureError` where there are so many pages or tags that they can only be meant to take time."""
    with contextlib.suppress(struct.error, OverflowError):  # cut off: whoever decodes it will say so
        for _ in _places(content):
            pass


def with_known_tags_only(content: bytes) -> bytearray:
    """A copy of the file in which all tags but those of the pixels are hidden.

    The makers of microscopes have tags of their own, which tifffile reads, some of them without end.

    Raises:
        PictureError: There are too many pages, tags or values.
        struct.error, OverflowError: The directories are cut off.
    """
    order, pointer = _order_and_pointer(content)
    entry = struct.Struct(f"{order}HH{pointer}")
    copy = bytearray(content)
    values = 0
    for at in _places(content):
        tag, _, count = entry.unpack_from(content, at)
        if tag in _KNOWN:
            values += count
        else:
            entry.pack_into(copy, at, _HIDDEN, 1, 0)
    if values > _VALUES:
        raise PictureError(f"has more than {_VALUES:,} values in its tags")
    return copy


def _places(content: bytes) -> Iterator[int]:
    """The places in the file of all tags of all pages."""
    order, pointer = _order_and_pointer(content)
    number, size, start = ("Q", 20, 8) if pointer == "Q" else ("H", 12, 4)
    (place,) = struct.unpack_from(order + pointer, content, start)
    pages = 0
    while place:
        (tags,) = struct.unpack_from(order + number, content, place)
        pages += 1
        if pages > PAGES:  # or some of them again and again, in a circle
            raise PictureError(f"holds more than {PAGES} pictures; save one a file")
        if tags > _TAGS:
            raise PictureError(f"has more than {_TAGS:,} tags")
        first = place + struct.calcsize(order + number)
        yield from range(first, first + tags * size, size)
        (place,) = struct.unpack_from(order + pointer, content, first + tags * size)


def _order_and_pointer(content: bytes) -> tuple[str, str]:
    """The byte order and the type of a place in the file, as `struct` spells them; + stands for BigTIFF's 64 bits."""
    return ">" if content.startswith(b"MM") else "<", "Q" if b"+" in content[2:4] else "I"
