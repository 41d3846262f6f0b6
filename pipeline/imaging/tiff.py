"""TIFFs of any number of channels, as microscopes write them: interleaved samples, planes, or a page a channel.

Read by tifffile, bounded: a file that lies about itself costs no more than the largest that is allowed. This file
travels with served models, so it imports nothing of the rest of this package but its neighbours.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .errors import PictureError
from .header_reader import MAX_PAGES, HeaderReader

MOST_CHANNELS = 32  # that data.channels may ask for
_MAX_HEADER_BYTES = 1 << 23  # tifffile makes a Python int of each value: 18 times as much memory for 16-bit values

_ORIENTATION, _PHOTOMETRIC = 274, 262
_SMALLER_OR_MASK = 0b101  # bits of NewSubfileType
_WHITE_IS_ZERO = 0
_PHOTOMETRICS = (None, _WHITE_IS_ZERO, 1, 2, 5)  # black is zero, RGB, inks; not: palettes, YCbCr, sensors
# Those whose decoders stop where the segment should end, so that a small file cannot become a large one.
_COMPRESSIONS = (1, 5, 8, 32946, 32773, 50000)  # none, LZW, Deflate by both its numbers, PackBits, Zstandard


def read_channels(content: bytes, channels: int) -> NDArray[Any]:
    """Decode a TIFF whose samples, planes or pages are the channels of one image, turned upright.

    Args:
        content: of the file.
        channels: how many there must be.

    Returns:
        H x W x channels, uint8 or uint16 as in the file.

    Raises:
        PictureError: The content is no whole TIFF, has another number of channels, or is stored in a way that is not
            read.
    """
    with _pages(content) as (pages, reader):
        found = _channels(pages)
        if found != channels:
            raise PictureError(f"has {_counted(found)}, but {_expected(channels)}")
        if sum(map(_stored_values, pages)) > _most():
            raise PictureError(f"is too large to be decoded (at most {_most():,} values)")
        if sum(sum(page.databytecounts) for page in pages) > len(content):  # to be read again and again
            raise PictureError("is no whole picture (its parts are larger than the file)")
        photometric, orientation = (pages[0].tags.valueof(tag) for tag in (_PHOTOMETRIC, _ORIENTATION))
        reader.remove_limit()
        _, _, height, width, _ = pages[0].shaped
        image = np.empty((height, width, channels), pages[0].dtype)
        for place, page in enumerate(pages):
            planes = page.asarray(squeeze=False, maxworkers=1)[:, 0]  # planes x H x W x samples, one of both 1
            image[..., place : place + channels // len(pages)] = np.moveaxis(planes, 0, -1).reshape(height, width, -1)
        return turn_upright(~image if photometric == _WHITE_IS_ZERO else image, orientation)


def read_labels(content: bytes) -> NDArray[Any] | None:
    """Decode a gray TIFF of one sample per pixel, of any integer or float type, turned upright.

    Returns:
        H x W, of the file's type, gray as it is displayed; None if it is of another kind (a palette, colors,
        several pages, a compression that is not read here), which is for another reader.

    Raises:
        PictureError: The content is not a complete TIFF, or has pixels of a type that is not read.
    """
    with _pages(content) as (pages, reader):
        if len(pages) != 1:
            return None
        page: Any = pages[0]
        planes, depth, _, _, samples = page.shaped
        photometric = page.tags.valueof(_PHOTOMETRIC)
        if (planes, depth, samples) != (1, 1, 1) or photometric not in (None, _WHITE_IS_ZERO, 1):
            return None
        if page.compression not in _COMPRESSIONS:
            return None
        if page.dtype is None or page.dtype.kind not in "buif":
            raise PictureError(f"has pixels of {page.dtype or 'an unknown type'}; save the mask as uint8 or uint16")
        if _stored_values(page) > _most():
            raise PictureError(f"is too large to be decoded (at most {_most():,} values)")
        if sum(page.databytecounts) > len(content):
            raise PictureError("is no whole picture (its parts are larger than the file)")
        orientation = page.tags.valueof(_ORIENTATION)
        reader.remove_limit()
        labels: NDArray[Any] = page.asarray(squeeze=False, maxworkers=1)[0, 0, :, :, 0]
        if photometric == _WHITE_IS_ZERO:
            labels = _inverted(labels, page.bitspersample)
        labels = labels.astype(np.uint8) if labels.dtype == bool else labels
        upright: NDArray[Any] = turn_upright(labels[..., None], orientation)[..., 0]
        return upright


def _inverted(labels: NDArray[Any], bits: int) -> NDArray[Any]:
    """Invert the labels of a TIFF whose white is zero, as viewers do."""
    if labels.dtype.kind == "b":
        return ~labels
    if labels.dtype.kind != "u" or bits > 16:
        raise PictureError(f"has {labels.dtype} pixels with white as zero (MINISWHITE); save it as MINISBLACK")
    highest = np.array((1 << bits) - 1, labels.dtype)
    inverted: NDArray[Any] = highest - labels
    return inverted


def orientation_of(content: bytes) -> int:
    """Read the orientation tag of a TIFF's first page; raises `PictureError` if it cannot be read."""
    with _pages(content) as (pages, _):
        found: int = pages[0].tags.valueof(_ORIENTATION, 1) if pages else 1
        return found


