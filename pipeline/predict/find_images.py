"""Find the images that `pipeline predict` segments, and name their results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.imaging.decode import ENDINGS
from pipeline.params.data.file_pattern import find_ending
from pipeline.volumes.nifti import NIFTI_ENDINGS
from pipeline.volumes.open_volume import VOLUME_ENDINGS
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

    With `has_volumes`, NIfTI files and TIFFs are volumes.

    Raises:
        PipelineError: There is no image, or two results would have the same name.
    """
    endings = (*ENDINGS, *NIFTI_ENDINGS) if has_volumes else ENDINGS
    relative: dict[Path, Path] = {}
    for path in paths:
        for file in _find_in_folder(path, out, endings) if path.is_dir() else [path]:
            relative.setdefault(file, file.relative_to(path) if path.is_dir() else Path(file.name))
    if not relative:
        raise PipelineError(
            f"{', '.join(map(str, paths))}: no image found; expected files with {', '.join(endings)}, also in "
            "subfolders."
        )
    stems = {file: _strip_ending(name) for file, name in relative.items()}
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
            is_volume=has_volumes and bool(find_ending(file.name, VOLUME_ENDINGS)),
        )
        for file, name in names.items()
    ]


def _strip_ending(name: Path) -> Path:
    """Remove the suffix of a name, or .nii.gz."""
    ending = find_ending(name.name, NIFTI_ENDINGS)
    return name.with_name(name.name[: -len(ending)]) if ending else name.with_suffix("")


def _find_in_folder(folder: Path, out: Path, endings: tuple[str, ...]) -> list[Path]:
    results = out.resolve()
    return sorted(
        path
        for path in folder.rglob("*")
        if find_ending(path.name, endings)
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and results not in path.resolve().parents
    )
