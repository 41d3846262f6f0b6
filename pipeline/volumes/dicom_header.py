"""Read the headers of DICOM files: only the elements that describe pixels and geometry, and none about the patient."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError, create_missing_package_error
from pipeline.imaging.errors import ImageError

if TYPE_CHECKING:
    from pydicom import Dataset

DICOM_ENDINGS = (".dcm", ".dicom", ".ima")
_SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # SOP classes of DICOM SEG
_DIRECTORY = "1.2.840.10008.1.3.10"  # SOP class of DICOMDIR files
_MAGIC, _MAGIC_OFFSET = b"DICM", 128
_MAX_HEADER_BYTES = 1 << 26
_DEFLATED = "1.2.840.10008.1.2.1.99"
_MULTI_FRAME = "PerFrameFunctionalGroupsSequence"
_PIXEL_TAGS = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "PixelRepresentation",
)
_GEOMETRY_TAGS = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
_TAGS = [
    *("SOPClassUID", "Modality", "SeriesInstanceUID", "NumberOfFrames", "SharedFunctionalGroupsSequence", _MULTI_FRAME),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "SliceThickness", "SpacingBetweenSlices"),
    "SegmentationType",
    *(*_PIXEL_TAGS, *_GEOMETRY_TAGS),
]
_PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2", "RGB")  # besides YBR_*, which decoders convert to RGB


@dataclass(frozen=True)
class PixelFormat:
    """How the pixels of a frame are stored. All slices of a volume must have the same format."""

    height: int  # px
    width: int  # px
    channels: int
    photometric: str
    dtype: np.dtype[Any]
    packed_bytes: int = 0  # of all frames if 8 pixels are in a byte and frames are not padded; 0 for other pixels

    def describe(self) -> str:
        """Format the size and the type of the pixels."""
        channels = f", {self.channels} channels" if self.channels > 1 else ""
        return f"{self.width} × {self.height} px{channels}, {self.dtype}"


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame of a file, with its geometry in DICOM's patient coordinates (LPS+, in mm)."""

    file: Path
    index: int  # in the file
    position: NDArray[np.float64]  # of the center of the first pixel
    rows: NDArray[np.float64]  # direction in which the index of columns grows
    columns: NDArray[np.float64]  # direction in which the index of rows grows
    spacing: tuple[float, float]  # between rows and between columns, mm
    thickness: float  # mm; 0 if it is not stated
    slope: float
    intercept: float
    segment: int = 0  # number of the segment; 0 unless the file is a segmentation object


