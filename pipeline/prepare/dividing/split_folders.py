"""Read the splits of images from the folders they are in: images/train, images/val, images/test."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.errors import PipelineError
from pipeline.params.pictures import SplitList
from pipeline.prepare.dividing.split_list import TRAINVAL, USUAL, VALTEST, Row, read_list
from pipeline.prepare.names import listed

# With a year or a word behind it, as in COCO's train2017 or in test_set.
_NAMES = {
    "train": re.compile(r"(train|training|trn)([_-]?(set|images|data|\d+))?", re.IGNORECASE),
    "validation": re.compile(r"(val|valid|validation|dev)([_-]?(set|images|data|\d+))?", re.IGNORECASE),
    "test": re.compile(r"(test|testing|tst)([_-]?(set|images|data|\d+))?", re.IGNORECASE),
}


@dataclass(frozen=True)
class WrittenSplits:
    """What a list or the folders say of each image.

    Attributes:
        rows: by id; None where there is neither a list nor a folder that is named like a split.
        source: the list or the folder, for messages; where the list would be, if there is none.
        notices: how folders were taken.
    """

    rows: Mapping[str, Row] | None
    source: str
    notices: tuple[str, ...] = ()


def read_splits(
    folder: Path,
    asked: SplitList | None,
    images: Mapping[str, str],
    ids: Collection[str],
    usable: Collection[str],
    key: str,
) -> WrittenSplits:
    """Read the splits of images from a list, or else from folders that are named like splits.

    Args:
        folder: that holds images/ and the list.
        asked: the list; None for splits.csv, if it is there.
        images: path by id.
        ids: that may be in the list.
        usable: ids that must be in it.
        key: of the section, for messages.

    Raises:
        PipelineError: As `read_list` and `read_split_folders` do.
    """
    rows = read_list(folder, asked, ids, usable, f"{key}.splits.list")
    by_folder = None if rows is not None else read_split_folders(images, f"{key}.path")
    if by_folder is None:
        return WrittenSplits(rows, str(folder / (asked or USUAL).file))
    return WrittenSplits(by_folder, str(folder / "images"), (describe_split_folders(by_folder),))


def read_split_folders(images: Mapping[str, str], key: str) -> dict[str, Row] | None:
    """Read which split each image is in from the names of its folders.

    Without a folder for the test, that for validation is divided into validation and test; without one for validation,
    a share of the training folder is for validation.

    Args:
        images: path by id.
        key: of the folder that they are in, for messages.

    Returns:
        A row for each image; None where no folder, or only one for training, is named like a split.

    Raises:
        PipelineError: Some images are in folders that are named like splits and others are not, or there are folders
            for validation or test and none for training.
    """
    found = {name: _split_of(path) for name, path in images.items()}
    there = set(found.values()) - {None}
    if not there - {"train"}:
        return None
    folders = sorted({str(PurePosixPath(path).parent) for name, path in images.items() if found[name]})
    if outside := [path for name, path in images.items() if found[name] is None]:
        raise PipelineError(
            f"{key}: {', '.join(folders)} are named like splits, but {len(outside)} of {len(images)} images are in "
            f"none of them: {listed(outside)}. Move these, rename the folders, or write splits.csv."
        )
    if "train" not in there:
        raise PipelineError(
            f"{key}: {', '.join(folders)} are named like splits, but no folder is named train. Add it, rename the "
            f"folders, or write splits.csv."
        )
    meaning = {
        "train": "train" if "validation" in there else TRAINVAL,
        "validation": "validation" if "test" in there else VALTEST,
        "test": "test",
    }
    return {name: Row(meaning[split]) for name, split in found.items() if split is not None}


def describe_split_folders(rows: Mapping[str, Row]) -> str:
    """Say in a sentence how folders that are named like splits were taken."""
    there = {row.split for row in rows.values()}
    if TRAINVAL in there:
        rest = "; a share of the training folder is for validation (data.splits.validation)"
    elif VALTEST in there:
        rest = "; there is none for the test, so half of the validation folder is the test"
    else:
        rest = ""
    return f"The folders in images/ are named like splits, and are the splits{rest}. A splits.csv would replace them."


def strip_split_folders(path: str) -> str:
    """Leave out the folders of a path that are named like splits."""
    *folders, name = PurePosixPath(path).parts
    return "/".join([*(folder for folder in folders if _named(folder) is None), name])


def _split_of(path: str) -> str | None:
    """The split that one folder of a path names; None where none, or several different ones, do."""
    splits = {_named(folder) for folder in PurePosixPath(path).parts[:-1]} - {None}
    return splits.pop() if len(splits) == 1 else None


def _named(folder: str) -> str | None:
    return next((split for split, name in _NAMES.items() if name.fullmatch(folder)), None)
