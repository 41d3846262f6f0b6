"""Read TIFFs with any number of channels, stored as interleaved samples, planes, or one page per channel.

Files are untrusted. The number of pages, header bytes and pixel values is limited, and the sizes that a file declares
are checked before tifffile decodes anything.
"""

from __future__ import annotations

import io
import logging
import math
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base as Tag

from .errors import ImageError

MAX_PAGES = 64  # maximum number of pages in a file, including downscaled copies
SLICES_KEY = "data.slices if they are the slices of a volume"  # what makes a file with several images usable
_MAX_READS = 100_000  # maximum number of header reads; a tag takes up to three
_SPARE_BYTES = 65_536  # for decoders that read the start of a file to detect its format
MAX_CHANNELS = 32  # highest value of data.channels
_MAX_HEADER_BYTES = 1 << 23  # tifffile converts 16-bit values to Python ints, which take 18 times the memory

_SMALLER_OR_MASK = 0b101  # bits of the tag NewSubfileType
WHITE_IS_ZERO = 0
PALETTE = 3
_PHOTOMETRICS = (None, WHITE_IS_ZERO, 1, 2, 5)  # unknown, white is zero, black is zero, RGB, CMYK
# Compressions whose decoders stop at the declared end of a segment, so that small files cannot become large images.
_COMPRESSIONS = (1, 5, 8, 32946, 32773, 50000)  # none, LZW, Deflate (8 and 32946), PackBits, Zstandard


class HeaderReader(io.BufferedIOBase):
    """File object that raises `ImageError` if the headers take too many bytes or reads.

    Decoders read the value of every tag, and a small file can have thousands of tags that all refer to the same bytes.
    """

    def __init__(
        self,
        file: io.BufferedIOBase,
        max_bytes: int | None = None,
        max_reads: int = _MAX_READS,
        num_passes: int = 2,  # tifffile reads each directory twice
    ) -> None:
        self._file = file
        self.num_bytes = file.seek(0, io.SEEK_END)
        file.seek(0)
        num_bytes = num_passes * self.num_bytes + _SPARE_BYTES
        self._bytes_left = num_bytes if max_bytes is None else min(num_bytes, max_bytes)
        self._reads_left = max_reads
        self._is_limited = True

    def remove_limit(self) -> None:
        """Remove the limit, so that pixels can be read."""
        self._is_limited = False

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to `size` bytes."""
        content = self._file.read(-1 if size is None else size)
        self._count(len(content))
        return content

    def readinto(self, buffer: Any, /) -> int:
        """Read into a buffer."""
        size = self._file.readinto(buffer)
        self._count(size)
        return size

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a position in the file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position in the file."""
        return self._file.tell()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def _count(self, size: int) -> None:
        if not self._is_limited:
            return
        self._bytes_left -= size
        self._reads_left -= 1
        if self._bytes_left < 0 or self._reads_left < 0:
            raise ImageError("has too many tags, or tags that are too large")


