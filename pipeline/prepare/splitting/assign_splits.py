"""Assign images to splits by a list or by a hash, optionally stratified, and choose the showcase."""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS
from pipeline.errors import PipelineError
from pipeline.params.data.image_data import ImageMaskData, SplitShares
from pipeline.prepare.image_mask_pair import SplitRow
from pipeline.prepare.sample_ids import to_image_id
from pipeline.prepare.splitting.folds import assign_folds
from pipeline.prepare.splitting.read_splits import TRAINVAL, VALTEST
from pipeline.prepare.splitting.units import get_unit

ClassShares = NDArray[np.float64]  # share of each class in the evaluated pixels of an image

MAX_COMPARED = 500  # images per search for a showcase: enough for a stable median, without decoding all images

FindShowable = Callable[[Sequence[str]], Mapping[str, ClassShares]]


@dataclass(frozen=True)
class SplitAssignment:
    """Splits of all images."""

    ids: dict[str, list[str]]  # by split, including the showcase
    excluded: list[tuple[str, str]]  # (id, reason) of images that share the group of the showcase
    folds: dict[str, int]  # fold by id of all images in the training split; empty without cross-validation


def assign_splits(
    ids: Sequence[str],
    rows: Mapping[str, SplitRow],
    groups: Mapping[str, str],
    data: ImageMaskData,
    source: str,
    presence: Mapping[str, frozenset[int]] | None = None,
    find_showable: FindShowable = lambda _: {},
) -> SplitAssignment:
    """Assign every image to a split.

    An image whose row has no split is assigned by the SHA-256 of its group, or of its id if it has no group, so that
    adding files does not move other images. Stratified splits sort images by the same hash. Images in `trainval` and
    `valtest` are assigned by `take_by_hash`. The groups of showcase images are excluded from the splits. With
    `data.splits.folds`, all images except the test images are in the training split, and have a fold.

    Args:
        ids: Ids of all images.
        rows: Splits and groups by image id. Images may be missing.
        groups: Groups by image id, for images that have one.
        data: The `data` section of the parameters.
        source: Origin of the rows, for messages.
        presence: Classes in the mask of each image; None if splits are not stratified.
        find_showable: Function that returns the class shares of the images that are suitable for the showcase. It is
            called with at most `MAX_COMPARED` ids. If no image is suitable, the first one is chosen.

    Raises:
        PipelineError: A group is in two splits, or the showcase contains an unknown image.
    """
    written = {name: rows[name].split if name in rows else "" for name in ids}
    fold_of: dict[str, str] = {}
    if data.splits.folds is not None:
        fold_of = {name: rows[name].fold for name in ids if name in rows and rows[name].fold}
        written |= {name: TRAINVAL for name in fold_of if not written[name]}  # an image with a fold is no test image
    named = _find_named(data, ids)
    taken = {groups[name] for name in named if name in groups}
    free = [name for name in ids if name not in named and groups.get(name) not in taken]
    strata = [free] if presence is None else stratify(free, groups, presence)
    chosen: dict[str, str] = {}
    for official, part, other, share in (
        (TRAINVAL, "validation", "train", data.splits.validation),
        (VALTEST, "test", "validation", 0.5),
    ):
        pools = [[name for name in stratum if written[name] == official] for stratum in strata]
        for names, wanted in zip(pools, apportion([len(names) for names in pools], share), strict=True):
            counted = take_by_hash(names, groups, wanted, data.seed, keeps_one=official == VALTEST)
            chosen |= {name: part if name in counted else other for name in names}
    if presence is not None:
        for stratum in strata:
            chosen |= split_stratum([name for name in stratum if not written[name]], groups, data)

    def split_of(name: str) -> str:
        if written[name] in SPLITS:
            return written[name]
        return chosen.get(name) or split_by_hash(data.seed, *get_unit(name, groups), data.splits)

    splits = {name: split_of(name) for name in ids}
    shown = _choose_showcase(data.seed, groups, splits, find_showable) if data.showcase_ids is None else named
    shows = {groups[name]: name for name in shown if name in groups}
    excluded = [
        (name, f"shares its group '{groups[name]}' with the showcase image {shows[groups[name]]}")
        for name in ids
        if name not in shown and groups.get(name) in shows
    ]
    out = {*shown, *(name for name, _ in excluded)}
    rest = sorted(name for name in ids if name not in out)
    _check_groups(rest, groups, written, fold_of, source)
    folds: dict[str, int] = {}
    if data.splits.folds is not None:
        learned = [name for name in rest if splits[name] != "test"]
        _check_tests(rest, splits, rows, source)
        strata = [learned] if presence is None else stratify(learned, groups, presence)
        folds = assign_folds(strata, rows, groups, data.splits.folds, data.seed, source)
        splits |= dict.fromkeys(learned, "train")
    by_split = {split: [name for name in rest if splits[name] == split] for split in SPLITS}
    return SplitAssignment({**by_split, SHOWCASE: shown}, excluded, folds)


