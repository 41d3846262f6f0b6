"""Read DICOM series and multi-frame DICOM files.

Files are untrusted. Only elements that describe pixels and geometry are read, so that nothing about a patient can get
into results.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.errors import ImageError
from pipeline.volumes.dicom_geometry import find_affine, sort_frames
from pipeline.volumes.dicom_header import (
    DicomFile,
    Frame,
    PixelFormat,
    convert_dicom_errors,
    import_pydicom,
    list_dicom_files,
    read_dicom_file,
)
from pipeline.volumes.plane_volume import PlaneVolume
from pipeline.volumes.spatial_volume import AXES
from pipeline.volumes.volume import MAX_SLICES
from pipeline.wording import pluralize

_MAX_INTEGER = 2**15  # slopes and intercepts below it keep 16-bit values within int32


class DicomVolume(PlaneVolume):
    """A DICOM series, or a multi-frame DICOM file, along one of the canonical axes."""

    def __init__(self, path: Path, axis: str) -> None:
        """Read the headers of all files of a series.

        Args:
            path: The folder of the series, or a multi-frame file.
            axis: x, y or z.

        Raises:
            ImageError: The files are not one complete volume.
            OSError: A file cannot be read.
            PipelineError: A package is missing.
        """
        if axis not in AXES:
            raise ImageError(f"is a DICOM series, which has no axis {axis}; its slices are along x, y or z")
        files = read_series(path)
        formats = []
        frames: list[Frame] = []
        for file in files:
            with convert_dicom_errors(file.path):
                formats.append(file.read_format())
                check_decoder(file)
                frames += file.read_frames()
            if formats[-1] != formats[0]:
                raise ImageError(
                    f"has different slices: {formats[0].describe()} in {files[0].path.name}, but "
                    f"{formats[-1].describe()} in {file.path.name}"
                )
        if len(frames) > MAX_SLICES:
            raise ImageError(f"has {len(frames):,} slices; at most {MAX_SLICES:,} are supported")
        self._frames = sort_frames(frames)
        self._format = formats[0]
        self._is_white_zero = self._format.photometric == "MONOCHROME1"
        self._place_planes(
            find_affine(self._frames), (self._format.width, self._format.height, len(self._frames)), axis
        )
        self.channels = self._format.channels
        self.dtype = _choose_dtype(self._format.dtype, frames)
        self._check_shape()

    def _read_plane(self, index: int) -> NDArray[Any]:
        """Decode a plane, and rescale its values."""
        frame = self._frames[index]
        values = decode_frame(frame, self._format)
        if (frame.slope, frame.intercept) != (1, 0):
            values = values * self.dtype.type(frame.slope) + self.dtype.type(frame.intercept)
        return values.astype(self.dtype, copy=False)


def decode_frame(frame: Frame, pixels: PixelFormat) -> NDArray[Any]:
    """Decode a frame, rows x columns x channels. Raise `ImageError` if it is broken."""
    from pydicom.pixels import pixel_array

    with convert_dicom_errors(frame.file):
        values = (
            _unpack(frame, pixels) if pixels.packed_bytes else np.asarray(pixel_array(frame.file, index=frame.index))
        )
    shape = (pixels.height, pixels.width, pixels.channels)
    if values.size != math.prod(shape) or values.dtype.kind not in "ui":
        raise ImageError(f"has {values.shape} pixels in {frame.file.name}, but its header declares {shape}")
    return values.reshape(shape)


def _unpack(frame: Frame, pixels: PixelFormat) -> NDArray[np.uint8]:
    """Read the pixels of a frame that are single bits.

    pydicom reads too few bytes of a frame that begins inside a byte, so that it refuses the frame.
    """
    from pydicom import dcmread

    header = dcmread(frame.file, defer_size=0, specific_tags=["PixelData"])
    element: Any = header.get_item("PixelData", keep_deferred=True)
    if _round_to_even(element.length) != (expected := _round_to_even(pixels.packed_bytes)):
        raise ImageError(
            f"has {element.length:,} bytes of pixels in {frame.file.name}, but its frames of single bits have "
            f"{expected:,} bytes if they are complete and not padded; export it again with another program"
        )
    num_pixels = pixels.height * pixels.width * pixels.channels
    first_byte, first_bit = divmod(frame.index * num_pixels, 8)
    num_bytes = math.ceil((first_bit + num_pixels) / 8)
    packed = np.fromfile(frame.file, np.uint8, num_bytes, offset=element.value_tell + first_byte)
    return np.unpackbits(packed, bitorder="little")[first_bit : first_bit + num_pixels]


def _round_to_even(number: int) -> int:
    return number + number % 2


def read_series(path: Path) -> list[DicomFile]:
    """Read the headers of the files of one series, or of a single file.

    Raises:
        ImageError: A file is broken, or the folder contains several series or no images.
        OSError: A file cannot be read.
        PipelineError: A package is missing.
    """
    import_pydicom(path)
    paths = list_dicom_files(path) if path.is_dir() else [path]
    if len(paths) > MAX_SLICES:
        raise ImageError(f"contains {len(paths):,} DICOM files; at most {MAX_SLICES:,} are supported")
    files = [file for file in map(read_dicom_file, paths) if not file.is_directory]
    if not files:
        raise ImageError("contains no DICOM images")
    if len({file.series for file in files}) > 1:
        raise ImageError(f"contains {_describe_series(files)}; put each series into a folder of its own")
    if len(files) > 1 and (several := [file for file in files if file.is_multi_frame]):
        raise ImageError(f"contains {several[0].path.name}, which has several frames, next to other files")
    return files


def check_decoder(file: DicomFile) -> None:
    """Raise `ImageError` if the pixels of a file cannot be decompressed, with the packages that can do it."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    syntax = UID(file.syntax)
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise ImageError(f"has pixels in {file.path.name} with the unsupported transfer syntax {syntax.name}") from None
    if not decoder.is_available:
        raise ImageError(
            f"has pixels in {file.path.name} that are compressed with {syntax.name}; install the packages that "
            f"decompress them: pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"
        )


def _describe_series(files: Sequence[DicomFile]) -> str:
    """Describe several series by their modalities and numbers of files, without their UIDs."""
    counts = Counter((file.series, file.modality) for file in files)
    described = [f"{modality} with {pluralize(count, 'file')}" for (_, modality), count in counts.most_common(4)]
    return f"{len({series for series, _ in counts})} series ({', '.join(described)})"


def _choose_dtype(stored: np.dtype[Any], frames: Sequence[Frame]) -> np.dtype[Any]:
    """Return the type of rescaled values: the stored one without a scale, int32 if all are integers, or float64."""
    scales = {number for frame in frames for number in (frame.slope, frame.intercept)}
    if all((frame.slope, frame.intercept) == (1, 0) for frame in frames):
        return stored
    is_integer = stored.itemsize < 4 and all(one.is_integer() and abs(one) < _MAX_INTEGER for one in scales)
    return np.dtype(np.int32 if is_integer else np.float64)
