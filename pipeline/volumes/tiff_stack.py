"""Read TIFF stacks: OME-TIFF, ImageJ's hyperstacks, and TIFFs with several pages.

Files are untrusted. The number of pages and of header bytes is limited, and the storage of a page is checked before it
is decoded.
"""

from __future__ import annotations

import math
import re
import weakref
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base as Tag

from pipeline.imaging.errors import ImageError
from pipeline.imaging.tiff import PALETTE, WHITE_IS_ZERO, HeaderReader, check_storage, silence_tifffile
from pipeline.imaging.tiff_resolution import find_pixel_size
from pipeline.volumes.volume import MAX_SLICES, Slice, Volume, convert_errors

if TYPE_CHECKING:
    import tifffile

TIFF_ENDINGS = (".tif", ".tiff")
AXES = ("z", "t")

_MAX_HEADER_BYTES, _MAX_READS = 1 << 26, 2_000_000  # of all pages
_PASSES = 4  # times that tifffile reads each directory
_MAX_PLANES = 32 * MAX_SLICES  # in OME-XML
_OME_PIXELS = re.compile(r"<(?:\w+:)?Pixels\b[^>]*>")
_OME_SIZE = re.compile(r"""\bSize[CTZ]\s*=\s*["']\s*([0-9]+)""")
_OME_COUNT = re.compile(r"""\b(?:IFD|PlaneCount|NumPlanes|First[CTZ])\s*=\s*["']\s*([0-9]+)""")
_RGB = 2  # value of PhotometricInterpretation
_PALETTE_TYPES = (np.bool_, np.uint8)  # of indices with up to 8 bits, as in other images with palettes
_SMALLER_OR_MASK = 0b101  # bits of NewSubfileType
_UNNAMED = "IQ"  # tifffile's names for axes whose meaning the file does not state
_NAMES = {"T": "time points", "Z": "slices", "C": "channels"}


class TiffStack(Volume):
    """A TIFF whose pages are slices along z or t. An axis whose meaning the file does not state is taken for this one.

    Attributes:
        axes: Letters of the axes of all pages as tifffile names them, such as ZCYX.
        slice_axis: Letter of the axis of the slices: Z or T.
        has_named_axis: Whether the metadata state that the pages are slices along this axis.
        tags: Tags of the first page.
    """

    def __init__(self, path: Path, axis: str) -> None:
        """Read the headers of a file.

        Raises:
            ImageError: The file is not a complete TIFF, or has other axes with several entries.
            OSError: The file cannot be read.
        """
        if axis not in AXES:
            raise ImageError(f"is a TIFF, whose slices are along z or t, not along {axis}")
        if path.exists() and not path.is_file():
            raise OSError(0, "is not a file, but a pipe, a device or a folder")
        file = path.open("rb")
        weakref.finalize(self, file.close)
        self._file, self._reader = file, HeaderReader(file, _MAX_HEADER_BYTES, _MAX_READS, _PASSES)
        with silence_tifffile(), convert_errors():
            self._tiff = _open(self._reader)
            self._series = _find_series(self._tiff)
            self.axes = str(self._series.axes)
            first = self._series.keyframe
            planes, depth, self.height, self.width, samples = first.shaped
            self.slice_axis = axis.upper()
            self.has_named_axis = self.slice_axis in self.axes
            self.tags = tags = first.tags
            if tags.valueof(Tag.Orientation) not in (None, 1):
                raise ImageError("is stored turned or mirrored; save it upright")
            if depth != 1:
                raise ImageError(f"has pages of {depth} slices each; save one slice per page")
            self._page_channels = int(planes * samples)
            frames, place = _arrange_frames(self.axes, self._series.shape, int(planes), axis)
            if math.prod(frames) != len(self._series):
                raise ImageError(
                    f"has metadata that declare {math.prod(frames):,} pages, but {len(self._series)} pages"
                )
            # Indices of the pages of each slice, slices x channels.
            self._pages = np.moveaxis(np.arange(math.prod(frames)).reshape(frames), place, 0).reshape(frames[place], -1)
            self.pixel = find_pixel_size(tags)
            self._offset: int | None = self._series.dataoffset
            photometric = tags.valueof(Tag.PhotometricInterpretation)
        self.dtype = np.dtype(self._series.dtype or "V")
        self.num_slices, self.channels = len(self._pages), self._pages.shape[1] * self._page_channels
        self._is_rgb = photometric == _RGB and samples >= 3 and planes == 1
        self._extra_samples = tuple(first.extrasamples) if self._is_rgb else ()
        self._is_white_zero = photometric == WHITE_IS_ZERO
        self._has_palette = photometric == PALETTE
        self._check_shape()
        if self._has_palette and self.dtype.type not in _PALETTE_TYPES:
            raise ImageError(
                f"has a palette, but values of type {self.dtype}; save it with 8 bits, or without a palette"
            )
        if self._offset is not None and self._offset + self._series.nbytes > self._reader.num_bytes:
            raise ImageError("is not a complete image (parts of it are missing)")
        self._reader.remove_limit()

    def read_slice(self, index: int) -> Slice:
        """Read a slice."""
        pages = [int(page) for page in self._pages[index]]
        with silence_tifffile(), convert_errors():
            frames = [self._read_frame(page) for page in pages]
            palette = self._read_palette(pages[0]) if self._has_palette else None
        values = np.concatenate(frames, axis=-1) if len(frames) > 1 else frames[0]
        if palette is not None and values.dtype == bool:
            values = values.astype(np.uint8)
        return Slice(values, self._is_rgb, self._extra_samples, self._is_white_zero, palette)

    def _read_palette(self, index: int) -> NDArray[np.uint16]:
        """Read the colors of a page's values, 3 x 256. Pages can have different ones."""
        frame = self._series[index]  # None if the header of the first page is that of all
        stored = (self._series.keyframe if frame is None else frame.aspage()).colormap
        palette = np.zeros((3, 256), np.uint16)
        palette[:, : stored.shape[1]] = stored  # fewer with less than 8 bits
        return palette

    def _read_frame(self, index: int) -> NDArray[Any]:
        """Read a page, H x W x channels."""
        shape = self._series.keyframe.shaped
        if self._offset is not None:  # all pages are stored one after another, perhaps with the header of one
            dtype = self.dtype.newbyteorder(self._tiff.byteorder)
            num_bytes = math.prod(shape) * dtype.itemsize
            self._file.seek(self._offset + index * num_bytes)
            planes = np.frombuffer(self._file.read(num_bytes), dtype).reshape(shape)[:, 0].astype(self.dtype)
        else:
            frame = self._series[index]
            if frame is None:
                raise ImageError("is not a complete image (parts of it are missing)")
            page = frame.aspage()
            if page.shaped != shape:
                raise ImageError("has pages of different sizes; save them with the same size")
            num_values = check_storage([page], self._reader, may_have_palette=self._has_palette)
            if num_values > 2 * (Image.MAX_IMAGE_PIXELS or 0):
                raise ImageError("has pages that are too large to be decoded")
            planes = page.asarray(squeeze=False, maxworkers=1)[:, 0]
        return np.moveaxis(planes, 0, -2).reshape(self.height, self.width, -1)


