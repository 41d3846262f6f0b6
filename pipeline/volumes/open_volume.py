"""Open volumes by the endings of their names, and keep the last ones open."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pipeline.volumes import nifti, tiff_stack
from pipeline.volumes.nifti import NIFTI_ENDINGS, NiftiVolume
from pipeline.volumes.tiff_stack import TIFF_ENDINGS, TiffStack
from pipeline.volumes.volume import Volume

VOLUME_ENDINGS = (*NIFTI_ENDINGS, *TIFF_ENDINGS)
_MAX_OPEN = 4  # the volumes of images and masks whose slices are read one after another


def is_nifti(path: Path | str) -> bool:
    """Return whether a file is a NIfTI file, judging by its name."""
    return str(path).lower().endswith(NIFTI_ENDINGS)


def list_axes(path: Path | str) -> tuple[str, ...]:
    """List the axes along which a file may be cut into slices, judging by its name."""
    return nifti.AXES if is_nifti(path) else tiff_stack.AXES


def open_volume(path: Path, axis: str) -> Volume:
    """Open a volume along an axis: x, y or z for NIfTI; z or t for TIFF. The last few volumes are kept open.

    Raises:
        ImageError: The file is not a volume, or has no such axis.
        OSError: The file cannot be read.
        PipelineError: A package is missing.
    """
    status = path.stat()
    return _open(path, axis, (status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=_MAX_OPEN)
def _open(path: Path, axis: str, stamp: tuple[int, int]) -> Volume:  # noqa: ARG001 - a changed file is opened again
    return NiftiVolume(path, axis) if is_nifti(path) else TiffStack(path, axis)
