"""Read published split lists: a text file of image names per split, or nnU-Net's splits_final.json."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from pipeline.errors import PipelineError, raise_error
from pipeline.imaging.decode import ENDINGS
from pipeline.params.data.file_pattern import FilePattern, find_ending
from pipeline.prepare.image_mask_pair import SplitRow, WrittenSplits
from pipeline.prepare.read_file import read_limited
from pipeline.prepare.sample_ids import to_image_id
from pipeline.prepare.sources.image_files import ImageFiles
from pipeline.prepare.splitting.read_splits import (
    TRAINVAL,
    describe_missing_splits,
    find_folder_splits,
    interpret_splits,
    match_split,
)
from pipeline.volumes.open_volume import CERTAIN_ENDINGS
from pipeline.wording import join_names, pluralize

_ENDING = ".txt"
_IMAGE_ENDINGS = (*ENDINGS, *CERTAIN_ENDINGS)
_LABELS = {"-1", "0", "1"}  # of Pascal VOC
_PARTS = {"train": "train", "val": "validation"}  # of a fold


def apply_split_lists(
    folder: Path, lists: str | None, key: str, folds: int | None, images: ImageFiles, *others: ImageFiles
) -> WrittenSplits | None:
    """Read the split of each image from lists, and leave out the files of images in no list.

    With cross-validation, the fold of each image is read from splits_final.json. Images that no list names keep the
    split of their folder if it is named like a split.

    Args:
        folder: Folder of the source.
        lists: Value of `data.splits.split_lists`; None without lists.
        key: Key of the section, for messages.
        folds: Number of folds of the cross-validation; None without one.
        images: The images.
        others: Other files with the ids of the images, such as masks.

    Returns:
        The splits; None without lists.
    """
    if lists is None:
        return None
    found = _read_splits(folder, lists, images.by_id, images.names, key, folds)
    if found.rows is not None:
        for files in (images, *others):
            files.keep(found.rows)
    return found


def _read_splits(
    folder: Path, lists: str, images: Mapping[str, str], names: Mapping[str, str], key: str, folds: int | None
) -> WrittenSplits:
    """Read the split or, with cross-validation, the fold of each image.

    Mistakes are returned instead of raised, because they are reported together with file issues.
    """
    where, list_key = str(folder / lists), f"{key}.splits.split_lists"
    try:
        if not lists.endswith(".json"):
            split_of = _assign(_read_text_lists(folder, lists, list_key), images, names, where)
        elif folds is None:
            split_of = _assign(_read_folds(folder, lists, list_key)[0], images, names, where)
        else:
            return _read_all_folds(_read_folds(folder, lists, list_key), images, names, where, folds)
    except PipelineError as error:
        return WrittenSplits(None, where, error=str(error))
    for name in images.keys() - split_of.keys():
        if len(splits := find_folder_splits(names[name])) == 1:
            (split_of[name],) = splits
    meaning = interpret_splits(set(split_of.values()))
    rows = {name: SplitRow(meaning[split]) for name, split in split_of.items()}
    notices = []
    if left_out := len(images) - len(rows):
        notices.append(f"{pluralize(left_out, 'image is', 'images are')} in no list ({where}) and left out.")
    if missing := describe_missing_splits(rows, "list", key):
        notices.append(f"The lists {where} are used as splits; {missing}.")
    return WrittenSplits(rows, where, tuple(notices))


def _read_text_lists(folder: Path, lists: str, key: str) -> dict[str, list[str]]:
    """Read the lines of each split's text files.

    Raises:
        PipelineError: There are no lists, a list is not named like a split, or a list cannot be read.
    """
    pattern = FilePattern(lists)
    entries: dict[str, list[str]] = {}
    for path in _list_text_files(folder / pattern.root):
        file = PurePosixPath(path.relative_to(folder).as_posix())
        if (match := pattern.match(file, (_ENDING,))) is None:
            continue
        split = match_split(match.texts[-1])
        if split is None:
            raise PipelineError(
                f"{key}: {path} is not named like a split, such as train, val or test. Choose the lists in braces, "
                f"such as {{train,val}}."
            )
        try:
            text = read_limited(path).decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise PipelineError(f"{key}: {path} cannot be read ({error}). Save it as text in UTF-8.") from None
        entries.setdefault(split, []).extend(line.strip() for line in text.splitlines() if line.strip())
    if not entries:
        raise PipelineError(f"{key}: {folder} contains no lists that match '{lists}'. Correct the pattern.")
    return entries


def _list_text_files(top: Path) -> list[Path]:
    """List the text files of a folder and its subfolders. Links to folders are not followed."""
    if not top.is_dir():
        return []
    found = (Path(parent, name) for parent, _, names in os.walk(top, onerror=raise_error) for name in names)
    return sorted(path for path in found if path.suffix == _ENDING)


def _read_folds(folder: Path, file: str, key: str) -> list[dict[str, list[str]]]:
    """Read the training and validation images of each fold of nnU-Net's splits_final.json, at least one.

    Raises:
        PipelineError: The file cannot be read, or has a different structure.
    """
    try:
        content = json.loads(read_limited(folder / file))
        folds = [{split: fold[part] for part, split in _PARTS.items()} for fold in content]
        if not folds:
            raise ValueError("it has no fold")
        if not all(isinstance(name, str) for fold in folds for names in fold.values() for name in names):
            raise TypeError("a name is not text")
    except FileNotFoundError:
        raise PipelineError(f"{key}: {folder / file} does not exist.") from None
    except (OSError, ValueError, RecursionError, LookupError, TypeError) as error:
        raise PipelineError(
            f"{key}: {folder / file} cannot be read ({error}). It must be a JSON list of folds, each with the lists "
            f"train and val, as nnU-Net writes it."
        ) from None
    return folds


def _read_all_folds(
    entries: list[dict[str, list[str]]], images: Mapping[str, str], names: Mapping[str, str], where: str, folds: int
) -> WrittenSplits:
    """Return the fold in which each image is validated.

    Raises:
        PipelineError: The number of folds differs from `data.splits.folds`, or an image is validated in two folds.
    """
    if len(entries) != folds:
        raise PipelineError(
            f"{where} has {len(entries)} folds, but data.splits.folds is {folds}. Write {len(entries)}."
        )
    fold_of = _assign({str(fold): one["validation"] for fold, one in enumerate(entries)}, images, names, where)
    rows = {name: SplitRow(TRAINVAL, fold=fold) for name, fold in fold_of.items()}
    for name in images.keys() - rows.keys():
        if find_folder_splits(names[name]) == {"test"}:
            rows[name] = SplitRow("test")
    left_out = len(images) - len(rows)
    notice = f"{pluralize(left_out, 'image is', 'images are')} in no fold ({where}) and left out."
    return WrittenSplits(rows, where, (notice,) if left_out else ())


def _assign(
    entries: Mapping[str, list[str]], images: Mapping[str, str], names: Mapping[str, str], where: str
) -> dict[str, str]:
    """Find the image of each entry: its id, its path, or its name without folders if only one image has it.

    Raises:
        PipelineError: An entry belongs to no image or to several, or an image is in two splits.
    """
    ids: dict[str, set[str]] = {}
    for image, path in images.items():
        stem, name = PurePosixPath(path).with_suffix(""), PurePosixPath(names[image])
        for key in (str(stem), stem.name, str(name), name.name):
            ids.setdefault(key, set()).add(image)
    split_of: dict[str, str] = {}
    unknown: list[str] = []
    twice: list[str] = []
    for split, lines in entries.items():
        for line in _strip_fields(lines, images, ids):
            found = {to_image_id(line)} & images.keys() or _find_images(line, ids)
            if len(found) != 1:
                unknown.append(line)
            elif split_of.setdefault(next(iter(found)), split) != split:
                twice.append(line)
    if unknown:
        raise PipelineError(
            f"{where}: {len(unknown)} of {sum(map(len, entries.values()))} lines name no image, or several: "
            f"{join_names(unknown)}. A line is the id of an image, or its path. Add the images, or correct the lists."
        )
    if twice:
        raise PipelineError(f"{where}: {join_names(twice)} in the lists of two splits; remove one of the lines.")
    return split_of


def _strip_fields(lines: list[str], images: Mapping[str, str], ids: Mapping[str, set[str]]) -> list[str]:
    """Remove what follows the images in a list, such as the paths of masks, unless spaces are part of their names."""
    with_spaces = [line for line in lines if len(line.split()) > 1]
    if any(to_image_id(line) in images or set(_list_keys(line)[:2]) & ids.keys() for line in with_spaces):
        return lines
    return [next(iter(line.split()), "") for line in lines] if all(map(_may_have_fields, with_spaces)) else lines


def _may_have_fields(line: str) -> bool:
    name, *others = line.split()
    # Without an ending, "slide 14" is one name, but the lists of a class in Pascal VOC have a label after the name, and
    # those of Oxford-IIIT Pet three numbers.
    are_labels = set(others) <= _LABELS or (len(others) > 1 and all(map(str.isdecimal, others)))
    return "\t" in line or are_labels or bool(find_ending(name, _IMAGE_ENDINGS))


def _find_images(line: str, ids: Mapping[str, set[str]]) -> set[str]:
    return next((ids[key] for key in _list_keys(line) if key in ids), set())


def _list_keys(line: str) -> tuple[str, ...]:
    """List what may identify the image of a line: its path with and without ending, and its name alike."""
    path = PurePosixPath(line)
    stem = path.with_suffix("") if path.name else path
    return str(path), str(stem), path.name, stem.name
