"""Find folders that are volumes: OME-Zarr images, their labels, and DICOM series."""

from __future__ import annotations

from pathlib import Path, PurePath

from pipeline.errors import PipelineError
from pipeline.imaging.errors import ImageError
from pipeline.volumes.dicom_header import list_dicom_files, read_dicom_file
from pipeline.volumes.ome_zarr_metadata import LABELS, ZARR_ENDING, list_labels

_MAX_READ = 20  # files that are opened to find one with a valid header


def is_volume_folder(path: Path) -> bool:
    """Return whether a folder is one volume."""
    return path.is_dir() and (path.name.lower().endswith(ZARR_ENDING) or bool(_list_series(path)))


def merge_volumes(parent: Path, folders: list[str], files: list[str]) -> list[str]:
    """Replace the contents of volumes by the volumes in what `os.walk` lists.

    Args:
        parent: The listed folder.
        folders: Names of its folders. Those that contain nothing but a volume are removed, so that `os.walk` leaves
            them out. DICOM series stay, because there may be masks next to their files.
        files: Names of its files.

    Returns:
        Names of the files that are not slices of a series, and of the volumes, relative to the folder. They include
        the label images inside OME-Zarr images, such as scan.zarr/labels/cells.
    """
    slices = {path.name for path in _list_series(parent)}
    found = [name for name in files if name not in slices]
    for name in list(folders):
        if name.lower().endswith(ZARR_ENDING):
            folders.remove(name)
            found += [name, *(f"{name}/{LABELS}/{label}" for label in list_labels(parent / name))]
        elif _list_series(parent / name):
            found.append(name)
    return found


def is_label_inside(path: PurePath | str) -> bool:
    """Return whether a path is inside the folder of an OME-Zarr image."""
    return f"{ZARR_ENDING}/" in str(path).lower()


def _list_series(folder: Path) -> list[Path]:
    """List the DICOM files of a folder if they are the slices of a series. Multi-frame files are volumes themselves."""
    paths = list_dicom_files(folder)
    for path in paths[:_MAX_READ]:
        try:
            file = read_dicom_file(path)
        except (ImageError, OSError):
            continue
        except PipelineError:  # a package is missing, which matters only if the volume is used
            break
        if not file.is_directory:
            return [] if file.is_multi_frame and len(paths) > 1 else paths
    return paths
