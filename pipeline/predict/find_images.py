"""Find the images that `pipeline predict` segments, and name their results."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.errors import PipelineError, raise_error
from pipeline.imaging.decode import ENDINGS
from pipeline.params.data.file_pattern import find_ending
from pipeline.volumes.find_volumes import is_label_inside, is_volume_folder, merge_volumes
from pipeline.volumes.open_volume import CERTAIN_ENDINGS, VOLUME_ENDINGS
from pipeline.volumes.slice_file import SliceReference, format_slice_name


@dataclass(frozen=True)
class SourceImage:
    """An image file, a volume or a slice of a volume to segment."""

    path: Path  # that of the volume for a slice
    relative: str  # path relative to the given folder, with / between folders; the file name if the file was given
    name: str  # name of its results: `relative` without suffix, or with it if several images would have the same name
    is_volume: bool = False
    slice: SliceReference | None = None  # None unless it is a slice

    def __str__(self) -> str:
        """Return the path, or the reference to the slice, with valid UTF-8; file names may contain other bytes."""
        return escape_invalid_bytes(str(self.slice or self.path))

    def select_slice(self, axis: str, index: int, num_slices: int) -> SourceImage:
        """Return a slice of the volume, whose results have the index in their name."""
        reference = SliceReference(str(self.path), axis, index)
        return replace(self, name=format_slice_name(self.name, index, num_slices), is_volume=False, slice=reference)


def escape_invalid_bytes(text: str) -> str:
    """Replace the bytes of a file name that are not UTF-8 by backslash escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def find_images(paths: Sequence[Path], out: Path, *, has_volumes: bool = False) -> list[SourceImage]:
    """Find images: all files in `paths`, and all images in its folders and their subfolders, except results in `out`.

    With `has_volumes`, the files and folders that are volumes are found, too.

    Raises:
        PipelineError: There is no image, or two results would have the same name.
    """
    endings = (*ENDINGS, *CERTAIN_ENDINGS) if has_volumes else ENDINGS
    relative: dict[Path, Path] = {}
    for path in paths:
        if path.is_dir() and not is_volume_folder(path):
            for file in _find_in_folder(path, out, endings, has_volumes=has_volumes):
                relative.setdefault(file, file.relative_to(path))
        else:
            relative.setdefault(path, Path(path.resolve().name if path.is_dir() else path.name))
    if not relative:
        raise PipelineError(
            f"{', '.join(map(str, paths))}: no image found; expected files with {', '.join(endings)}, also in "
            "subfolders."
        )
    stems = {file: _strip_ending(name, is_folder=file.is_dir()) for file, name in relative.items()}
    times = Counter(stems.values())
    names = {file: name if times[stems[file]] > 1 else stems[file] for file, name in relative.items()}
    if duplicates := [name for name, count in Counter(names.values()).items() if count > 1]:
        raise PipelineError(
            f"Several images have the name {duplicates[0]}. Predict one folder at a time, each with its own --out."
        )
    return [
        SourceImage(
            file,
            relative[file].as_posix(),
            name.as_posix(),
            is_volume=has_volumes and (file.is_dir() or bool(find_ending(file.name, VOLUME_ENDINGS))),
        )
        for file, name in names.items()
    ]


def _strip_ending(name: Path, *, is_folder: bool) -> Path:
    """Remove the suffix of a name, or .nii.gz. The name of a DICOM series has none."""
    ending = find_ending(name.name, CERTAIN_ENDINGS)
    if ending or is_folder:
        return name.with_name(name.name[: len(name.name) - len(ending)])
    return name.with_suffix("")


def _find_in_folder(folder: Path, out: Path, endings: tuple[str, ...], *, has_volumes: bool) -> list[Path]:
    results = out.resolve()
    found = []
    for parent, folders, names in os.walk(folder, onerror=raise_error):
        folders[:] = [name for name in folders if not name.startswith(".") and Path(parent, name).resolve() != results]
        files = {name for name in names if find_ending(name, endings) and Path(parent, name).is_file()}
        if has_volumes:
            merged = merge_volumes(Path(parent), folders, names)
            files = (files & set(merged)) | {name for name in merged if name not in names and not is_label_inside(name)}
        found += [Path(parent, name) for name in files if not name.startswith(".")]
    return sorted(path for path in found if results not in path.resolve().parents)
