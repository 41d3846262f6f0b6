"""Find the prefixes and suffixes, such as `_mask`, in which the names of images and masks differ."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.prepare.sources.image_files import ImageFiles

_MIN_PAIRS, _MIN_SHARE = 2, 0.5  # minimum number of pairs, and share of the masks that are in pairs
_MAX_AFFIXES = 6  # prefixes or suffixes that are tried on each side
_SAMPLE = 50  # names that must have an affix
_SUFFIX = re.compile(r"(?=([ ._-]))|(?<=[0-9])(?=[A-Za-z])|(?<=[a-z])(?=[A-Z])")  # where a suffix may begin
_PREFIX = re.compile(r"(?<=[ ._-])|(?<=[A-Za-z])(?=[0-9])")  # where the rest of the name may begin after a prefix


def find_affixes(images: Sequence[str], masks: Sequence[str]) -> tuple[tuple[str, str], tuple[str, str]] | None:
    """Find a prefix and a suffix of the images' names, and of the masks' names, without which they are the same.

    Args:
        images: Names without extensions, with / after folders.
        masks: Names of the masks in the same form.

    Returns:
        The prefix and suffix of the images, and those of the masks. If several fit, those that pair most files, then
        the shortest ones. None if no affixes pair most masks.
    """
    best: tuple[int, int] | None = None
    found = None
    image_affixes, mask_affixes = list(_list_affixes(images)), list(_list_affixes(masks))
    stripped = [(affixes, _strip(images, affixes)) for affixes in image_affixes]
    for mask_affix in mask_affixes:
        cores = _strip(masks, mask_affix)
        for image_affix, image_cores in stripped:
            length = sum(map(len, (*mask_affix, *image_affix)))
            pairs = len(cores & image_cores)
            if pairs >= _MIN_PAIRS and pairs >= _MIN_SHARE * len(masks) and (best is None or (-pairs, length) < best):
                best, found = (-pairs, length), (image_affix, mask_affix)
    return found


def find_pairing_patterns(images: ImageFiles, masks: ImageFiles) -> tuple[str, str] | None:
    """Find patterns of images and masks whose names differ only in prefixes or suffixes. Return None if none fit."""
    affixes = find_affixes(list(images.names.values()), list(masks.names.values()))
    if affixes is None or not (images.pattern.text.endswith("*") and masks.pattern.text.endswith("*")):
        return None
    (image_start, image_end), (mask_start, mask_end) = affixes
    return (
        f"{images.pattern.text[:-1]}{image_start}*{image_end}",
        f"{masks.pattern.text[:-1]}{mask_start}*{mask_end}",
    )


def _strip(names: Sequence[str], affixes: tuple[str, str]) -> set[str]:
    """Remove a prefix and a suffix from the names that have both. Folders are kept."""
    start, end = affixes
    cores = set()
    for name in names:
        path = PurePosixPath(name)
        if path.name.startswith(start) and path.name.endswith(end) and len(path.name) > len(start) + len(end):
            cores.add(str(path.with_name(path.name[len(start) : len(path.name) - len(end)])))
    return cores


def _list_affixes(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """List the prefixes and suffixes that nearly all names have."""
    step = max(1, len(names) // _SAMPLE)
    sample = [PurePosixPath(name).name for name in sorted(names)[::step]]
    prefixes = Counter(name[: cut.start()] for name in sample for cut in _PREFIX.finditer(name))
    suffixes = Counter(name[cut.start() :] for name in sample for cut in _SUFFIX.finditer(name))
    starts = ["", *_choose(prefixes, len(sample))]
    ends = ["", *_choose(suffixes, len(sample))]
    yield from ((start, end) for start in starts for end in ends)


def _choose(counts: Counter[str], total: int) -> list[str]:
    common = [affix for affix, count in counts.items() if affix and count >= _MIN_SHARE * total and "*" not in affix]
    return sorted((affix for affix in common if not set(affix) & set("{}")), key=len)[:_MAX_AFFIXES]
