"""Which image stands in which split: as a list says, or by a hash that no other file has a say in."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.params.data import FolderData, SplitShares
from pipeline.prepare.split_list import TRAINVAL, Row, image_id
from pipeline.runs import SHOWCASE, SPLITS


@dataclass(frozen=True)
class Division:
    """Every image has its place: in a split, in the showcase, or left out because of the showcase."""

    ids: dict[str, list[str]]  # of SPLITS and SHOWCASE
    groups: dict[str, str]  # of the images that have one
    left_out: list[tuple[str, str]]  # id and reason


def divide(ids: Sequence[str], rows: Mapping[str, Row] | None, data: FolderData, path: Path) -> Division:
    """Give every image its place; `path` is where the rows are from, for a message.

    Without a split in its row an image goes where the SHA-256 of its group, or else of its id, falls: files that are
    added move none that was there. Those of `trainval` are counted out by `for_validation`. The group of a showcase
    image is left out of the splits.

    Raises:
        PipelineError: A group stands in two splits, or the showcase names an unknown image.
    """
    rows = rows or {}
    written = {name: rows[name].split if name in rows else "" for name in ids}
    groups = {name: rows[name].group for name in ids if name in rows and rows[name].group}
    named = _named(data, ids)
    taken = {groups[name] for name in named if name in groups}
    pool = [name for name in ids if written[name] == TRAINVAL and name not in named and groups.get(name) not in taken]
    chosen = for_validation(pool, groups, data)

    def split_of(name: str) -> str:
        if written[name] == TRAINVAL:
            return "validation" if name in chosen else "train"
        return written[name] or hashed_split(data.seed, *_unit(name, groups), data.splits)

    splits = {name: split_of(name) for name in ids}
    shown = _chosen(data.seed, groups, splits) if data.showcase is None else named
    shows = {groups[name]: name for name in shown if name in groups}
    left_out = [
        (name, f"shares its group '{groups[name]}' with the showcase image {shows[groups[name]]}")
        for name in ids
        if name not in shown and groups.get(name) in shows
    ]
    out = {*shown, *(name for name, _ in left_out)}
    rest = sorted(name for name in ids if name not in out)
    _check_groups(rest, groups, written, path)
    by_split = {split: [name for name in rest if splits[name] == split] for split in SPLITS}
    return Division({**by_split, SHOWCASE: shown}, groups, left_out)


def hashed_split(seed: int, kind: str, name: str, shares: SplitShares) -> str:
    """The split of an image or a group by its name alone: a place on a line, test at its start, validation at its end.

    At the two ends, so that another share of the one leaves the other as it is.
    """
    place = int.from_bytes(_hash(seed, kind, name)[:6], "big") / 2**48
    if place < shares.test:
        return "test"
    return "validation" if place >= 1 - shares.validation else "train"


def for_validation(ids: Sequence[str], groups: Mapping[str, str], data: FolderData) -> set[str]:
    """The share of these images that `data.splits.validation` asks for, in the order of their names' SHA-256.

    `data.seed` k takes the k-th such share of the order, so that with a fifth the seeds 0 to 4 are the folds of a
    cross-validation. Counted out, and not by where each hash falls: a list that says `trainval` is fixed, so the exact
    number is worth more than that images added later move none. Groups come whole, until the number is reached or
    passed.
    """
    wanted = round(data.splits.validation * len(ids))
    units: dict[tuple[str, str], list[str]] = {}
    for name in ids:
        units.setdefault(_unit(name, groups), []).append(name)
    ordered = sorted(units, key=lambda unit: hashlib.sha256(unit[1].encode()).digest())
    before = [0, *accumulate(len(units[unit]) for unit in ordered)]  # images before each unit
    first = bisect_left(before, data.seed * wanted % max(1, len(ids)))
    chosen: set[str] = set()
    for unit in ordered[first:] + ordered[:first]:
        if len(chosen) >= wanted:
            break
        chosen.update(units[unit])
    return chosen


def _unit(name: str, groups: Mapping[str, str]) -> tuple[str, str]:
    """What stays together, as kind and name: an image's group, or the image alone."""
    return ("group", groups[name]) if name in groups else ("id", name)


def _named(data: FolderData, ids: Collection[str]) -> list[str]:
    """The images that `data.showcase` names."""
    shown = [image_id(name) for name in data.showcase or ()]
    for name, written in zip(shown, data.showcase or (), strict=True):
        if name not in ids:
            raise PipelineError(
                f"data.showcase: there is no image '{written}' in {data.path}; write the path below images/ without "
                f"its ending, or null to have one chosen."
            )
    return shown


def _chosen(seed: int, groups: Mapping[str, str], splits: Mapping[str, str]) -> list[str]:
    """An image of training to show: of the smallest group, which is lost with it, by a hash."""
    sizes = Counter(groups.values())
    train = [name for name, split in splits.items() if split == "train"]
    order = sorted(train, key=lambda name: (sizes[groups[name]] if name in groups else 1, _hash(seed, "", name)))
    return order[:1]


def _check_groups(ids: Sequence[str], groups: Mapping[str, str], written: Mapping[str, str], path: Path) -> None:
    """No group may stand in two splits: what images share would be seen in training.

    What the list says is compared, not what a hash makes of it: a list is right or wrong whatever the seed.
    """
    found: dict[str, str] = {}
    for name in ids:
        group = groups.get(name)
        if group is not None and found.setdefault(group, written[name]) != written[name]:
            raise PipelineError(
                f"{path}: the group '{group}' stands in {found[group] or 'no split'} and, with {name}, in "
                f"{written[name] or 'no split'}. Put it into one split, on all its lines."
            )


def _hash(seed: int, kind: str, name: str) -> bytes:
    return hashlib.sha256(f"{seed}/{kind}/{name}".encode()).digest()
