"""Read untrusted files: images and masks, and those that are only a part of a file."""

from __future__ import annotations

from pathlib import Path

from pipeline.imaging.errors import ImageError
from pipeline.prepare.image_tables.cell import CellReference, read_cell
from pipeline.scenes.geotiff import open_geotiff
from pipeline.scenes.tile_file import TileReference, read_tile
from pipeline.volumes.open_volume import open_mask, open_volume
from pipeline.volumes.slice_file import IntensityWindow, SliceReference, read_slice

MAX_BYTES = 1_000_000_000  # maximum file size


def read_limited(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Read an untrusted file with a size limit.

    Raises:
        OSError: The file cannot be read, is too large, or is a pipe, a device or a folder.
    """
    if not path.is_file() and path.exists():
        raise OSError(0, "is not a file, but a pipe, a device or a folder")
    if (size := path.stat().st_size) > max_bytes:
        raise OSError(0, f"has {size:,} bytes; the limit is {max_bytes:,}")
    return path.read_bytes()


def parse_reference(text: str) -> TileReference | CellReference | SliceReference | None:
    """Parse a reference to a tile of a scene, a cell of a table, or a slice of a volume.

    Return None for the path of a file.
    """
    return TileReference.parse(text) or CellReference.parse(text) or SliceReference.parse(text)


def read_file(folder: Path, file: str, window: IntensityWindow | None = None) -> bytes:
    """Read the content of an untrusted image or mask.

    Args:
        folder: Folder of the source.
        file: Path relative to the folder, or a reference as text, see `parse_reference`.
        window: Mapping of the values of a slice or tile to gray values. It is None for masks, and does not apply to
            files.

    Raises:
        OSError: The file cannot be read; see `read_limited`.
        ImageError: The slice, tile or cell cannot be read.
    """
    reference = parse_reference(file)
    if reference is None:
        return read_limited(folder / file)
    if isinstance(reference, TileReference):
        return read_tile(open_geotiff(folder / reference.file), reference, window)
    if isinstance(reference, CellReference):
        return read_cell(folder, reference, MAX_BYTES)
    path, axis = folder / reference.file, reference.axis
    volume = open_mask(path, axis, folder / reference.image) if reference.image else open_volume(path, axis)
    return read_slice(volume, reference.index, window)


def describe_error(error: OSError | ImageError) -> str:
    """Describe why a file cannot be read, as the detail of an issue."""
    return str(error) if isinstance(error, ImageError) else error.strerror or type(error).__name__