@dataclass(frozen=True, eq=False)
class DicomFile:
    """The header of a DICOM file."""

    path: Path
    sop_class: str
    modality: str
    series: str
    syntax: str  # UID of the transfer syntax
    header: Dataset

    @property
    def is_directory(self) -> bool:
        """Whether the file is a DICOMDIR, which lists other files."""
        return self.sop_class == _DIRECTORY

    @property
    def is_segmentation(self) -> bool:
        """Whether the file is a segmentation object."""
        return self.sop_class in _SEGMENTATIONS

    @property
    def is_multi_frame(self) -> bool:
        """Whether the file is one volume, and not a slice."""
        return self.is_segmentation or _MULTI_FRAME in self.header or self.num_frames > 1

    @property
    def num_frames(self) -> int:
        """Number of frames that the header declares."""
        return int(self.header.get("NumberOfFrames", 1) or 1)

    @property
    def _is_compressed(self) -> bool:
        from pydicom.uid import UID

        return bool(UID(self.syntax).is_encapsulated)

    def read_format(self) -> PixelFormat:
        """Return how the pixels are stored.

        Raises:
            ImageError: The header describes no pixels, or pixels that are not supported.
        """
        values = [self.header.get(name) for name in _PIXEL_TAGS]
        if missing := [name for name, value in zip(_PIXEL_TAGS, values, strict=True) if value is None]:
            raise ImageError(f"contains {self.path.name}, a {self.modality} object without pixels (no {missing[0]})")
        height, width, channels, photometric, bits, is_signed = values
        if photometric not in _PHOTOMETRIC and not photometric.startswith("YBR_"):
            raise ImageError(f"has {photometric} pixels in {self.path.name}; expected gray values or RGB")
        if "ModalityLUTSequence" in self.header:
            raise ImageError(f"has a table of intensities in {self.path.name} instead of a slope and an intercept")
        if bits not in (8, 16, 32) and (bits, self.is_segmentation) != (1, True):
            raise ImageError(f"has {bits} bits per pixel in {self.path.name}; expected 8, 16 or 32")
        dtype = np.dtype(f"{'i' if is_signed else 'u'}{max(1, int(bits) // 8)}")
        num_bits = math.prod((self.num_frames, int(height), int(width), int(channels), int(bits)))
        self._check_num_bytes(num_bits // 8)
        packed_bytes = math.ceil(num_bits / 8) if bits == 1 and not self._is_compressed else 0
        return PixelFormat(int(height), int(width), int(channels), str(photometric), dtype, packed_bytes)

    def read_frames(self) -> list[Frame]:
        """Return all frames.

        Raises:
            ImageError: A frame has no position, orientation or spacing.
        """
        if _MULTI_FRAME not in self.header:
            if self.num_frames > 1:
                raise ImageError(f"has {self.num_frames} frames in {self.path.name}, but no geometry of each frame")
            return [self._read_frame(0, [self.header])]
        shared = list(self.header.get("SharedFunctionalGroupsSequence") or [])
        groups = list(self.header.PerFrameFunctionalGroupsSequence)
        if len(groups) != self.num_frames:
            raise ImageError(f"declares {self.num_frames:,} frames in {self.path.name}, but describes {len(groups):,}")
        return [self._read_frame(index, [group, *shared]) for index, group in enumerate(groups)]

    def _read_frame(self, index: int, groups: list[Dataset]) -> Frame:
        def find(sequence: str, name: str) -> Any:
            """Find an element in the functional groups of a multi-frame file, or in the header of a slice."""
            for group in groups:
                items = [group] if _MULTI_FRAME not in self.header else group.get(sequence) or []
                if items and items[0].get(name) is not None:
                    return items[0][name].value
            return None

        position = find("PlanePositionSequence", "ImagePositionPatient")
        orientation = find("PlaneOrientationSequence", "ImageOrientationPatient")
        spacing = find("PixelMeasuresSequence", "PixelSpacing")
        for name, value, count in zip(_GEOMETRY_TAGS, (position, orientation, spacing), (3, 6, 2), strict=True):
            if value is None or isinstance(value, str) or len(value) != count:
                advice = "convert single images, such as X-rays, to PNG or TIFF files with 16 bits"
                if self.is_segmentation:
                    advice = "export it again with the geometry of its image"
                raise ImageError(
                    f"has no {name} in {self.path.name}, so the positions of its voxels are unknown; {advice}"
                )
        directions = np.array(orientation, float).reshape(2, 3)
        values = np.concatenate([np.array(position, float), directions.ravel(), np.array(spacing, float)])
        if not np.isfinite(values).all() or min(spacing) <= 0 or not np.allclose(
            directions @ directions.T, np.eye(2), atol=1e-3
        ):  # fmt: skip
            raise ImageError(f"has an orientation or a pixel spacing in {self.path.name} that is impossible")
        thickness = find("PixelMeasuresSequence", "SpacingBetweenSlices") or find(
            "PixelMeasuresSequence", "SliceThickness"
        )
        slope = find("PixelValueTransformationSequence", "RescaleSlope")
        intercept = find("PixelValueTransformationSequence", "RescaleIntercept")
        return Frame(
            self.path, index, np.array(position, float), directions[0], directions[1],
            (float(spacing[0]), float(spacing[1])), abs(float(thickness or 0)),
            1.0 if slope is None else float(slope), float(intercept or 0),
            int(find("SegmentIdentificationSequence", "ReferencedSegmentNumber") or 0),
        )  # fmt: skip

    def _check_num_bytes(self, num_bytes: int) -> None:
        """Raise `ImageError` if the header declares more pixels than an uncompressed file contains."""
        if not self._is_compressed and num_bytes > (size := self.path.stat().st_size):
            raise ImageError(
                f"is not complete ({self.path.name} declares {num_bytes:,} bytes of pixels, but has {size:,} bytes)"
            )


def read_dicom_file(path: Path) -> DicomFile:
    """Read the header of a file.

    Raises:
        ImageError: The file is not a DICOM file, or its header is broken.
        OSError: The file cannot be read.
        PipelineError: pydicom is missing.
    """
    import_pydicom(path)
    from pydicom import dcmread
    from pydicom.filereader import read_file_meta_info

    if not path.is_file():
        raise ImageError(f"contains {path.name}, which is not a file, but a pipe, a device or a broken link")
    if not has_magic(path):
        raise ImageError(f"contains {path.name}, which is not a DICOM file")
    with convert_dicom_errors(path):
        syntax = str(read_file_meta_info(path).get("TransferSyntaxUID", ""))
        if syntax == _DEFLATED:  # pydicom would decompress all of it
            raise ImageError(f"contains {path.name} with the transfer syntax Deflated; save it without compression")
        with path.open("rb") as file:
            content = BytesIO(file.read(_MAX_HEADER_BYTES))  # elements may declare any length
        header = dcmread(content, stop_before_pixels=True, specific_tags=_TAGS)
        texts = (str(header.get(name) or "") for name in ("SOPClassUID", "Modality", "SeriesInstanceUID"))
        sop_class, modality, series = texts
        if not (syntax and sop_class):
            raise ImageError(f"contains {path.name}, which is not a complete DICOM file (no SOPClassUID)")
        return DicomFile(path, sop_class, modality[:16] or "DICOM", series, syntax, header)


def has_magic(path: Path) -> bool:
    """Return whether a file begins like a DICOM file."""
    try:
        with path.open("rb") as file:
            file.seek(_MAGIC_OFFSET)
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def list_dicom_files(folder: Path) -> list[Path]:
    """List the files of a folder that are DICOM files, judging by their names, or their first bytes without a suffix.

    The suffix may be the last number of a UID. Hidden files and files called DICOMDIR are left out.
    """
    return [
        path
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".") and path.name.upper() != "DICOMDIR" and _is_dicom(path)
    ]


def _is_dicom(path: Path) -> bool:
    if path.name.lower().endswith(DICOM_ENDINGS):
        return not path.is_dir()
    has_suffix = path.suffix and not path.suffix[1:].isdigit()
    return not has_suffix and path.is_file() and has_magic(path)


def import_pydicom(path: Path) -> None:
    """Raise `PipelineError` if a package that DICOM files require is missing."""
    try:
        import nibabel  # noqa: F401
        import pydicom  # noqa: F401
    except ImportError as error:
        raise create_missing_package_error(f"{path}: DICOM files", error, "volumes") from None


@contextmanager
def convert_dicom_errors(path: Path) -> Iterator[None]:
    """Convert what pydicom raises for a broken file to `ImageError`, without the contents of elements."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except (ImageError, OSError, PipelineError):
        raise
    except Exception as error:  # broken files can raise any exception, whose message may quote the header
        raise ImageError(f"contains {path.name}, which is not a complete DICOM file ({type(error).__name__})") from None
