"""Find the most typical of some images by their class shares."""

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

from pipeline.errors import PipelineError
from pipeline.params.data.image_data import ImageMaskData, SplitShares
from pipeline.prepare.sample_ids import image_id
from pipeline.prepare.splitting.read_splits import TRAINVAL, VALTEST, SplitRow
from pipeline.runs import SHOWCASE, SPLITS

ClassShares = NDArray[np.float64]  # of each class in an image's evaluated pixels

MAX_COMPARED = 500  # images: enough for a stable median; the others need not be decoded before the splits are known

FindShowable = Callable[[Sequence[str]], Mapping[str, ClassShares]]


def find_most_typical(shares: Mapping[str, ClassShares], candidates: Collection[str]) -> str:
    """Return the candidate whose class shares are closest to the median of all images.

    The distance is the sum of the absolute differences. Ties go to the first candidate in the order of `shares`.

    Args:
        shares: by image.
        candidates: one or more of these images.
    """
    median = np.median(np.stack(list(shares.values())), axis=0)
    distances = {name: float(np.abs(shares[name] - median).sum()) for name in shares if name in candidates}
    return min(distances, key=lambda name: round(distances[name], 9))


@dataclass(frozen=True)
class SplitAssignment:
    """Every image has its place: in a split, in the showcase, or left out because of the showcase."""

    ids: dict[str, list[str]]  # of SPLITS and SHOWCASE
    groups: dict[str, str]  # of the images that have one
    left_out: list[tuple[str, str]]  # id and reason


def assign_splits(
    ids: Sequence[str],
    rows: Mapping[str, SplitRow],
    groups: Mapping[str, str],
    data: ImageMaskData,
    listed_in: str,
    presence: Mapping[str, frozenset[int]] | None = None,
    find_showable: FindShowable = lambda _: {},
) -> SplitAssignment:
    """Give every image its place.

    Without a split in its row an image goes where the SHA-256 of its group, or else of its id, falls: files that are
    added move none that was there. With `presence` it is counted out in its stratum instead, by the same hash. Those of
    `trainval` and `valtest` are counted out by `take_by_hash`. The group of a showcase image is left out of the splits.

    Args:
        ids: of all images.
        rows: what a list says of images; those that it does not name may be missing.
        groups: of the images that have one.
        data: the section of the parameters.
        listed_in: the list, for a message.
        presence: the classes in each image's mask, where splits are to be stratified.
        find_showable: returns the class shares of those of these images that may be chosen for the showcase. It is
            called with at most `MAX_COMPARED` images at a time. Without any, the first image is chosen.

    Raises:
        PipelineError: A group stands in two splits, or the showcase names an unknown image.
    """
    written = {name: rows[name].split if name in rows else "" for name in ids}
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
    shown = _choose_showcase(data.seed, groups, splits, find_showable) if data.showcase is None else named
    shows = {groups[name]: name for name in shown if name in groups}
    left_out = [
        (name, f"shares its group '{groups[name]}' with the showcase image {shows[groups[name]]}")
        for name in ids
        if name not in shown and groups.get(name) in shows
    ]
    out = {*shown, *(name for name, _ in left_out)}
    rest = sorted(name for name in ids if name not in out)
    _check_groups(rest, groups, written, listed_in)
    by_split = {split: [name for name in rest if splits[name] == split] for split in SPLITS}
    return SplitAssignment({**by_split, SHOWCASE: shown}, dict(groups), left_out)


def split_by_hash(seed: int, kind: str, name: str, shares: SplitShares) -> str:
    """The split of an image or a group by its name alone: a place on a line, test at its start, validation at its end.

    At the two ends, so that another share of the one leaves the other as it is.
    """
    place = int.from_bytes(_hash(seed, kind, name)[:6], "big") / 2**48
    if place < shares.test:
        return "test"
    return "validation" if place >= 1 - shares.validation else "train"


def apportion(sizes: Sequence[int], share: float) -> list[int]:
    """Divide the share of all images among strata: the total is exact, whatever each stratum rounds to.

    If each stratum were rounded, many strata of one or two images would give nothing. Where the rests are equal, the
    strata that come first get more.

    Args:
        sizes: of the strata.
        share: of all images.
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
    """Count out so many of these images, in the order of their names' SHA-256.

    Seed k takes the k-th such share of the order, so that with a fifth the seeds 0 to 4 are the folds of a
    cross-validation. Counted out, and not by where each hash falls: a list that says `trainval` is fixed, so the exact
    number is worth more than that images added later move none. Groups come whole, until the number is reached or
    passed; with `keeps_one` the last of several stays, so that two groups of unequal size come to two splits.
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
    """The split of each image of one stratum: as many units as the shares ask for, at either end of the hash's order.

    With three units or more every split that is to have a share gets at least one. An image that is added moves at most
    the one at each border.
    """
    units = sorted({get_unit(name, groups) for name in ids}, key=lambda one: _hash(data.seed, *one))
    if len(units) < len(SPLITS):
        return {}  # too few to be counted out: the hash alone decides
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
    """The images in strata, those of a group in one: each by the rarest of the classes in it.

    So a class that few images have is divided first, and comes to every split.
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


def get_unit(name: str, groups: Mapping[str, str]) -> tuple[str, str]:
    """What stays together, as kind and name: an image's group, or the image alone."""
    return ("group", groups[name]) if name in groups else ("id", name)


def _find_named(data: ImageMaskData, ids: Collection[str]) -> list[str]:
    """The images that `data.showcase` names."""
    shown = [image_id(name) for name in data.showcase or ()]
    for name, written in zip(shown, data.showcase or (), strict=True):
        if name not in ids:
            raise PipelineError(
                f"data.showcase: there is no image '{written}' in {data.path}; write the path below images/ without "
                f"its ending, or null to have one chosen."
            )
    return shown


def _choose_showcase(
    seed: int, groups: Mapping[str, str], splits: Mapping[str, str], find_showable: FindShowable
) -> list[str]:
    """Choose a training image to show: the most typical image of the smallest groups.

    Its group leaves the training set with it, so it is not taken from the only group with foreground.
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
    return [find_most_typical(shares, {name for name in shares if sizes[name] == smallest})]


def _check_groups(ids: Sequence[str], groups: Mapping[str, str], written: Mapping[str, str], listed_in: str) -> None:
    """No group may stand in two splits: what images share would be seen in training.

    What the list says is compared, not what a hash makes of it: a list is right or wrong whatever the seed.
    """
    found: dict[str, str] = {}
    for name in ids:
        group = groups.get(name)
        if group is not None and found.setdefault(group, written[name]) != written[name]:
            raise PipelineError(
                f"{listed_in}: the group '{group}' stands in {found[group] or 'no split'} and, with {name}, in "
                f"{written[name] or 'no split'}. Put it into one split, on all its lines."
            )


def _hash(seed: int, kind: str, name: str) -> bytes:
    return hashlib.sha256(f"{seed}/{kind}/{name}".encode()).digest()
