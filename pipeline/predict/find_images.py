"""Find the images that `pipeline predict` segments, and name their results."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.errors import PipelineError, raise_error
from pipeline.imaging.decode import ENDINGS
from pipeline.params.data.file_pattern import find_ending
from pipeline.volumes.find_volumes import is_label_inside, is_volume_folder, merge_volumes
from pipeline.volumes.ome_zarr_metadata import ZARR_ENDING
from pipeline.volumes.open_volume import CERTAIN_ENDINGS, VOLUME_ENDINGS
from pipeline.volumes.slice_file import SliceReference, format_slice_name
from pipeline.wording import join_names, pluralize


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


@dataclass
class LeftOut:
    """Paths in folders that are not segmented. Hidden files and folders are not listed."""

    links: set[Path] = field(default_factory=set)  # links to folders, which may be cyclic
    broken: set[Path] = field(default_factory=set)  # links to missing files, pipes and devices with names of images
    others: set[Path] = field(default_factory=set)  # files in formats that are not read, and folders of volumes

    def describe(self) -> Iterator[str]:
        """Describe each kind in a sentence."""
        if self.links:
            what = pluralize(len(self.links), "link to a folder is", "links to folders are")
            yield f"{what} not followed: {join_names(sorted(self.links))}. Give the folders themselves."
        if self.broken:
            what = pluralize(len(self.broken), "path is", "paths are")
            yield f"{what} a link to a missing file, a pipe or a device; skipped: {join_names(sorted(self.broken))}."
        if self.others:
            what = pluralize(len(self.others), "file is in a format", "files are in formats")
            yield f"{what} that this run does not read; left out: {join_names(sorted(self.others))}."


def escape_invalid_bytes(text: str) -> str:
    """Replace the bytes of a file name that are not UTF-8 by backslash escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def find_images(paths: Sequence[Path], out: Path, *, has_volumes: bool = False) -> tuple[list[SourceImage], LeftOut]:
    """Find images: all files in `paths`, and all images in its folders and their subfolders, except results in `out`.

    With `has_volumes`, the files and folders that are volumes are found, too.

    Raises:
        OSError: A folder cannot be read.
        PipelineError: There is no image, or two results would have the same name.
    """
    endings = (*ENDINGS, *CERTAIN_ENDINGS) if has_volumes else ENDINGS
    relative: dict[Path, Path] = {}
    left_out = LeftOut()
    for path in paths:
        if path.is_dir() and not is_volume_folder(path):
            for file in _find_in_folder(path, out, endings, left_out, has_volumes=has_volumes):
                relative.setdefault(file, file.relative_to(path))
        else:
            relative.setdefault(path, Path(path.resolve().name if path.is_dir() else path.name))
    if not relative:
        if any(path.resolve() == out.resolve() for path in paths):
            raise PipelineError(
                f"--out: {out} is the folder of the images, and everything in the folder of the results is left out. "
                f"Choose another folder."
            )
        expected = f"no image found; expected files with {', '.join(endings)}, also in subfolders."
        raise PipelineError("\n".join([f"{', '.join(map(str, paths))}: {expected}", *left_out.describe()]))
    stems = {file: _strip_ending(name, is_folder=file.is_dir()) for file, name in relative.items()}
    times = Counter(stems.values())
    names = {file: name if times[stems[file]] > 1 else stems[file] for file, name in relative.items()}
    if duplicates := [name for name, count in Counter(names.values()).items() if count > 1]:
        raise PipelineError(
            f"Several images have the name {duplicates[0]}. Predict one folder at a time, each with its own --out."
        )
    images = [
        SourceImage(
            file,
            relative[file].as_posix(),
            name.as_posix(),
            is_volume=has_volumes and (file.is_dir() or bool(find_ending(file.name, VOLUME_ENDINGS))),
        )
        for file, name in names.items()
    ]
    return images, left_out


def _strip_ending(name: Path, *, is_folder: bool) -> Path:
    """Remove the suffix of a name, or .nii.gz. The name of a DICOM series has none."""
    ending = find_ending(name.name, CERTAIN_ENDINGS)
    if ending or is_folder:
        return name.with_name(name.name[: len(name.name) - len(ending)])
    return name.with_suffix("")


def _find_in_folder(
    folder: Path, out: Path, endings: tuple[str, ...], left_out: LeftOut, *, has_volumes: bool
) -> list[Path]:
    """Find the images and volumes in a folder, sorted, and add the other paths to `left_out`."""
    top, results = folder.resolve(), out.resolve()
    if results == top:
        return []
    found: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=raise_error):
        here = Path(parent)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and (here / name).resolve() != results)
        listed = sorted(name for name in names if not name.startswith("."))
        volumes = set[str]()
        if has_volumes:
            merged = set(merge_volumes(here, folders, listed))
            volumes = {name for name in merged - set(listed) if not is_label_inside(name)}
            listed = [name for name in listed if name in merged]
        else:
            stores = [name for name in folders if name.lower().endswith(ZARR_ENDING)]
            folders[:] = [name for name in folders if name not in stores]
            left_out.others.update(here / name for name in stores)
        left_out.links.update(here / name for name in folders if name not in volumes and (here / name).is_symlink())
        found += [here / name for name in volumes]
        for path in (here / name for name in listed):
            if not find_ending(path.name, endings):
                left_out.others.add(path)
            elif path.is_file():
                found.append(path)
            else:
                left_out.broken.add(path)
    has_results = top in results.parents
    return sorted(path for path in found if not has_results or results not in path.resolve().parents)
