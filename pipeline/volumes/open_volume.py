"""Open volumes by their names, and keep the last ones open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath

from pipeline.volumes import ome_zarr, spatial_volume, tiff_stack
from pipeline.volumes.dicom_header import DICOM_ENDINGS
from pipeline.volumes.dicom_segmentation import open_dicom
from pipeline.volumes.nifti import NIFTI_ENDINGS, NiftiVolume
from pipeline.volumes.ome_zarr import OmeZarr
from pipeline.volumes.ome_zarr_metadata import ZARR_ENDING
from pipeline.volumes.tiff_stack import TIFF_ENDINGS, TiffStack
from pipeline.volumes.volume import Volume

_MAX_OPEN = 4  # the volumes of images and masks whose slices are read one after another


@dataclass(frozen=True)
class VolumeFormat:
    """A format of volumes: its reader, and how it is recognized."""

    read: Callable[[Path, str], Volume]  # from the path and the axis of the slices
    endings: tuple[str, ...]  # of the names of files or folders
    axes: tuple[str, ...]  # along which there may be slices
    mask_endings: tuple[str, ...]  # of predicted masks: that of the volume if it is among them, or else the first
    has_single_images: bool = False  # whether a file may also be one image


_NIFTI = VolumeFormat(NiftiVolume, NIFTI_ENDINGS, spatial_volume.AXES, NIFTI_ENDINGS)
_TIFF = VolumeFormat(TiffStack, TIFF_ENDINGS, tiff_stack.AXES, TIFF_ENDINGS, has_single_images=True)
_ZARR = VolumeFormat(OmeZarr, (ZARR_ENDING,), ome_zarr.AXES, (ZARR_ENDING,))
_DICOM = VolumeFormat(open_dicom, DICOM_ENDINGS, spatial_volume.AXES, (".nii.gz",))
_FORMATS = (_NIFTI, _TIFF, _ZARR, _DICOM)

VOLUME_ENDINGS = tuple(ending for one in _FORMATS for ending in one.endings)
# Of files and folders that are volumes, whatever they contain.
CERTAIN_ENDINGS = tuple(ending for one in _FORMATS if not one.has_single_images for ending in one.endings)


def find_format(path: Path | str) -> VolumeFormat:
    """Find the format of a file or folder, judging by its name. Folders without an ending are DICOM series."""
    names = PurePath(path).parts
    if any(name.lower().endswith(ZARR_ENDING) for name in names):  # or a label image inside it
        return _ZARR
    return next((one for one in _FORMATS if names and names[-1].lower().endswith(one.endings)), _DICOM)


def list_axes(path: Path | str) -> tuple[str, ...]:
    """List the axes along which a volume may be cut into slices, judging by its name."""
    return find_format(path).axes


def open_volume(path: Path, axis: str) -> Volume:
    """Open a volume along an axis: x, y or z for NIfTI and DICOM; z or t for TIFF and OME-Zarr.

    The last few volumes are kept open.

    Args:
        path: A file, or the folder of an OME-Zarr image or a DICOM series.
        axis: Axis across the slices.

    Raises:
        ImageError: The file is not a volume, or has no such axis.
        OSError: The file cannot be read.
        PipelineError: A package is missing.
    """
    status = path.stat()  # that of a folder changes with the names of its files, not with their contents
    return _open(path, axis, (status.st_mtime_ns, status.st_size))


def open_mask(path: Path, axis: str, image: Path) -> Volume:
    """Open a mask without a grid of its own, with the slices of its image. The last few masks are kept.

    Raises:
        ImageError: A file is not a volume, or the mask does not fit the image.
        OSError: A file cannot be read.
        PipelineError: A package is missing.
    """
    return _place(open_volume(path, axis), open_volume(image, axis))


@lru_cache(maxsize=_MAX_OPEN)
def _place(mask: Volume, image: Volume) -> Volume:  # placed masks may keep decoded planes
    return mask.place_on(image)


@lru_cache(maxsize=_MAX_OPEN)
def _open(path: Path, axis: str, stamp: tuple[int, int]) -> Volume:  # noqa: ARG001 - a changed file is opened again
    return find_format(path).read(path, axis)
