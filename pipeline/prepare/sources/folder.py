"""Source: a folder with `images/` and `masks/`."""

from __future__ import annotations

import os
import shlex
from collections import abc
from pathlib import Path, PurePosixPath

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.errors import PipelineError
from pipeline.imaging.decode import ENDINGS
from pipeline.imaging.mask_decoding import MASK_ENDINGS
from pipeline.params.data.fields import list_values
from pipeline.params.data.image_data import ExternalTestFolder, FolderData
from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.prepare.image_mask_pair import ImageMaskPair, InstanceMaskReader, PairCollection, ValueMaskReader
from pipeline.prepare.sample_ids import find_id_problem, image_id
from pipeline.prepare.splitting.read_splits import read_splits

IMAGES, MASKS = "images", "masks"  # subfolders of a source


class ImageFiles:
    """Image files in a subfolder of a source."""

    def __init__(
        self,
        folder: Path,
        kind: str,
        key: str,
        expected: str = f"{IMAGES}/ and {MASKS}/",
        endings: tuple[str, ...] = ENDINGS,
    ) -> None:
        """List the files with supported endings.

        Args:
            folder: Folder of the source.
            kind: Name of the subfolder.
            key: Parameter or command that names the folder, for messages.
            expected: Expected content of the folder, for messages.
            endings: Supported endings of file names.

        Raises:
            PipelineError: The folder does not exist or has no images, or a folder is a symbolic link.
        """
        top = folder / kind
        if not top.is_dir():
            raise PipelineError(f"{key}: the folder {top} does not exist. Set {key} to the folder with {expected}.")
        self.by_id: dict[str, str] = {}  # paths relative to the folder of the source
        self.issues: list[DataIssue] = []  # issues with invalid or ambiguous names
        self.skipped: list[tuple[str, str]] = []  # (file, reason) of other files
        found: dict[str, list[str]] = {}
        for path in _list_files(top, key):
            name = f"{kind}/{path}"
            if path.suffix.lower() in endings:
                found.setdefault(image_id(str(path.with_suffix(""))), []).append(name)
            else:
                self.skipped.append((name, f"files {_describe_ending(path)} are not read"))
        if not found:
            raise PipelineError(f"{key}: {top} contains no images; supported extensions: {', '.join(endings)}.")
        self.skipped.sort()  # os.walk() does not sort files
        for name, several in sorted(found.items()):
            if reason := find_id_problem(name):
                self.issues.append(DataIssue(IssueKind.NAME, name, several[0], reason))
            elif len(several) > 1:
                self.issues.append(DataIssue(IssueKind.DOUBLE, name, " and ".join(sorted(several))))
            self.by_id[name] = min(several)
        self.unusable = {issue.id for issue in self.issues}


def collect_folder(data: FolderData | ExternalTestFolder, classes: list[SegmentationClass], key: str) -> PairCollection:
    """Collect the pairs of a folder with `images/`, `masks/` and an optional split list.

    Args:
        data: Section that describes the folder.
        classes: Classes in the order of their indices.
        key: Key of the section, for messages.

    Raises:
        PipelineError: A folder or the list is missing, empty or invalid.
    """
    folder = Path(data.path)
    images = ImageFiles(folder, IMAGES, f"{key}.path")
    masks = ImageFiles(folder, MASKS, f"{key}.path", endings=MASK_ENDINGS)
    check_suffix(images.by_id.keys(), masks.by_id.keys(), folder, f"{key}.path")
    unpaired = [
        DataIssue(IssueKind.NO_MASK, name, file) for name, file in images.by_id.items() if name not in masks.by_id
    ]
    unpaired += [
        DataIssue(IssueKind.NO_IMAGE, name, file) for name, file in masks.by_id.items() if name not in images.by_id
    ]
    names = images.by_id.keys() | masks.by_id.keys()
    usable = (images.by_id.keys() & masks.by_id.keys()) - images.unusable - masks.unusable
    is_trained_on = isinstance(data, FolderData)
    splits = read_splits(folder, data.splits.split_file, images.by_id, names, usable, key, is_trained_on)
    return PairCollection(
        folder=folder,
        title=f"The images in {folder.resolve().name}",
        credit="",  # known to the user
        classes=classes,
        pairs={name: ImageMaskPair(name, images.by_id[name], masks.by_id[name]) for name in sorted(usable)},
        masks=_create_reader(data, classes),
        issues=[*unpaired, *images.issues, *masks.issues],
        skipped=[*images.skipped, *masks.skipped],
        notices=splits.notices,
        splits=splits,
    )


def check_suffix(images: abc.Collection[str], masks: abc.Collection[str], folder: Path, key: str) -> None:
    """Check that mask names do not differ from image names by a suffix such as _mask.

    Raises:
        PipelineError: All masks have the same suffix. The message contains a command that removes it.
    """
    if set(images) & set(masks):
        return
    suffixes = {mask[len(image) :] for mask in masks if (image := _find_longest_prefix(mask, images))}
    suffix = next(iter(suffixes)) if len(suffixes) == 1 else ""
    if suffix and len(masks) > 1 and all(mask.endswith(suffix) for mask in masks):
        raise PipelineError(
            f"{key}: the mask names end in {suffix}, but the image names do not. Rename the masks, in bash with\n"
            f"  find {shlex.quote(str(folder / MASKS))} -name {shlex.quote(f'*{suffix}.*')} "
            f'-exec bash -c \'mv "$0" "${{0/{suffix}./.}}"\' {{}} \\;'
        )


def _find_longest_prefix(mask: str, images: abc.Collection[str]) -> str:
    """Find the longest image name that a mask name begins with."""
    return next((mask[:end] for end in range(len(mask) - 1, 0, -1) if mask[:end] in images), "")


def _create_reader(
    data: FolderData | ExternalTestFolder, classes: list[SegmentationClass]
) -> InstanceMaskReader | ValueMaskReader:
    by_name = {item.name: list_values(item.mask_value) for item in data.classes}
    values = tuple(by_name[item.name] for item in classes)
    if isinstance(data, FolderData) and data.instances:
        background, inside, border = (values.index((value,)) for value in range(3))
        return InstanceMaskReader(data.instances.border, (background, inside, border))
    return ValueMaskReader(values, list_values(data.ignore_value), data.mask_threshold)


def _describe_ending(path: PurePosixPath) -> str:
    return f"ending in {path.suffix}" if path.suffix else "without an extension"


def _list_files(top: Path, key: str) -> list[PurePosixPath]:
    """List all files below a folder except hidden ones. Paths are relative to the folder."""
    files = []
    for root, folders, names in os.walk(top):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if links := [path for path in (Path(root), *(Path(root, name) for name in folders)) if path.is_symlink()]:
            # DVC does not follow links to folders, so it would not notice changed images.
            raise PipelineError(
                f"{key}: {links[0]} is a link to a folder; put the folder itself there, or link each file."
            )
        files += [
            PurePosixPath(Path(root, name).relative_to(top).as_posix()) for name in names if not name.startswith(".")
        ]
    return files
