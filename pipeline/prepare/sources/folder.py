"""A folder of the user's own: `images/` and `masks/`, joined by their names."""

from __future__ import annotations

import os
import shlex
from collections import abc
from pathlib import Path, PurePosixPath

from pipeline.errors import PipelineError
from pipeline.imaging.decode import ENDINGS
from pipeline.imaging.mask_decoding import MASK_ENDINGS
from pipeline.params.data.fields import list_values
from pipeline.params.data.image_data import ExternalTestFolder, FolderData
from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.prepare.image_mask_pair import (
    ImageMaskPair,
    InstanceMaskReader,
    MaskReader,
    PairCollection,
    ValueMaskReader,
)
from pipeline.prepare.sample_ids import find_id_problem, image_id
from pipeline.prepare.splitting.read_splits import read_splits
from pipeline.runs import SegmentationClass

IMAGES, MASKS = "images", "masks"  # the folders that a source's folder holds


class ImageFiles:
    """The pictures below a folder by id, and what was found beside them."""

    def __init__(
        self,
        folder: Path,
        kind: str,
        key: str,
        holds: str = f"{IMAGES}/ and {MASKS}/",
        endings: tuple[str, ...] = ENDINGS,
    ) -> None:
        """Look through `folder`/`kind`; `key` is where the folder is from, `holds` what it should hold, for messages.

        Raises:
            PipelineError: There is no such folder, it holds no picture, or a folder is a link.
        """
        top = folder / kind
        if not top.is_dir():
            raise PipelineError(f"{key}: there is no folder {top}. Set {key} to the folder that holds {holds}.")
        self.faults: list[DataIssue] = []
        self.skipped: list[tuple[str, str]] = []
        self.by_id: dict[str, str] = {}  # path relative to the source's folder
        self.unusable: set[str] = set()  # ids that no pair can have
        found: dict[str, list[str]] = {}
        for path in _list_files(top, key):
            name = f"{kind}/{path}"
            if path.suffix.lower() in endings:
                found.setdefault(image_id(str(path.with_suffix(""))), []).append(name)
            else:
                self.skipped.append((name, f"files ending in {path.suffix or 'nothing'} are not read"))
        if not found:
            raise PipelineError(f"{key}: {top} holds no picture; these endings are read: {', '.join(endings)}.")
        self.skipped.sort()  # the order of a listing is the file system's
        for name, several in sorted(found.items()):
            if reason := find_id_problem(name):
                self.faults.append(DataIssue(IssueKind.NAME, name, several[0], reason))
            elif len(several) > 1:
                self.faults.append(DataIssue(IssueKind.DOUBLE, name, " and ".join(sorted(several))))
            if reason or len(several) > 1:
                self.unusable.add(name)
            self.by_id[name] = min(several)


def collect_folder(data: FolderData | ExternalTestFolder, classes: list[SegmentationClass], key: str) -> PairCollection:
    """The pairs of a folder with `images/`, `masks/` and perhaps a list of splits; `key` is its section's.

    Raises:
        PipelineError: A folder or the list is missing, empty or wrong.
    """
    folder = Path(data.path)
    images = ImageFiles(folder, IMAGES, f"{key}.path")
    masks = ImageFiles(folder, MASKS, f"{key}.path", endings=MASK_ENDINGS)
    check_suffix(images.by_id.keys(), masks.by_id.keys(), folder, f"{key}.path")
    lonely = [
        DataIssue(IssueKind.NO_MASK, name, file) for name, file in images.by_id.items() if name not in masks.by_id
    ]
    lonely += [
        DataIssue(IssueKind.NO_IMAGE, name, file) for name, file in masks.by_id.items() if name not in images.by_id
    ]
    names = images.by_id.keys() | masks.by_id.keys()
    usable = (images.by_id.keys() & masks.by_id.keys()) - images.unusable - masks.unusable
    is_trained_on = isinstance(data, FolderData)
    splits = read_splits(folder, data.splits.list, images.by_id, names, usable, key, is_trained_on)
    return PairCollection(
        folder=folder,
        title=f"The images in {folder.resolve().name}",
        credit="",  # the user knows whose pictures these are
        classes=classes,
        pairs={name: ImageMaskPair(name, images.by_id[name], masks.by_id[name]) for name in sorted(usable)},
        masks=_create_reader(data, classes),
        issues=[*lonely, *images.faults, *masks.faults],
        skipped=[*images.skipped, *masks.skipped],
        notices=splits.notices,
        rows=splits.rows,
        split_source=splits.source,
        split_error=splits.mistake,
    )


def check_suffix(images: abc.Collection[str], masks: abc.Collection[str], folder: Path, key: str) -> None:
    """Raise if no mask has the name of an image, but all would without an ending such as _mask.

    Args:
        images: ids.
        masks: ids.
        folder: that both are in.
        key: of the folder, for a message.
    """
    if set(images) & set(masks):
        return
    suffixes = {mask[len(image) :] for mask in masks if (image := _find_longest_prefix(mask, images))}
    suffix = next(iter(suffixes)) if len(suffixes) == 1 else ""
    if suffix and len(masks) > 1 and all(mask.endswith(suffix) for mask in masks):
        raise PipelineError(
            f"{key}: the names of the masks end in {suffix}, those of the images do not. Rename the masks, in bash by\n"
            f"  find {shlex.quote(str(folder / MASKS))} -name {shlex.quote(f'*{suffix}.*')} "
            f'-exec bash -c \'mv "$0" "${{0/{suffix}./.}}"\' {{}} \\;'
        )


def _find_longest_prefix(mask: str, images: abc.Collection[str]) -> str:
    """Find the image whose name a mask's begins with."""
    return next((mask[:end] for end in range(len(mask) - 1, 0, -1) if mask[:end] in images), "")


def _create_reader(data: FolderData | ExternalTestFolder, classes: list[SegmentationClass]) -> MaskReader:
    of_name = {item.name: list_values(item.value) for item in data.classes}
    if isinstance(data, FolderData) and data.instances:
        place = {of_name[item.name][0]: index for index, item in enumerate(classes)}
        return InstanceMaskReader(data.instances.border, (place[0], place[1], place[2]))
    return ValueMaskReader(tuple(of_name[item.name] for item in classes), list_values(data.ignore), data.mask_threshold)


def _list_files(top: Path, key: str) -> list[PurePosixPath]:
    """All files below a folder, relative to it, but hidden ones."""
    files = []
    for root, folders, names in os.walk(top):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if links := [path for path in (Path(root), *(Path(root, name) for name in folders)) if path.is_symlink()]:
            # DVC does not look behind a linked folder, so it would never see that an image in it changed.
            raise PipelineError(f"{key}: {links[0]} is a link; put the folder itself there, or link file by file.")
        files += [
            PurePosixPath(Path(root, name).relative_to(top).as_posix()) for name in names if not name.startswith(".")
        ]
    return files
