"""Read the splits and groups of images from `splits.csv`, another list, or folders named like splits."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pipeline.artifacts.prepared_data import SPLITS
from pipeline.errors import PipelineError
from pipeline.params.data.image_data import SplitFile
from pipeline.prepare.image_mask_pair import SplitRow, WrittenSplits
from pipeline.prepare.sample_ids import to_image_id
from pipeline.wording import MAX_NAMES, find_closest, join_names

# This list is next to images/. The columns group and fold are optional.
DEFAULT_LIST = SplitFile(file="splits.csv", id="id", split="split", group="group", fold="fold")
TRAINVAL = "trainval"  # training or validation, in data sets with an official test split
VALTEST = "valtest"  # validation or test, if the only split folders are train and val

# The names may be followed by a year or a word, as in train2017 or test_set.
_SUFFIX = r"([ _-]?(set|split|images|imgs|data|v?\d+))?"
_FOLDER_NAMES = {
    "train": re.compile(rf"(train|training|trn){_SUFFIX}|(?-i:Tr)", re.IGNORECASE),  # imagesTr of nnU-Net
    "validation": re.compile(rf"(val|valid|validate|validation|dev|eval|evaluation){_SUFFIX}", re.IGNORECASE),
    "test": re.compile(rf"(test|testing|tst|hold[ _-]?out){_SUFFIX}|(?-i:Ts)", re.IGNORECASE),
}


def read_split_list(
    folder: Path, declared: SplitFile | None, ids: Collection[str], usable: Collection[str], key: str
) -> WrittenSplits:
    """Read the split and the group of each image from a list.

    Args:
        folder: See `read_splits`.
        declared: See `read_splits`.
        ids: See `read_splits`.
        usable: See `read_splits`.
        key: Key of the list in `params.yaml`, for messages.

    Returns:
        The splits, without rows if no list is declared and `splits.csv` does not exist.

    Raises:
        PipelineError: The list, a column or an image is missing, a column is repeated, or a line has too many values,
            an unknown or repeated image or an unknown split.
    """
    names = declared or DEFAULT_LIST
    path = folder / names.file
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # -sig: spreadsheets write a byte order mark
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            lines = [(reader.line_num, row) for row in reader]
    except FileNotFoundError:
        if declared is None:
            return WrittenSplits(None, str(path))
        raise PipelineError(
            f"{key}.file: {path} does not exist. Write the path of the list relative to {folder}, or write {key}: null "
            f"to use {DEFAULT_LIST.file} if it exists, and a hash otherwise."
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PipelineError(f"{path} cannot be read ({error}). Save it as a CSV file in UTF-8.") from None
    _check_columns(path, columns, declared, key)
    rows: dict[str, SplitRow] = {}
    mistakes = []
    for number, line in lines:
        written, *values = (
            (line[column] or "").strip() if column in columns else ""
            for column in (names.id, names.split, names.group, names.fold)
        )
        name, row = to_image_id(written), SplitRow(*values)
        if any(value.strip() for value in line.get(None) or ()):  # values without a column
            mistakes.append(f"{path}, line {number}: has more values than the {len(columns)} columns of line 1.")
        elif mistake := _find_row_problem(written, name, row, ids, rows):
            mistakes.append(f"{path}, line {number}: {mistake}")
        rows.setdefault(name, row)
    if mistakes:
        more = [f"{path}: and {len(mistakes) - MAX_NAMES} more invalid lines."] if len(mistakes) > MAX_NAMES else []
        raise PipelineError("\n".join(mistakes[:MAX_NAMES] + more))
    if missing := sorted(set(usable) - set(rows)):
        raise PipelineError(
            f"{path} has no line for {len(missing)} of {len(usable)} images: {join_names(missing)}. Add a line for "
            f"each; if the split is empty, it is assigned by a hash of the name."
        )
    return WrittenSplits(rows, str(path), () if declared else _describe_unused(path, columns, key))


def _describe_unused(path: Path, columns: Sequence[str], key: str) -> tuple[str, ...]:
    """Describe the columns of `splits.csv` that have no meaning, such as Group instead of group."""
    known = _list_columns(DEFAULT_LIST)
    unused = [column for column in columns if column and column not in known]
    if not unused:
        return ()
    missing = set(known) - set(columns)
    hints = [f"Did you mean '{near}' by '{column}'?" for column in unused if (near := find_closest(column, missing))]
    if not hints and DEFAULT_LIST.group in missing:
        hints = [f"If one of them has groups, such as patients, declare it in {key}.group."]
    return (" ".join([f"{path} has columns that are not used: {join_names(unused)}.", *hints]),)


def _list_columns(names: SplitFile) -> list[str]:
    return [name for name in (names.id, names.split, names.group, names.fold) if name]


def _check_columns(path: Path, columns: Sequence[str], declared: SplitFile | None, key: str) -> None:
    if repeated := [name for name in _list_columns(declared or DEFAULT_LIST) if columns.count(name) > 1]:
        raise PipelineError(
            f"{path}, line 1: has several columns named {join_names(repeated)}. Remove or rename all but one."
        )
    if declared is None:
        if not {DEFAULT_LIST.id, DEFAULT_LIST.split} <= set(columns):
            raise PipelineError(
                f"{path}, line 1: the columns must be id,split or id,split,group, separated by commas, but are "
                f"{','.join(columns) or 'missing'}. If the columns have other names, declare them in {key}."
            )
        return
    mistakes, present = [], ", ".join(columns) or "none"
    for role in ("id", "split", "group", "fold"):
        name = getattr(declared, role)
        if name is not None and name not in columns:
            hint = f" Did you mean '{near}'?" if (near := find_closest(name, columns)) else ""
            mistakes.append(f"{key}.{role}: {path} has no column '{name}'; its columns are {present}.{hint}")
    if mistakes:
        raise PipelineError("\n".join(mistakes))


def _find_row_problem(
    written: str, name: str, row: SplitRow, ids: Collection[str], rows: Mapping[str, SplitRow]
) -> str:
    if name not in ids:
        return (
            f"there is no image '{written}'; an id is the path below images/, or the part that the wildcards of "
            f"data.images match, without the extension."
        )
    if name in rows:
        return f"'{written}' is repeated; remove all but one of its lines, because an image is in one split."
    if row.split not in (*SPLITS, TRAINVAL, ""):
        return (
            f"the split must be one of {', '.join((*SPLITS, TRAINVAL))}, or empty to assign it by a hash, but is "
            f"'{row.split}'."
        )
    if set(row.group) & set(";="):
        return f"the group '{row.group}' must not contain ; or =."
    return ""


def read_splits(
    folder: Path,
    declared: SplitFile | None,
    images: Mapping[str, str],
    names: Mapping[str, str],
    ids: Collection[str],
    usable: Collection[str],
    key: str,
    needs_training: bool = True,
    kind: str = "folder",
) -> WrittenSplits:
    """Read the splits of images from a list or, if there is none, from folders named like splits.

    Mistakes are returned instead of raised, because they are reported together with file issues.

    Args:
        folder: Folder with images/ and the list.
        declared: Description of the list; None for splits.csv, if it exists.
        images: Paths of the images by id.
        names: Names that the ids are made from, with / after folders, which may be named like splits.
        ids: Ids that the list may contain.
        usable: Ids that the list must contain.
        key: Key of the section, for messages.
        needs_training: Whether a training folder is required if folders are named like splits.
        kind: What the folders in the names are, for notices: `folder` or `file`.
    """
    file = folder / (declared or DEFAULT_LIST).file
    try:
        listed = read_split_list(folder, declared, ids, usable, f"{key}.splits.split_file")
        rows = listed.rows
        undecided = {name: images[name] for name in sorted(usable) if rows is None or not rows[name].split}
        where = DEFAULT_LIST.file if rows is None else f"their splits into {file}"
        by_folder = read_split_folders(undecided, f"{key}.path", where, needs_training, names)
    except PipelineError as error:
        return WrittenSplits(None, str(file), error=str(error))
    if by_folder is None:
        elsewhere = "move them to images/val and images/test" if kind == "folder" else "copy their files to the folder"
        notice = (
            f"All images are in training {kind}s, and are split into training, validation and test ({key}.splits). If "
            f"there are validation or test images elsewhere, {elsewhere}."
        )
        only_train = bool(undecided) and all(find_folder_splits(names[name]) for name in undecided)
        return replace(listed, notices=(*listed.notices, *([notice] if only_train else [])))
    notice = _describe_split_folders(by_folder, key, kind)
    if rows is None:
        return WrittenSplits(by_folder, str(folder), (f"{notice} A splits.csv would override them.",))
    merged = {**rows, **{name: replace(rows.get(name, row), split=row.split) for name, row in by_folder.items()}}
    notice = f"{notice} They apply to images without a split in {file}."
    return WrittenSplits(merged, str(file), (*listed.notices, notice))


def read_split_folders(
    images: Mapping[str, str],
    key: str,
    where: str = DEFAULT_LIST.file,
    needs_training: bool = True,
    names: Mapping[str, str] | None = None,
) -> dict[str, SplitRow] | None:
    """Determine the split of each image from the names of its folders.

    Without a test folder, the validation folder is split into validation and test. Without a validation folder, a share
    of the training folder is used for validation.

    Args:
        images: Paths of the images by id.
        key: Key of the folder, for messages.
        where: File to write splits into instead, for messages.
        needs_training: Whether a training folder is required.
        names: See `read_splits`; by default, the paths.

    Returns:
        One row per image id. None if no folder is named like a split, or all images are in a training folder.

    Raises:
        PipelineError: Some images are in folders named like splits, but others are in none or several of them; or there
            is a validation or test folder, but no training folder.
    """
    named_by = {name: find_folder_splits((names or images)[name]) for name in images}
    there = set().union(*named_by.values())
    if not there or set(named_by.values()) == {frozenset({"train"})}:
        return None
    folders = sorted({str(PurePosixPath(path).parent) for name, path in images.items() if named_by[name]})
    named = f"{key}: {join_names(folders)} {'is' if len(folders) == 1 else 'are'} named like splits, but"
    if outside := [path for name, path in images.items() if len(named_by[name]) != 1]:
        raise PipelineError(
            f"{named} {len(outside)} of {len(images)} images are not in exactly one split folder: "
            f"{join_names(outside)}. Move them, rename the folders, or write {where}."
        )
    if needs_training and "train" not in there:
        raise PipelineError(f"{named} no folder is named train. Add it, rename the folders, or write {where}.")
    meaning = interpret_splits(there)
    return {name: SplitRow(meaning[split]) for name, splits in named_by.items() for split in splits}


def interpret_splits(there: Collection[str]) -> dict[str, str]:
    """Return the meaning of each published split, if only some of training, validation and test exist."""
    return {
        "train": "train" if "validation" in there else TRAINVAL,
        "validation": "validation" if "test" in there else VALTEST,
        "test": "test",
    }


def _describe_split_folders(rows: Mapping[str, SplitRow], key: str, kind: str) -> str:
    """Describe how folders or files that are named like splits were interpreted."""
    missing = describe_missing_splits(rows, kind, key)
    return f"The {kind}s of the images are named like splits and are used as splits{f'; {missing}' if missing else ''}."


def describe_missing_splits(rows: Mapping[str, SplitRow], kind: str, key: str) -> str:
    """Describe where the images of a split come from that has no folder or list of its own.

    Args:
        rows: Rows by image id.
        kind: `folder`, `file` or `list`.
        key: Key of the section.

    Returns:
        A clause; empty if all splits have one.
    """
    splits = {row.split for row in rows.values()}
    if TRAINVAL in splits:
        return f"a share of the training {kind} is used for validation ({key}.splits.validation)"
    if VALTEST in splits:
        return f"without a test {kind}, half of the validation {kind} is used for testing"
    return ""


def strip_split_folders(path: str) -> str:
    """Remove folders that are named like splits from a path."""
    *folders, name = PurePosixPath(path).parts
    return "/".join([*(folder for folder in folders if match_split(folder) is None), name])


def find_folder_splits(path: str) -> frozenset[str]:
    """Find the splits that the folders of a path are named like. More than one is a contradiction."""
    return frozenset(split for folder in PurePosixPath(path).parts[:-1] if (split := match_split(folder)) is not None)


def match_split(folder: str) -> str | None:
    """Return the split that a folder or a list is named like; None if there is none."""
    return next((split for split, name in _FOLDER_NAMES.items() if name.fullmatch(folder)), None)
