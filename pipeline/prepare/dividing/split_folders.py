"""Read the splits of images from the folders they are in: images/train, images/val, images/test."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pipeline.errors import PipelineError
from pipeline.params.data.image_data import SplitList
from pipeline.prepare.dividing.split_list import TRAINVAL, USUAL, VALTEST, Row, read_list
from pipeline.prepare.names import listed

# With a year or a word behind it, as in COCO's train2017 or in test_set.
_SUFFIX = r"([ _-]?(set|split|images|imgs|data|\d+))?"
_NAMES = {
    "train": re.compile(rf"(train|training|trn){_SUFFIX}", re.IGNORECASE),
    "validation": re.compile(rf"(val|valid|validate|validation|dev|eval|evaluation){_SUFFIX}", re.IGNORECASE),
    "test": re.compile(rf"(test|testing|tst|hold[ _-]?out){_SUFFIX}", re.IGNORECASE),
}


@dataclass(frozen=True)
class WrittenSplits:
    """The split and the group of each image, from a list or from its folder.

    Attributes:
        rows: by id; None if there is neither a list nor a folder that is named like a split.
        source: the list or the folder, for messages; the place for a list, if there is none.
        notices: how folders were taken.
        mistake: why the splits cannot be read; empty if they can.
    """

    rows: Mapping[str, Row] | None
    source: str
    notices: tuple[str, ...] = ()
    mistake: str = ""


def read_splits(
    folder: Path,
    asked: SplitList | None,
    images: Mapping[str, str],
    ids: Collection[str],
    usable: Collection[str],
    key: str,
    needs_training: bool = True,
) -> WrittenSplits:
    """Read the splits of images from a list, and those it leaves empty from folders that are named like splits.

    A mistake in them is returned, not raised: it is reported together with the faults of the files.

    Args:
        folder: that holds images/ and the list.
        asked: the list; None for splits.csv, if it is there.
        images: path by id.
        ids: that may be in the list.
        usable: ids that must be in it.
        key: of the section, for messages.
        needs_training: whether images are trained on, so that a folder for training must be there.
    """
    file = folder / (asked or USUAL).file
    try:
        rows = read_list(folder, asked, ids, usable, f"{key}.splits.list")
        undecided = {name: images[name] for name in sorted(usable) if rows is None or not rows[name].split}
        where = USUAL.file if rows is None else f"their splits into {file}"
        by_folder = read_split_folders(undecided, f"{key}.path", where, needs_training)
    except PipelineError as error:
        return WrittenSplits(None, str(file), mistake=str(error))
    if by_folder is None:
        only_train = bool(undecided) and all(map(_splits_of, undecided.values()))
        return WrittenSplits(rows, str(file), (_describe_training_folder(key),) if only_train else ())
    notice = _describe_split_folders(by_folder, key)
    if rows is None:
        return WrittenSplits(by_folder, str(folder / "images"), (f"{notice} A splits.csv would replace them.",))
    merged = {**rows, **{name: replace(rows.get(name, row), split=row.split) for name, row in by_folder.items()}}
    return WrittenSplits(merged, str(file), (f"{notice} They decide where {file} gives no split.",))


def read_split_folders(
    images: Mapping[str, str], key: str, where: str = USUAL.file, needs_training: bool = True
) -> dict[str, Row] | None:
    """Read which split each image is in from the names of its folders.

    Without a folder for the test, that for validation is divided into validation and test; without one for validation,
    a share of the training folder is for validation.

    Args:
        images: path by id.
        key: of the folder that they are in, for messages.
        where: what to write instead, for messages.
        needs_training: whether a folder for training must be there.

    Returns:
        A row for each image; None if no folder is named like a split, or all images are in one for training.

    Raises:
        PipelineError: Some images are in folders that are named like splits and others in none or several, or there
            are folders for validation or test and none for training.
    """
    named_by = {name: _splits_of(path) for name, path in images.items()}
    there = set().union(*named_by.values())
    if not there or set(named_by.values()) == {frozenset({"train"})}:
        return None
    folders = sorted({str(PurePosixPath(path).parent) for name, path in images.items() if named_by[name]})
    named = f"{key}: {listed(folders)} {'is' if len(folders) == 1 else 'are'} named like splits, but"
    if outside := [path for name, path in images.items() if len(named_by[name]) != 1]:
        raise PipelineError(
            f"{named} {len(outside)} of {len(images)} images are not in one such folder: {listed(outside)}. Move "
            f"these, rename the folders, or write {where}."
        )
    if needs_training and "train" not in there:
        raise PipelineError(f"{named} no folder is named train. Add it, rename the folders, or write {where}.")
    meaning = {
        "train": "train" if "validation" in there else TRAINVAL,
        "validation": "validation" if "test" in there else VALTEST,
        "test": "test",
    }
    return {name: Row(meaning[split]) for name, splits in named_by.items() for split in splits}


def _describe_split_folders(rows: Mapping[str, Row], key: str) -> str:
    """Say in a sentence how folders that are named like splits were taken."""
    there = {row.split for row in rows.values()}
    if TRAINVAL in there:
        rest = f"; a share of the training folder is for validation ({key}.splits.validation)"
    elif VALTEST in there:
        rest = "; there is none for the test, so half of the validation folder is the test"
    else:
        rest = ""
    return f"The folders in images/ are named like splits, and are the splits{rest}."


def _describe_training_folder(key: str) -> str:
    """Say in a sentence that the only folder named like a split is divided."""
    return (
        f"All images are in folders that are named for training, and are divided into training, validation and test "
        f"({key}.splits). If there are images for validation or test elsewhere, move them to images/val and "
        f"images/test."
    )


def strip_split_folders(path: str) -> str:
    """Leave out the folders of a path that are named like splits."""
    *folders, name = PurePosixPath(path).parts
    return "/".join([*(folder for folder in folders if _named(folder) is None), name])


def _splits_of(path: str) -> frozenset[str]:
    """Find the splits that folders of a path name; several different ones contradict each other."""
    return frozenset(split for folder in PurePosixPath(path).parts[:-1] if (split := _named(folder)) is not None)


def _named(folder: str) -> str | None:
    return next((split for split, name in _NAMES.items() if name.fullmatch(folder)), None)