def read_channels(content: bytes, channels: int) -> NDArray[Any]:
    """Decode a TIFF whose samples, planes or pages are the channels of one image, and turn it upright.

    Returns:
        The image, H x W x channels, as uint8 or uint16.

    Raises:
        ImageError: The content is not a complete TIFF, has a different number of channels, or is stored in an
            unsupported way.
    """
    with open_pages(io.BytesIO(content)) as (pages, reader):
        found = count_page_channels(pages)
        if found != channels:
            raise ImageError(_describe_mismatch(found, channels))
        _check_size(pages, reader)
        tags = pages[0].tags
        photometric, orientation = (tags.valueof(tag) for tag in (Tag.PhotometricInterpretation, Tag.Orientation))
        reader.remove_limit()
        _, _, height, width, _ = pages[0].shaped
        image = np.empty((height, width, channels), pages[0].dtype)
        for index, page in enumerate(pages):
            planes = page.asarray(squeeze=False, maxworkers=1)[:, 0]  # planes x H x W x samples
            image[..., index : index + channels // len(pages)] = np.moveaxis(planes, 0, -1).reshape(height, width, -1)
        return turn_upright(~image if photometric == WHITE_IS_ZERO else image, orientation)


def read_labels(content: bytes) -> NDArray[Any] | None:
    """Decode a gray TIFF with one integer or floating-point sample per pixel, and turn it upright.

    Returns:
        Values as viewers display them, H x W, of the file's type. None if Pillow must read the file, because it has a
        palette, colors, several pages or another compression.

    Raises:
        ImageError: The content is not a complete TIFF, or has pixels of an unsupported type.
    """
    with open_pages(io.BytesIO(content)) as (pages, reader):
        if len(pages) != 1:
            return None
        page: Any = pages[0]
        planes, depth, _, _, samples = page.shaped
        photometric, orientation = (page.tags.valueof(tag) for tag in (Tag.PhotometricInterpretation, Tag.Orientation))
        is_gray = (planes, depth, samples) == (1, 1, 1) and photometric in (None, WHITE_IS_ZERO, 1)
        if not is_gray or page.compression not in _COMPRESSIONS:
            return None
        if page.dtype is None or page.dtype.kind not in "buif":
            kind = f"type {page.dtype}" if page.dtype else "an unknown type"
            raise ImageError(f"has pixels of {kind}; save the mask as uint8 or uint16")
        _check_size(pages, reader)
        reader.remove_limit()
        labels: NDArray[Any] = page.asarray(squeeze=False, maxworkers=1)[0, 0, :, :, 0]
        if photometric == WHITE_IS_ZERO:
            labels = _invert(labels, page.bitspersample)
        labels = labels.astype(np.uint8) if labels.dtype == bool else labels
        upright: NDArray[Any] = turn_upright(labels[..., None], orientation)[..., 0]
        return upright


def _invert(labels: NDArray[Any], bits: int) -> NDArray[Any]:
    """Invert the values of a TIFF that stores white as 0, as viewers do."""
    if labels.dtype.kind == "b":
        return ~labels
    if labels.dtype.kind != "u" or bits > 16:
        raise ImageError(f"has {labels.dtype} pixels with white as zero (MINISWHITE); save it as MINISBLACK")
    highest = np.array((1 << bits) - 1, labels.dtype)
    inverted: NDArray[Any] = highest - labels
    return inverted


def read_tiff_orientation(content: bytes) -> int:
    """Read the orientation tag of a TIFF's first page. Raise `ImageError` if it cannot be read."""
    with open_pages(io.BytesIO(content)) as (pages, _):
        found: int = pages[0].tags.valueof(Tag.Orientation, 1) if pages else 1
        return found


def count_tiff_channels(content: bytes) -> int:
    """Count the channels of a TIFF. Raise `ImageError` if it cannot be read."""
    with open_pages(io.BytesIO(content)) as (pages, _):
        return count_page_channels(pages)


def describe_channels(content: bytes, channels: int | None) -> str | None:
    """Describe why a TIFF's number of channels is a problem, as a phrase that follows the file name.

    Args:
        content: Content of the file.
        channels: Expected number of channels; None if `data.channels` is not set.

    Returns:
        The description. None if the file is gray, has too many channels or cannot be read.
    """
    try:
        with open_pages(io.BytesIO(content)) as (pages, reader):
            found = count_page_channels(pages)
            _check_ends(pages, reader)
    except ImageError:
        return None
    if found == 1 or (channels is None and found > MAX_CHANNELS):
        return None
    if channels is not None:
        return _describe_mismatch(found, channels)
    if len(pages) > 1:
        return (
            f"contains {found} images; save one per file or, if they are the channels of one image, set data.channels: "
            f"{found}, or {SLICES_KEY}"
        )
    return f"has {found} channels; to learn from such images, set data.channels: {found}"


@contextmanager
def silence_tifffile() -> Iterator[None]:
    """Ignore warnings, and turn off tifffile's log, in which it reports all irregularities of a file."""
    logger = logging.getLogger("tifffile")
    before = logger.disabled
    logger.disabled = True  # a change of its level would clear the caches of all loggers
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.disabled = before


@contextmanager
def open_pages(file: io.BufferedIOBase) -> Iterator[tuple[list[Any], HeaderReader]]:
    """Open a TIFF, and yield its pages and its reader; downscaled copies and masks are excluded.

    Raises:
        ImageError: The file is not a complete TIFF, has too many pages, or tifffile is missing.
    """
    try:
        import tifffile  # here: few files need it, and a served model may be installed without it

        reader = HeaderReader(file, _MAX_HEADER_BYTES)
        with silence_tifffile(), tifffile.TiffFile(cast("BinaryIO", reader)) as tiff:
            pages = list(islice(tiff.pages, MAX_PAGES + 1))  # no len(tiff.pages), since the chain may be circular
            if len(pages) > MAX_PAGES:
                raise ImageError(f"contains more than {MAX_PAGES} images; save one per file, or set {SLICES_KEY}")
            yield [page for page in pages if not page.aspage().subfiletype & _SMALLER_OR_MASK], reader
    except ImageError:
        raise
    except ImportError as error:
        raise ImageError(f"is a TIFF for which the Python package {error.name} is missing") from None
    except Exception as error:  # broken files can raise any exception
        raise ImageError(f"is not a complete image ({str(error)[:200] or type(error).__name__})") from None


def count_page_channels(pages: list[Any]) -> int:
    """Count the channels of all pages. Raise `ImageError` if the pages are not a single 8-bit or 16-bit image."""
    if not pages:
        raise ImageError("contains no image")
    kinds = {(page.shaped, page.dtype, page.bitspersample) for page in pages}
    if len(kinds) != 1:
        raise ImageError(f"contains {len(pages)} images of {len(kinds)} different sizes or kinds; save one per file")
    [((planes, depth, _, _, samples), dtype, bits)] = kinds
    if len(pages) > 1 and planes * samples > 1:
        raise ImageError(
            f"contains {len(pages)} images of {_format_channels(planes * samples)} each; save one per file, or set "
            f"{SLICES_KEY}"
        )
    if depth != 1:
        raise ImageError(f"contains a volume of {depth} slices; save one per file")
    if dtype not in (np.uint8, np.uint16) or bits not in (8, 16):
        kind = dtype or (f"{bits} bits" if isinstance(bits, int) else "several bit depths")
        raise ImageError(f"has pixels of type {kind}; save it as uint8 or uint16")
    return len(pages) * int(planes * samples)


def _check_size(pages: list[Any], reader: HeaderReader) -> None:
    """Raise `ImageError` if pages would decode to more than Pillow's maximum number of pixels."""
    max_values = 2 * (Image.MAX_IMAGE_PIXELS or 0)
    if check_storage(pages, reader) > max_values:
        raise ImageError(f"is too large to be decoded (at most {max_values:,} values)")


def check_storage(pages: list[Any], reader: HeaderReader, *, may_have_palette: bool = False) -> int:
    """Count the values that pages decode to.

    Args:
        pages: The pages.
        reader: Their file.
        may_have_palette: Whether values may be indices of a palette instead of intensities.

    Raises:
        ImageError: The storage is unsupported, or its parts overlap or are missing.
    """
    photometrics = (*_PHOTOMETRICS, PALETTE) if may_have_palette else _PHOTOMETRICS
    values = sum(_count_stored_values(page, photometrics) for page in pages)
    _check_ends(pages, reader)
    if sum(sum(page.databytecounts) for page in pages) > reader.num_bytes:  # the parts overlap
        raise ImageError("is not a complete image (the file is smaller than its header declares)")
    return values


def _check_ends(pages: list[Any], reader: HeaderReader) -> None:
    """Raise `ImageError` if a file ends before its strips or tiles do."""
    for page in pages:
        ends = np.add(page.dataoffsets, page.databytecounts, dtype=np.int64)
        if len(ends) and ends.max() > reader.num_bytes:
            raise ImageError("is not a complete image (parts of it are missing)")


def _count_stored_values(page: Any, photometrics: Collection[int | None]) -> int:
    """Count the values that a page's strips or tiles decode to. Raise `ImageError` if their storage is unsupported."""
    if page.compression not in _COMPRESSIONS:
        raise ImageError(f"is compressed with {_name_enum(page.compression)}; use no compression, LZW or Deflate")
    if (photometric := page.tags.valueof(Tag.PhotometricInterpretation)) not in photometrics:
        raise ImageError(f"stores colors as {_name_enum(photometric)}; save its channels unconverted (MINISBLACK)")
    segments = math.prod(page.chunked)
    parts = (page.dataoffsets, page.databytecounts)
    if any(len(numbers) != segments or 0 in numbers for numbers in parts):  # tifffile would fill gaps with zeros
        raise ImageError("is not a complete image (parts of it are missing)")
    values: int = segments * math.prod(page.chunks)
    return values


def _format_channels(channels: int) -> str:
    return f"{channels} channel{'s' * (channels != 1)}"


def _describe_mismatch(found: int, channels: int) -> str:
    return f"has {_format_channels(found)}, but {channels} {'is' if channels == 1 else 'are'} expected"


def _name_enum(value: Any) -> str:
    return getattr(value, "name", "an unknown method")


def turn_upright(image: NDArray[Any], orientation: int | None) -> NDArray[Any]:
    """Turn and mirror an image (H x W x C) by its TIFF or EXIF orientation. With 1 or None, it is already upright."""
    if orientation in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)
