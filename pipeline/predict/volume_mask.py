"""Masks of volumes: collected slice by slice, and written with the geometry of the volume."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.atomic_io import atomic_file, remove_leftovers
from pipeline.errors import PipelineError
from pipeline.imaging.errors import ImageError
from pipeline.imaging.tiff_resolution import DESCRIPTION, read_imagej_unit, read_resolution
from pipeline.predict.tiff_mask import BIG_BYTES, Calibration
from pipeline.volumes.nifti import NiftiVolume, write_nifti_mask
from pipeline.volumes.tiff_stack import TiffStack
from pipeline.volumes.volume import Volume


class VolumeMask:
    """Mask of a volume, whose slices are kept in a temporary file until all of them are known. It is a context manager.

    Args:
        volume: The volume.
        palette: Colors of the values, 256 x 3; None if values exceed 255 or are colors.
    """

    def __init__(self, volume: Volume, palette: NDArray[np.uint8] | None) -> None:
        self._volume, self._palette = volume, palette
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._dtype, self._shape = np.dtype(np.uint8), (0, 0)

    def __enter__(self) -> VolumeMask:
        """Return the mask itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the temporary file."""
        self._file.close()

    def add(self, values: NDArray[Any]) -> None:
        """Add the mask of the next slice, H x W or, as colors, H x W x 3.

        Raises:
            ImageError: The values are colors, which NIfTI masks cannot have.
            PipelineError: The disk is full.
        """
        if values.ndim > 2 and isinstance(self._volume, NiftiVolume):
            raise ImageError("is a NIfTI file, but the classes of the run are colors, which a NIfTI mask cannot have")
        self._dtype, self._shape = values.dtype, values.shape
        try:
            self._file.write(np.ascontiguousarray(values).data)
            self._file.flush()
        except OSError as error:
            raise PipelineError(
                f"{tempfile.gettempdir()} cannot hold the mask of a volume: {error.strerror}. Free 1 byte per voxel "
                f"there (2 for mask values above 255, 3 for colors), or set TMPDIR to another folder."
            ) from None

    def write(self, path: Path) -> None:
        """Write the mask of all slices as a NIfTI file or a TIFF, as the volume is."""
        masks = np.memmap(self._file, self._dtype, "r", shape=(self._volume.num_slices, *self._shape))
        if isinstance(self._volume, NiftiVolume):
            write_nifti_mask(path, self._volume, self._volume.restore_order(masks))
        else:
            assert isinstance(self._volume, TiffStack)
            _write_tiff(path, self._volume, masks, self._palette)


def _write_tiff(path: Path, source: TiffStack, masks: NDArray[Any], palette: NDArray[np.uint8] | None) -> None:
    """Write masks (N x H x W or N x H x W x 3) as a TIFF with the axes, the resolution and the format of its stack.

    ImageJ opens only uncompressed stacks without palettes as hyperstacks.
    """
    import tifffile

    remove_leftovers(path)
    calibration = Calibration.from_tags(source.tags)
    description = str(source.tags.valueof(DESCRIPTION, ""))
    has_colors = masks.ndim == 4
    is_imagej = description.startswith("ImageJ=") and masks.nbytes < BIG_BYTES
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
        tifffile.TiffWriter(file, bigtiff=masks.nbytes > BIG_BYTES, ome=is_ome, imagej=is_imagej) as writer,
    ):
        writer.write(
            iter(masks),
            shape=masks.shape,
            dtype=masks.dtype,
            photometric="rgb" if has_colors else "palette" if has_palette else "minisblack",
            colormap=palette.T.astype(np.uint16) * 257 if palette is not None and has_palette else None,
            compression=None if is_imagej else "zlib",
            resolution=read_resolution(source.tags) if is_imagej else calibration.resolution,
            resolutionunit=None if is_imagej else calibration.resolution_unit,
            metadata=metadata,
        )