def _open(reader: HeaderReader) -> tifffile.TiffFile:
    import tifffile

    tiff = tifffile.TiffFile(cast("BinaryIO", reader), _multifile=False)
    pages = list(islice(tiff.pages, MAX_SLICES + 1))  # no len(tiff.pages), since the chain may be circular
    if len(pages) > MAX_SLICES:
        raise ImageError(f"contains more than {MAX_SLICES:,} pages; save fewer slices per file")
    if tiff.ome_metadata:
        _check_ome_numbers(tiff.ome_metadata)
    return tiff


def _check_ome_numbers(description: str) -> None:
    """Raise `ImageError` if OME-XML declares so many planes that tifffile would fill the memory with them."""
    numbers = [int(digits[:9]) for digits in _OME_COUNT.findall(description)]
    tags = _OME_PIXELS.findall(description)
    planes = [math.prod(int(digits[:9]) for digits in _OME_SIZE.findall(tag)) for tag in tags]
    if max((*numbers, *planes), default=0) > _MAX_PLANES or "ModuloAlong" in description:
        raise ImageError(f"has OME metadata with more than {_MAX_PLANES:,} planes, or with several axes in one")


def _find_series(tiff: tifffile.TiffFile) -> Any:
    """Return the only series of pages of the same size that are not downscaled copies or masks of others.

    Raises:
        ImageError: There are several series, or the axes in the metadata contradict the pages.
    """
    series = [one for one in tiff.series if not one.keyframe.aspage().subfiletype & _SMALLER_OR_MASK]
    if not series:
        raise ImageError("contains no image")
    if len(series) > 1:
        sizes = ", ".join(f"{'×'.join(map(str, one.shape))} ({one.axes})" for one in series[:3])
        raise ImageError(f"contains {len(series)} images of different sizes or kinds ({sizes}); save one per file")
    declared = [kind for kind in ("ome", "imagej") if getattr(tiff, f"is_{kind}")]
    if declared and series[0].kind not in (*declared, "shaped"):  # tifffile would ignore the metadata
        name = {"ome": "OME", "imagej": "ImageJ"}[declared[0]]
        raise ImageError(
            f"has {name} metadata that contradict its {len(series[0])} pages, perhaps because the volume is divided "
            f"into several files; save it as one file"
        )
    return series[0]


def _arrange_frames(axes: str, shape: tuple[int, ...], planes: int, axis: str) -> tuple[tuple[int, ...], int]:
    """Return the shape of the pages without their own axes, and the axis of the slices in it.

    Raises:
        ImageError: Another axis than that of the slices and that of the channels has several entries.
    """
    lengths = [(name, int(length)) for name, length in zip(axes, shape, strict=True)]
    leading = lengths[: axes.index("Y")]
    if planes > 1:
        leading = leading[:-1]  # the planes of a page
    names = [name for name, _ in leading]
    unnamed = [name for name in names if name in _UNNAMED]
    wanted = axis.upper() if axis.upper() in names else unnamed[0] if len(unnamed) == 1 else ""
    for name, length in leading:
        if name not in (wanted, "C") and length > 1:
            raise ImageError(
                f"has the axes {axes} with {length} {_NAMES.get(name, f'entries along {name}')}, but slices are along "
                f"{axis} only; save one file for each of them"
            )
    if not wanted:
        return (1, *(length for _, length in leading)), 0
    return tuple(length for _, length in leading), names.index(wanted)
