"""Read published split lists: a text file of image names per split, or nnU-Net's splits_final.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from pipeline.errors import PipelineError
from pipeline.params.data.file_pattern import FilePattern
from pipeline.prepare.image_mask_pair import SplitRow, WrittenSplits, read_limited
from pipeline.prepare.sample_ids import image_id
from pipeline.prepare.splitting.read_splits import find_folder_splits, interpret_splits, match_split
from pipeline.wording import join_names, pluralize

_ENDING = ".txt"
_FOLD = 0  # of splits_final.json
_PARTS = {"train": "train", "val": "validation"}  # of a fold


def read_split_lists(
    folder: Path, lists: str, images: Mapping[str, str], names: Mapping[str, str], key: str
) -> WrittenSplits:
    """Read the split of each image from lists.

    Images that no list names keep the split of their folder if it is named like a split. Otherwise, they have no row.
    Mistakes are returned instead of raised, because they are reported together with file issues.

    Args:
        folder: Folder of the source.
        lists: Value of `data.splits.split_lists`.
        images: Paths of the images by id.
        names: Names that the ids are made from, with / after folders.
        key: Key of the section, for messages.
    """
    where = str(folder / lists)
    try:
        read = _read_folds if lists.endswith(".json") else _read_text_lists
        split_of = _assign(read(folder, lists, f"{key}.splits.split_lists"), images, names, where)
    except PipelineError as error:
        return WrittenSplits(None, where, error=str(error))
    for name in images.keys() - split_of.keys():
        if len(splits := find_folder_splits(names[name])) == 1:
            (split_of[name],) = splits
    meaning = interpret_splits(set(split_of.values()))
    left_out = len(images) - len(split_of)
    notices = (
        [f"{pluralize(left_out, 'image is', 'images are')} in no list ({where}) and left out."] if left_out else []
    )
    rows = {name: SplitRow(meaning[split]) for name, split in split_of.items()}
    return WrittenSplits(rows, where, tuple(notices))


def _read_text_lists(folder: Path, lists: str, key: str) -> dict[str, list[str]]:
    """Read the lines of each split's text files.

    Raises:
        PipelineError: There are no lists, a list is not named like a split, or a list cannot be read.
    """
    pattern = FilePattern(lists)
    entries: dict[str, list[str]] = {}
    for path in sorted((folder / pattern.root).rglob(f"*{_ENDING}")):
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


def _read_folds(folder: Path, file: str, key: str) -> dict[str, list[str]]:
    """Read the first fold of nnU-Net's splits_final.json.

    Raises:
        PipelineError: The file cannot be read, or has a different structure.
    """
    try:
        folds = json.loads(read_limited(folder / file))
        fold = folds[_FOLD]
        entries = {split: fold[part] for part, split in _PARTS.items()}
        if not all(isinstance(name, str) for names in entries.values() for name in names):
            raise TypeError("a name is not text")
    except FileNotFoundError:
        raise PipelineError(f"{key}: {folder / file} does not exist.") from None
    except (OSError, ValueError, RecursionError, LookupError, TypeError) as error:
        raise PipelineError(
            f"{key}: {folder / file} cannot be read ({error}). It must be a JSON list of folds, each with the lists "
            f"train and val, as nnU-Net writes it."
        ) from None
    return entries


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
        for line in lines:
            found = {image_id(line)} & images.keys() or _find_images(line, ids)
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


def _find_images(line: str, ids: Mapping[str, set[str]]) -> set[str]:
    path = PurePosixPath(line.split()[0])  # SegNet's lists also have the path of the mask
    stem = path.with_suffix("") if path.name else path
    keys = (str(path), str(stem), path.name, stem.name)
    return next((ids[key] for key in keys if key in ids), set())