def channels_of(content: bytes) -> int:
    """How many channels a TIFF has; raises `PictureError` where it is not read."""
    with _pages(content) as (pages, _):
        return _channels(pages)


def said_of_channels(content: bytes, channels: int | None) -> str | None:
    """A reason, in words that follow a file's name, not to take a TIFF for grey or RGB: its channels; None: no reason.

    Args:
        content: of the file.
        channels: how many are asked for; None where nobody has thought of that.
    """
    try:
        with _pages(content) as (pages, _):
            found = _channels(pages)
    except PictureError:
        return None
    if found == 1 or (channels is None and found > MOST_CHANNELS):
        return None
    if channels is not None:
        return f"has {found} channels, but {_expected(channels)}"
    if len(pages) > 1:
        return (
            f"holds {found} pictures; save one a file or, where they are the channels of one image, set data.channels: "
            f"{found}"
        )
    return f"has {found} channels; to learn from such images, set data.channels: {found}"


@contextmanager
def _pages(content: bytes) -> Iterator[tuple[list[Any], HeaderReader]]:
    """Open a file's pages, without smaller copies and masks, and its reader; all errors become `PictureError`."""
    logger = logging.getLogger("tifffile")
    level = logger.level
    try:
        import tifffile  # here: it is needed for few files, and where a model is served, perhaps for none

        logger.setLevel(logging.CRITICAL + 1)  # it tells of each oddity
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader = HeaderReader(content, _MAX_HEADER_BYTES)
            with tifffile.TiffFile(reader) as file:
                pages = list(islice(file.pages, MAX_PAGES + 1))  # not len(file.pages): the chain may be circular
                if len(pages) > MAX_PAGES:
                    raise PictureError(f"holds more than {MAX_PAGES} pictures; save one a file")
                yield [page for page in pages if not page.aspage().subfiletype & _SMALLER_OR_MASK], reader
    except PictureError:
        raise
    except ImportError as error:
        raise PictureError(f"is a TIFF for which the Python package {error.name} is missing") from None
    except Exception as error:  # a broken file makes decoders raise anything
        raise PictureError(f"is no whole picture ({str(error)[:200] or type(error).__name__})") from None
    finally:
        logger.setLevel(level)


def _channels(pages: list[Any]) -> int:
    """The channels of all pages together; raises `PictureError` where they are no single image of 8 or 16 bits."""
    if not pages:
        raise PictureError("holds no picture")
    kinds = {(page.shaped, page.dtype, page.bitspersample) for page in pages}
    if len(kinds) != 1:
        raise PictureError(f"holds {len(pages)} pictures of {len(kinds)} sizes or kinds; save one a file")
    [((planes, depth, _, _, samples), dtype, bits)] = kinds
    if len(pages) > 1 and planes * samples > 1:
        raise PictureError(f"holds {len(pages)} pictures of {_counted(planes * samples)} each; save one a file")
    if depth != 1:
        raise PictureError(f"holds a volume of {depth} slices; save one a file")
    if dtype not in (np.uint8, np.uint16) or bits not in (8, 16):
        kind = dtype or (f"{bits} bits" if isinstance(bits, int) else "several depths")
        raise PictureError(f"has pixels of {kind}; save it as uint8 or uint16")
    return len(pages) * int(planes * samples)


def _stored_values(page: Any) -> int:
    """How many values a page's strips or tiles decode to; raises `PictureError` where it is stored otherwise."""
    if page.compression not in _COMPRESSIONS:
        raise PictureError(f"is compressed by {_name(page.compression)}; save it uncompressed, or by LZW or Deflate")
    if (photometric := page.tags.valueof(_PHOTOMETRIC)) not in _PHOTOMETRICS:
        raise PictureError(f"has colours as {_name(photometric)}; save its channels as they are (MINISBLACK)")
    segments = math.prod(page.chunked)
    parts = (page.dataoffsets, page.databytecounts)
    if any(len(numbers) != segments or 0 in numbers for numbers in parts):  # tifffile takes them for black
        raise PictureError("is no whole picture (parts of it are missing)")
    values: int = segments * math.prod(page.chunks)
    return values


def _counted(channels: int) -> str:
    return f"{channels} channel{'s' * (channels != 1)}"


def _expected(channels: int) -> str:
    return f"{channels} {'is' if channels == 1 else 'are'} expected"


def _name(value: Any) -> str:
    return getattr(value, "name", "a method of no known name")


def _most() -> int:
    """Values that an image may have: as many as Pillow allows pixels."""
    return 2 * (Image.MAX_IMAGE_PIXELS or 0)


def turn_upright(image: NDArray[Any], orientation: int | None) -> NDArray[Any]:
    """Turn and mirror an image (H x W x C) as the orientation tag of TIFF and EXIF says; 1 and None are upright."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)