def split_by_hash(seed: int, kind: str, name: str, shares: SplitShares) -> str:
    """Assign an image or a group to a split by its name alone.

    The hash is a position between 0 and 1. The test split is at the start and the validation split at the end, so that
    changing the size of one does not change the other.
    """
    place = int.from_bytes(_hash(seed, kind, name)[:6], "big") / 2**48
    if place < shares.test:
        return "test"
    return "validation" if place >= 1 - shares.validation else "train"


def apportion(sizes: Sequence[int], share: float) -> list[int]:
    """Apportion a share of all images to strata of the given sizes by the largest remainder method.

    The total is exact. If remainders are equal, those of the first strata are rounded up.
    """
    exact = [share * size for size in sizes]
    counts = [math.floor(count) for count in exact]
    order = sorted(range(len(sizes)), key=lambda place: (counts[place] - exact[place], place))
    for place in order[: round(share * sum(sizes)) - sum(counts)]:
        counts[place] += 1
    return counts


def take_by_hash(
    ids: Sequence[str], groups: Mapping[str, str], wanted: int, seed: int, keeps_one: bool = False
) -> set[str]:
    """Take a number of images, sorted by the SHA-256 of their names.

    Seed k takes the k-th part of the sorted images, so that with a fifth of the images, seeds 0 to 4 are the folds of a
    cross-validation. Unlike in `split_by_hash`, the number of images is exact, because a published `trainval` list does
    not grow. Whole groups are taken until the number is reached.

    Args:
        ids: Ids of the images.
        groups: Groups by image id, for images that have one.
        wanted: Number of images to take.
        seed: Seed of the splits.
        keeps_one: Whether to leave the last of several groups, so that some images remain.

    Returns:
        Ids of the images taken.
    """
    units: dict[tuple[str, str], list[str]] = {}
    for name in ids:
        units.setdefault(get_unit(name, groups), []).append(name)
    ordered = sorted(units, key=lambda one: hashlib.sha256(one[1].encode()).digest())
    before = [0, *accumulate(len(units[one]) for one in ordered)]  # images before each unit
    first = bisect_left(before, seed * wanted % max(1, len(ids)))
    chosen: set[str] = set()
    for one in ordered[first:] + ordered[:first]:
        if len(chosen) >= wanted or (keeps_one and chosen and len(chosen) + len(units[one]) == len(ids)):
            break
        chosen.update(units[one])
    return chosen


def split_stratum(ids: Sequence[str], groups: Mapping[str, str], data: ImageMaskData) -> dict[str, str]:
    """Split one stratum by shares of its units (groups or single images), sorted by their hashes.

    The first units are for testing and the last ones for validation. With three or more units, every split with a share
    above 0 gets at least one. Adding a unit moves at most one other unit across each border between two splits.
    """
    units = sorted({get_unit(name, groups) for name in ids}, key=lambda one: _hash(data.seed, *one))
    if len(units) < len(SPLITS):
        return {}  # too few; `split_by_hash` decides
    wanted = {
        "test": max(1, round(data.splits.test * len(units))) if data.splits.test else 0,
        "validation": max(1, round(data.splits.validation * len(units))) if data.splits.validation else 0,
    }
    first_of_validation = len(units) - wanted["validation"]
    splits = {
        one: "test" if place < wanted["test"] else "validation" if place >= first_of_validation else "train"
        for place, one in enumerate(units)
    }
    return {name: splits[get_unit(name, groups)] for name in ids}


