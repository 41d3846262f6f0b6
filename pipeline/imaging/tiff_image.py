"""Read windows of TIFFs, which may be too large to be decoded as a whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base as Tag

from .errors import ImageError
from .tiff import WHITE_IS_ZERO, check_storage, count_page_channels, open_pages
from .windows import Window

_RGB = 2  # of PhotometricInterpretation


class TiffImage:
    """A TIFF (H x W x C) whose windows are decoded on request by `image[rows, columns]`. It is a context manager.

    Decoded rows are kept until other rows are requested, so windows should be read from top to bottom.

    Attributes:
        shape: Height, width, channels.
        dtype: uint8 or uint16.
        is_rgb: Whether the file declares its channels as red, green and blue.
    """

    def __init__(self, path: Path) -> None:
        """Open a file and read its headers.

        Raises:
            ImageError: The file is not a complete TIFF, or its storage does not allow windows to be read.
        """
        self._file = path.open("rb")
        try:
            with open_pages(self._file) as (pages, reader):
                channels = count_page_channels(pages)
                check_storage(pages, reader)
                _, _, height, width, _ = pages[0].shaped
                orientation = pages[0].tags.valueof(Tag.Orientation)
                if orientation not in (None, 1):
                    raise ImageError("is stored turned or mirrored")
                self.shape = (height, width, channels)
                self.dtype: np.dtype[Any] = pages[0].dtype
                photometric = pages[0].tags.valueof(Tag.PhotometricInterpretation)
                self._is_inverted = photometric == WHITE_IS_ZERO
                self.is_rgb = photometric == _RGB and channels == 3 and len(pages) == 1
                self._pages = [_Page.read(page) for page in pages]
            self._step = math.lcm(*(page.segment_size[0] for page in self._pages))  # rows that are decoded together
            if self._step * width * channels > 2 * (Image.MAX_IMAGE_PIXELS or 0):
                raise ImageError("has strips or tiles that are too large to be decoded")
        except BaseException:
            self._file.close()
            raise
        self._first, self._rows = 0, np.empty((0, width, channels), self.dtype)  # the decoded rows

    def __enter__(self) -> TiffImage:
        """Return the image."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __getitem__(self, window: Window) -> NDArray[Any]:
        """Decode a window inside the image. Raise `ImageError` if its part of the file is missing or broken."""
        rows, columns = window
        self._load_rows(rows.start, rows.stop)
        return self._rows[rows.start - self._first : rows.stop - self._first, columns]

    def _load_rows(self, start: int, stop: int) -> None:
        first = start // self._step * self._step
        last = min(math.ceil(stop / self._step) * self._step, self.shape[0])
        if self._first <= first and last <= self._first + len(self._rows):
            return
        rows = np.empty((last - first, *self.shape[1:]), self.dtype)
        kept = self._rows[first - self._first :] if first >= self._first else self._rows[:0]
        rows[: len(kept)] = kept
        self._decode(rows[len(kept) :], first + len(kept))
        self._first, self._rows = first, rows

    def _decode(self, rows: NDArray[Any], first: int) -> None:
        """Decode the rows starting at index `first` into an array (rows x W x C)."""
        channel = 0
        try:
            for page in self._pages:
                page.decode(self._file, rows[..., channel : channel + page.num_channels], first)
                channel += page.num_channels
        except ImageError:
            raise
        except Exception as error:  # broken files can raise any exception
            raise ImageError(f"is not a complete image ({str(error)[:200] or type(error).__name__})") from None
        if self._is_inverted:
            np.invert(rows, out=rows)


@dataclass(frozen=True)
class _Page:
    """Positions in the file of a page's segments, which are strips or tiles. Segments of a plane are consecutive."""

    num_planes: int  # 1 if samples are interleaved
    num_samples: int  # samples per pixel of a plane
    segment_size: tuple[int, int]  # height and width, px
    offsets: Sequence[int]  # bytes from the start of the file
    sizes: Sequence[int]  # bytes
    decode_segment: Callable[[bytes, int], NDArray[Any]]  # from bytes and index to height x width x samples

    @classmethod
    def read(cls, page: Any) -> _Page:
        """Read the positions of a page's segments from an open file."""
        planes, _, height, width, samples = page.shaped
        if page.is_final:  # uncompressed without gaps: each row is a segment, so that rows can be read one by one
            dtype = page.dtype.newbyteorder(page.parent.byteorder)
            row, start = width * samples * dtype.itemsize, page.dataoffsets[0]
            offsets: Sequence[int] = range(start, start + planes * height * row, row)
            size, sizes = (1, width), [row] * len(offsets)

            def decode_segment(content: bytes, index: int) -> NDArray[Any]:  # noqa: ARG001 - signature as below
                return np.frombuffer(content, dtype).reshape(1, width, samples)

        else:
            offsets, sizes = page.dataoffsets, page.databytecounts
            size = (page.tilelength, page.tilewidth) if page.is_tiled else (min(page.rowsperstrip, height), width)
            decode = page.decode  # needs only the headers, so it works after the reader is closed

            def decode_segment(content: bytes, index: int) -> NDArray[Any]:
                segment: NDArray[Any] = decode(content, index)[0][0]
                return segment

        return cls(planes, samples, size, offsets, sizes, decode_segment)

    @property
    def num_channels(self) -> int:
        """Number of channels in this page."""
        return self.num_planes * self.num_samples

    def decode(self, file: BinaryIO, rows: NDArray[Any], first: int) -> None:
        """Decode the rows starting at index `first` into an array (rows x W x channels); a segment must start there."""
        height, width = self.segment_size
        across = math.ceil(rows.shape[1] / width)
        per_plane = len(self.offsets) // self.num_planes
        for plane in range(self.num_planes):
            channels = slice(plane * self.num_samples, (plane + 1) * self.num_samples)
            for top in range(0, len(rows), height):
                for column in range(across):
                    index = plane * per_plane + (first + top) // height * across + column
                    file.seek(self.offsets[index])
                    content = file.read(self.sizes[index])
                    if len(content) < self.sizes[index]:
                        raise ImageError("is not a complete image (parts of it are missing)")
                    target = rows[top : top + height, column * width : (column + 1) * width, channels]
                    target[:] = self.decode_segment(content, index)[: target.shape[0], : target.shape[1]]
