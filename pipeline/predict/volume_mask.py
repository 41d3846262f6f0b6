"""Write the masks of volumes, slice by slice, with the geometry of the volume."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.atomic_io import atomic_file, remove_leftovers
from pipeline.errors import PipelineError
from pipeline.imaging.tiff_resolution import DESCRIPTION, read_imagej_unit, read_resolution
from pipeline.predict.tiff_mask import BIG_BYTES, Calibration
from pipeline.volumes.nifti import write_nifti_mask
from pipeline.volumes.ome_zarr import OmeZarr, write_ome_zarr_mask
from pipeline.volumes.spatial_volume import SpatialVolume
from pipeline.volumes.tiff_stack import TiffStack
from pipeline.volumes.volume import Volume


def write_volume_mask(
    path: Path, volume: Volume, slices: Iterator[NDArray[Any]], palette: NDArray[np.uint8] | None
) -> None:
    """Write the mask of a volume: as NIfTI for volumes in patient coordinates, otherwise in the format of the volume.

    Args:
        path: The file or folder to write.
        volume: The volume.
        slices: Mask values of all slices, H x W each or, only for a TIFF, H x W x 3.
        palette: Colors of the values, 256 x 3; None if values exceed 255 or are colors.
    """
    if isinstance(volume, SpatialVolume):
        with tempfile.TemporaryFile() as file:
            write_nifti_mask(path, volume, volume.restore_order(_map_slices(file, slices, volume.num_slices)))
    elif isinstance(volume, OmeZarr):
        write_ome_zarr_mask(path, volume, slices, palette)
    else:
        assert isinstance(volume, TiffStack)
        _write_tiff(path, volume, slices, palette)


def _map_slices(file: Any, slices: Iterator[NDArray[Any]], num_slices: int) -> NDArray[Any]:
    """Write slices to a temporary file, and map them into memory as an array, N x H x W."""
    for values in slices:
        try:
            file.write(np.ascontiguousarray(values).data)
            file.flush()
        except OSError as error:
            raise PipelineError(
                f"{tempfile.gettempdir()} cannot hold the mask of a volume: {error.strerror}. Free 2 bytes per voxel "
                f"there (3 for mask values above 255), or set TMPDIR to another folder."
            ) from None
    return np.memmap(file, values.dtype, "r", shape=(num_slices, *values.shape))


def _write_tiff(
    path: Path, source: TiffStack, slices: Iterator[NDArray[Any]], palette: NDArray[np.uint8] | None
) -> None:
    """Write slices (H x W or H x W x 3 each) as a TIFF with the axes, the resolution and the format of its stack.

    ImageJ opens only uncompressed stacks without palettes as hyperstacks.
    """
    import tifffile

    remove_leftovers(path)
    calibration = Calibration.from_tags(source.tags)
    description = str(source.tags.valueof(DESCRIPTION, ""))
    first = next(slices)
    num_bytes, has_colors = source.num_slices * first.nbytes, first.ndim == 3
    is_imagej = description.startswith("ImageJ=") and num_bytes < BIG_BYTES
    is_ome = calibration.ome is not None
    axes = f"{source.slice_axis}YX" + "S" * has_colors
    metadata: dict[str, Any] | None = None
    if is_imagej:
        spacing = re.search(r"^spacing=([0-9.eE+-]+)$", description, re.MULTILINE)
        unit = read_imagej_unit(description)
        metadata = {
            "axes": axes,
            **({"unit": unit} if unit else {}),
            **({"spacing": float(spacing[1])} if spacing else {}),
        }
    elif is_ome:
        metadata = {"axes": axes, **(calibration.ome or {})}
    has_palette = palette is not None and not is_imagej
    with (
        atomic_file(path) as file,
        tifffile.TiffWriter(file, bigtiff=num_bytes > BIG_BYTES, ome=is_ome, imagej=is_imagej) as writer,
    ):
        writer.write(
            chain([first], slices),
            shape=(source.num_slices, *first.shape),
            dtype=first.dtype,
            photometric="rgb" if has_colors else "palette" if has_palette else "minisblack",
            colormap=palette.T.astype(np.uint16) * 257 if palette is not None and has_palette else None,
            compression=None if is_imagej else "zlib",
            resolution=read_resolution(source.tags) if is_imagej else calibration.resolution,
            resolutionunit=None if is_imagej else calibration.resolution_unit,
            metadata=metadata,
        )