def stratify(ids: Sequence[str], groups: Mapping[str, str], presence: Mapping[str, frozenset[int]]) -> list[list[str]]:
    """Divide images into strata by their rarest class. Groups are not divided.

    Splitting each stratum separately puts rare classes into every split.
    """
    classes: dict[tuple[str, str], set[int]] = {}
    for name in ids:
        classes.setdefault(get_unit(name, groups), set()).update(presence[name])
    units = Counter(index for found in classes.values() for index in found)
    strata: dict[int, list[str]] = {}
    for name in ids:
        rarest = min(classes[get_unit(name, groups)], key=lambda index: (units[index], index), default=-1)
        strata.setdefault(rarest, []).append(name)
    return [strata[index] for index in sorted(strata)]


def _find_named(data: ImageMaskData, ids: Collection[str]) -> list[str]:
    """Return the ids of the images in `data.showcase_ids`."""
    for written in data.showcase_ids or ():
        if to_image_id(written) not in ids:
            raise PipelineError(
                f"data.showcase_ids: there is no image '{written}' in {data.path}; write the path below images/, or "
                f"the part that the wildcards of data.images match, without the extension; or null to choose an image "
                f"automatically."
            )
    return [to_image_id(written) for written in data.showcase_ids or ()]


def _choose_showcase(
    seed: int, groups: Mapping[str, str], splits: Mapping[str, str], find_showable: FindShowable
) -> list[str]:
    """Choose the training image in the smallest groups that is closest to the median class shares as the showcase.

    Its whole group is removed from the training images, so it is never in the only group with foreground.
    """
    counts = Counter(groups.values())
    sizes = {name: counts[groups[name]] if name in groups else 1 for name in splits}
    train = [name for name, split in splits.items() if split == "train"]
    order = sorted(train, key=lambda name: (sizes[name], _hash(seed, "", name)))
    shares: dict[str, ClassShares] = {}
    for first in range(0, len(order), MAX_COMPARED):
        names = order[first : first + MAX_COMPARED]
        found = find_showable(names)
        shares |= {name: found[name] for name in names if name in found}
        if len({get_unit(name, groups) for name in shares}) > 1:
            break
    units = {get_unit(name, groups) for name in shares}
    others = [name for name in order if get_unit(name, groups) not in units]
    if not shares or (len(units) == 1 and others):
        return others[:1]
    smallest = min(sizes[name] for name in shares)
    median = np.median(np.stack(list(shares.values())), axis=0)
    distances = {name: float(np.abs(shares[name] - median).sum()) for name in shares if sizes[name] == smallest}
    return [min(distances, key=lambda name: round(distances[name], 9))]


def _check_groups(
    ids: Sequence[str],
    groups: Mapping[str, str],
    written: Mapping[str, str],
    fold_of: Mapping[str, str],
    source: str,
) -> None:
    """Check that no group has two splits in the rows.

    Splits by hash are not compared, because they depend on the seed.
    """

    def describe(name: str) -> str:
        if fold_of and written[name] in ("", TRAINVAL):
            return f"fold {fold_of[name]}" if name in fold_of else "no fold"
        return written[name] or "no split"

    found: dict[str, str] = {}  # first image of each group
    for name in ids:
        first = found.setdefault(groups[name], name) if name in groups else name
        if written[first] != written[name]:
            raise PipelineError(
                f"{source}: the group '{groups[name]}' is in {describe(first)} and, with {name}, in {describe(name)}. "
                f"Assign all its images to the same {'fold' if fold_of else 'split'}."
            )


def _check_tests(ids: Sequence[str], splits: Mapping[str, str], rows: Mapping[str, SplitRow], source: str) -> None:
    """Check that no test image has a fold."""
    for name in ids:
        if splits[name] == "test" and name in rows and rows[name].fold:
            raise PipelineError(
                f"{source}: '{name}' is a test image, but has fold {rows[name].fold}. Test images are in no fold: "
                f"leave its fold empty, or assign it to trainval."
            )


def _hash(seed: int, kind: str, name: str) -> bytes:
    return hashlib.sha256(f"{seed}/{kind}/{name}".encode()).digest()
