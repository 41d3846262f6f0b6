"""Images and masks whose folders or file names say what they are, such as images/ and masks/, or NAME_mask.png."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, product, takewhile
from pathlib import Path, PurePosixPath

from pipeline.errors import PipelineError, raise_error
from pipeline.imaging.mask_decoding import MASK_ENDINGS
from pipeline.init.layouts.layout import Layout
from pipeline.params.data.file_pattern import ANY_FOLDERS, find_ending
from pipeline.prepare.sources.affixes import find_affixes
from pipeline.prepare.sources.folder import match_files
from pipeline.volumes.find_volumes import is_label_inside, merge_volumes
from pipeline.volumes.ome_zarr_metadata import LABELS, ZARR_ENDING, list_labels
from pipeline.volumes.open_volume import CERTAIN_ENDINGS
from pipeline.wording import join_names, pluralize

_ENDINGS = (*MASK_ENDINGS, *CERTAIN_ENDINGS)
_MAX_FILES = 200_000  # files that are listed
_MIN_PAIRS, _MIN_SHARE = 2, 0.5  # minimum number of pairs, and share of the masks that are in pairs
_MAX_NAMED = 5  # folders whose images are not used
_SEPARATORS = "_-. "
_MAX_CLASSES = 30  # texts that may be names of classes
_MIN_PART_SHARE = 0.8  # share of the masks whose names begin with an image's name and differ in the rest
_IMAGE_WORD = r"(?:jpegimages|images?|imgs?|inputs?|photos?|pictures?|frames?|originals?|rgb)"
_MASK_WORD = r"(?:masks?|labels?|lbls?|annotations?|annots?|segmentations?|segs?|gt|ground[ _-]?truths?|targets?)"
_WORD = r"(?:(?<=[^a-z])|^|(?<=[a-z])(?=annot)){}(?=[^a-z]|$|tr|ts)"
_IMAGE_FOLDER, _MASK_FOLDER = (re.compile(_WORD.format(word), re.IGNORECASE) for word in (_IMAGE_WORD, _MASK_WORD))
_MASK_SUFFIX = re.compile(rf"[ ._-]{_MASK_WORD}$", re.IGNORECASE)
_MASK_PREFIX = re.compile(rf"^{_MASK_WORD}[ ._-]", re.IGNORECASE)
_IMAGE_NAME, _MASK_NAME = (re.compile(word, re.IGNORECASE) for word in (_IMAGE_WORD, _MASK_WORD))


def recognize(folder: Path, base: str) -> Layout | None:
    """Recognize the layout: patterns that pair most of the masks."""
    files = _list_files(folder / base)
    kinds = {not find_ending(file.name, MASK_ENDINGS) for several in files.values() for file in several}
    for (images, masks), are_volumes in product(_propose(folder / base, files), sorted(kinds, reverse=True)):
        layout = Layout("", f"{base}{images}", f"{base}{masks}")
        try:
            found_images, found_masks = match_files(
                folder, layout.images, layout.masks, "data", are_volumes=are_volumes
            )
        except (PipelineError, ValueError):
            continue
        pairs = len(found_images.by_id.keys() & found_masks.by_id.keys())
        if pairs >= _MIN_PAIRS and pairs >= _MIN_SHARE * len(found_masks.by_id):
            # Preparation reports the others.
            seen = {*found_images.files, *found_images.others, *found_masks.files, *found_masks.others}
            unseen = Counter(f"{base}{file.parent}" for file in chain(*files.values()) if f"{base}{file}" not in seen)
            return replace(layout, notices=_describe_unused(layout, unseen))
    return None


def _describe_unused(layout: Layout, counts: Mapping[str, int]) -> list[str]:
    """Report the folders of images that the patterns leave out. Those that are named like images or masks come first.

    Args:
        layout: Recognized layout.
        counts: Number of images and volumes that are left out, by folder.
    """
    if not counts:
        return []
    folders = sorted(counts, key=lambda folder: not (_IMAGE_FOLDER.search(folder) or _MASK_FOLDER.search(folder)))
    match = pluralize(sum(counts.values()), "image file matches", "image files match")
    shown = join_names((f"{folder}/ ({counts[folder]:,})" for folder in folders), _MAX_NAMED)
    return [
        f"{match} neither data.images ('{layout.images}') nor data.masks ('{layout.masks}') and will not be used: "
        f"{shown}. If you need them, rename the folders so that one pattern matches all of them, or write other "
        f"patterns; see docs/how-to/folder-of-images.md#patterns."
    ]


def _list_files(top: Path) -> dict[PurePosixPath, list[PurePosixPath]]:
    """List the images and volumes by folder, relative to the top. Hidden and linked folders are left out."""
    found: dict[PurePosixPath, list[PurePosixPath]] = {}
    count = 0
    for parent, folders, names in os.walk(top, onerror=raise_error):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        merged = merge_volumes(Path(parent), folders, names)
        volumes = set(merged) - set(names)
        files = [
            name
            for name in merged
            if (name in volumes or find_ending(name, _ENDINGS))
            and not name.startswith(".")
            and not is_label_inside(name)
        ]
        if files:
            where = PurePosixPath(Path(parent).relative_to(top).as_posix())
            found[where] = [where / name for name in sorted(files)]
        if (count := count + len(files)) > _MAX_FILES:
            break
    return found


def _propose(top: Path, files: dict[PurePosixPath, list[PurePosixPath]]) -> Iterator[tuple[str, str]]:
    """Yield pairs of patterns that may fit, the most likely first."""
    yield from _propose_folders(files)
    yield from _propose_labels(top, files)
    yield from _propose_file_names(files)


def _propose_labels(top: Path, files: dict[PurePosixPath, list[PurePosixPath]]) -> Iterator[tuple[str, str]]:
    """Propose patterns for OME-Zarr images that contain their masks, with the most frequent label image."""
    images = [file for several in files.values() for file in several if file.name.lower().endswith(ZARR_ENDING)]
    counts = Counter(label for file in images for label in list_labels(top / file))
    folders = {file.parent for file in images}
    folder = f"{next(iter(folders))}/" if len(folders) == 1 and folders != {PurePosixPath()} else ""
    star = f"{folder}{'*' if len(folders) == 1 else '**/*'}{ZARR_ENDING}"
    for label, _ in counts.most_common(1):
        yield star, f"{star}/{LABELS}/{label}"


def _propose_folders(files: dict[PurePosixPath, list[PurePosixPath]]) -> Iterator[tuple[str, str]]:
    """Propose patterns for folders of images next to folders of masks with the same name, without their words."""
    images, masks = defaultdict[str, list[PurePosixPath]](list), defaultdict[str, list[PurePosixPath]](list)
    for folder in files:
        root, is_mask = _find_root(folder)
        kind = masks if is_mask else images
        skeleton = "/".join(_strip_word(name) for name in root.parts)
        if root not in kind[skeleton]:
            kind[skeleton].append(root)
    pairs = [
        (min(images[name], key=_rank_images), min(masks[name], key=_rank_masks)) for name in masks if name in images
    ]
    names = Counter((image.name, mask.name) for image, mask in pairs)
    alike = [(image, mask) for image, mask in pairs if names[image.name, mask.name] == max(names.values())]
    # If no patterns match all folders, those of the most frequent names, and then the first ones, are proposed.
    for chosen in dict.fromkeys(map(tuple, (pairs, alike, pairs[:1]))):
        if chosen and (patterns := _generalize(chosen)):
            yield from _propose_names(files, chosen, patterns)


def _rank_images(root: PurePosixPath) -> tuple[bool, bool]:
    return root.name != "images", not _IMAGE_FOLDER.search(root.name)


def _rank_masks(root: PurePosixPath) -> tuple[bool, bool]:
    # Next to masks, there may be color previews of them in labels/ or ground_truth/.
    return root.name != "masks", "mask" not in root.name.lower()


def _propose_names(
    files: dict[PurePosixPath, list[PurePosixPath]],
    pairs: Sequence[tuple[PurePosixPath, PurePosixPath]],
    patterns: tuple[str, str],
) -> Iterator[tuple[str, str]]:
    """Propose patterns of the files in pairs of folders, which the given patterns match."""
    image_roots, mask_roots = ({pair[side] for pair in pairs} for side in (0, 1))
    is_deep = any(folder not in image_roots and set(folder.parents) & image_roots for folder in files)
    has_any_depth = any(pattern.startswith(ANY_FOLDERS) for pattern in patterns)  # a pattern may have ** only once
    star = "**/*" if (is_deep and not has_any_depth) or pairs[0][0].parts == ("images",) else "*"
    names = [_list_names(files, roots) for roots in (image_roots, mask_roots)]
    yield from _propose_parts(names[0], names[1], patterns, star)
    affixes = find_affixes(*names) or (("", ""), ("", ""))
    yield tuple(  # type: ignore[misc]
        f"{pattern}/{star[:-1]}{start}*{end}" for pattern, (start, end) in zip(patterns, affixes, strict=True)
    )


def _propose_parts(
    images: Sequence[str], masks: Sequence[str], patterns: tuple[str, str], star: str
) -> Iterator[tuple[str, str]]:
    """Propose patterns for masks of several files per image: NAME_class, or a folder per class."""
    known, texts, between = set(images), Counter[str](), Counter[str]()
    for mask in masks:
        ends = (end for end in range(len(mask) - 2, 0, -1) if mask[end] in _SEPARATORS and mask[:end] in known)
        if end := next(ends, 0):
            texts[mask[end + 1 :]] += 1
            between[mask[end]] += 1
    if len(texts) > 1 and texts.total() >= _MIN_PART_SHARE * len(masks):
        separator = between.most_common(1)[0][0]
        # Numbers tell objects apart, and so do more texts than there are classes.
        is_class = len(texts) <= _MAX_CLASSES and not any(text.isdecimal() for text in texts)
        part = "class" if is_class else "object"
        yield f"{patterns[0]}/{star}", f"{patterns[1]}/{star}{separator}{{{part}}}"
    folders = Counter(mask.partition("/")[0] for mask in masks if mask.partition("/")[2] in known)
    if 1 < len(folders) <= _MAX_CLASSES and folders.total() >= _MIN_PART_SHARE * len(masks):
        yield f"{patterns[0]}/{star}", f"{patterns[1]}/{{class}}/{star}"


def _list_names(files: dict[PurePosixPath, list[PurePosixPath]], roots: set[PurePosixPath]) -> list[str]:
    """List the names below roots, with folders and without endings."""
    return [
        unicodedata.normalize("NFC", _strip_ending(str(file.relative_to(root))))
        for root in roots
        for folder, several in files.items()
        if folder == root or root in folder.parents
        for file in several
    ]


def _strip_ending(name: str) -> str:
    return name[: len(name) - len(find_ending(name, _ENDINGS))]


def _find_root(folder: PurePosixPath) -> tuple[PurePosixPath, bool]:
    """Return the innermost parent of a folder that is named like images or masks, and whether it is one of masks."""
    for depth in range(len(folder.parts), 0, -1):
        name = folder.parts[depth - 1]
        if _MASK_FOLDER.search(name):
            return PurePosixPath(*folder.parts[:depth]), True
        if _IMAGE_FOLDER.search(name):
            return PurePosixPath(*folder.parts[:depth]), False
    return folder, False


def _strip_word(name: str) -> str:
    stripped = _IMAGE_FOLDER.sub("", _MASK_FOLDER.sub("", name))
    return re.sub(r"[ ._-]+", "", stripped).lower()


def _generalize(pairs: Sequence[tuple[PurePosixPath, PurePosixPath]]) -> tuple[str, str] | None:
    """Find patterns that match all pairs of folders. Return None if there are none."""
    if len({len(path.parts) for pair in pairs for path in pair}) != 1:
        names = {(images.name, masks.name) for images, masks in pairs}
        image_name, mask_name = names.pop()
        if names or not image_name or any(images.parent != masks.parent for images, masks in pairs):
            return None
        return f"{ANY_FOLDERS}/{image_name}", f"{ANY_FOLDERS}/{mask_name}"
    found: list[tuple[str, str]] = []
    for images, masks in zip(
        *(zip(*(pair[side].parts for pair in pairs), strict=True) for side in (0, 1)), strict=True
    ):
        if len(set(images)) == len(set(masks)) == 1:
            found.append((images[0], masks[0]))
            continue
        (image_start, image_end), (mask_start, mask_end) = _find_common(images), _find_common(masks)
        texts = [name[len(image_start) : len(name) - len(image_end)] for name in images]
        if texts != [name[len(mask_start) : len(name) - len(mask_end)] for name in masks] or "" in texts:
            return None
        found.append((f"{image_start}*{image_end}", f"{mask_start}*{mask_end}"))
    image_names, mask_names = zip(*found, strict=True)
    return "/".join(image_names), "/".join(mask_names)


def _find_common(names: Sequence[str]) -> tuple[str, str]:
    """Return the start and the end that all names share, if they contain a word for images or masks."""
    start = _find_common_start(names)
    end = _find_common_start([name[::-1] for name in names])[::-1]
    # Names such as train and test begin alike by chance.
    start = start if _IMAGE_FOLDER.search(start) or _MASK_FOLDER.search(start) else ""
    end = end if _IMAGE_FOLDER.search(end) or _MASK_FOLDER.search(end) else ""
    return (start, end) if all(len(name) > len(start) + len(end) for name in names) else ("", "")


def _find_common_start(names: Sequence[str]) -> str:
    columns = zip(*names, strict=False)  # up to the end of the shortest name
    return "".join(letters[0] for letters in takewhile(lambda letters: len(set(letters)) == 1, columns))


def _propose_file_names(files: dict[PurePosixPath, list[PurePosixPath]]) -> Iterator[tuple[str, str]]:
    """Propose patterns for images and masks in the same folders.

    They differ in a suffix such as _mask, in prefixes such as img_ and mask_, in the whole name, or in the ending.
    """
    names = [file for several in files.values() for file in several]
    star = "*" if set(files) == {PurePosixPath()} else "**/*"
    stems = [_strip_ending(file.name) for file in names]
    suffixes = [found[0] for stem in stems if (found := _MASK_SUFFIX.search(stem))]
    if suffixes:
        suffix = max(sorted(set(suffixes)), key=suffixes.count)
        yield star, f"{star}{suffix}"
    is_mask = [bool(_MASK_SUFFIX.search(stem) or _MASK_PREFIX.search(stem)) for stem in stems]
    images, masks = (
        [_strip_ending(str(file)) for file, own in zip(names, is_mask, strict=True) if own == kind]
        for kind in (False, True)
    )
    if affixes := find_affixes(images, masks):
        of_images, of_masks = (f"{star[:-1]}{start}*{end}" for start, end in affixes)
        yield of_images, of_masks
    image_names, mask_names = (Counter(filter(word.fullmatch, stems)) for word in (_IMAGE_NAME, _MASK_NAME))
    if image_names and mask_names:
        image_name, mask_name = (counts.most_common(1)[0][0] for counts in (image_names, mask_names))
        yield f"{ANY_FOLDERS}/{image_name}", f"{ANY_FOLDERS}/{mask_name}"
    endings = {find_ending(file.name, _ENDINGS) for file in names}
    photos = [ending for ending in (".jpg", ".jpeg") if ending in endings]
    others = sorted(endings - {".jpg", ".jpeg"})
    if len(photos) == len(others) == 1:
        yield f"{star}{photos[0]}", f"{star}{others[0]}"
