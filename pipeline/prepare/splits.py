"""Which image stands in which split: as `splits.csv` says, or by a hash that no other file has a say in."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.params.data import FolderData, SplitShares
from pipeline.runs import SHOWCASE, SPLITS

FILE = "splits.csv"  # beside images/; columns id, split and perhaps group
NAMED = 10  # files or lines that an error names


@dataclass(frozen=True)
class Row:
    """What `splits.csv` says of an image; empty where it says nothing."""

    split: str = ""
    group: str = ""


@dataclass(frozen=True)
class Division:
    """Every image has its place: in a split, in the showcase, or left out because of the showcase."""

    ids: dict[str, list[str]]  # of SPLITS and SHOWCASE
    groups: dict[str, str]  # of the images that have one
    left_out: list[tuple[str, str]]  # id and reason


def image_id(path: str) -> str:
    """An image's id from its path below images/, without the ending: fit for a file's name, nested or not."""
    return path.replace("\\", "/").replace("/", "__")


def read_splits(path: Path, ids: Collection[str]) -> dict[str, Row] | None:
    """Read `splits.csv`; None where there is none.

    Raises:
        PipelineError: A column or an image is missing, or a line names an unknown image, one twice or an unknown split.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # -sig: spreadsheets begin with a mark
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            lines = [(reader.line_num, {key: (row[key] or "").strip() for key in columns}) for row in reader]
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PipelineError(f"{path} cannot be read ({error}). Save it as CSV in UTF-8.") from None
    if not {"id", "split"} <= set(columns):
        raise PipelineError(
            f"{path}, line 1: the columns must be id,split or id,split,group, with commas between them, but are "
            f"{','.join(columns) or 'missing'}."
        )
    rows: dict[str, Row] = {}
    mistakes = []
    for number, line in lines:
        name, row = image_id(line["id"]), Row(line["split"], line.get("group", ""))
        if mistake := _mistake(line["id"], name, row, ids, rows):
            mistakes.append(f"{path}, line {number}: {mistake}")
        rows.setdefault(name, row)
    if mistakes:
        more = [f"{path}: and {len(mistakes) - NAMED} more such lines."] if len(mistakes) > NAMED else []
        raise PipelineError("\n".join(mistakes[:NAMED] + more))
    if missing := sorted(set(ids) - set(rows)):
        raise PipelineError(
            f"{path} says nothing of {len(missing)} of {len(ids)} images: {listed(missing)}. Add a line for each; an "
            f"empty split is chosen by a hash."
        )
    return rows


def _mistake(written: str, name: str, row: Row, ids: Collection[str], rows: Mapping[str, Row]) -> str:
    if name not in ids:
        return f"there is no image '{written}'; an id is the path below images/ without its ending."
    if name in rows:
        return f"'{written}' stands there twice; an image is in one split, remove a line."
    if row.split not in (*SPLITS, ""):
        return f"the split '{row.split}' must be one of {', '.join(SPLITS)}, or empty to have it chosen by a hash."
    if set(row.group) & set(";="):
        return f"the group '{row.group}' must hold neither ; nor =."
    return ""


def divide(ids: Sequence[str], rows: Mapping[str, Row] | None, data: FolderData, path: Path) -> Division:
    """Give every image its place; `path` is where the rows are from, for a message.

    Without a split in its row an image goes where the SHA-256 of its group, or else of its id, falls: files that are
    added move none that was there. The group of a showcase image is left out of the splits.

    Raises:
        PipelineError: A group stands in two splits, or the showcase names an unknown image.
    """
    rows = rows or {}
    groups = {name: rows[name].group for name in ids if name in rows and rows[name].group}
    splits = {
        name: (rows[name].split if name in rows else "")
        or hashed_split(data.seed, "group" if name in groups else "id", groups.get(name, name), data.splits)
        for name in ids
    }
    shown = _showcase(data, groups, splits)
    taken = {groups[name]: name for name in shown if name in groups}
    left_out = [
        (name, f"shares its group '{groups[name]}' with the showcase image {taken[groups[name]]}")
        for name in ids
        if name not in shown and groups.get(name) in taken
    ]
    out = {*shown, *(name for name, _ in left_out)}
    rest = sorted(name for name in ids if name not in out)
    _check_groups(rest, groups, splits, path)
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


def _showcase(data: FolderData, groups: Mapping[str, str], splits: Mapping[str, str]) -> list[str]:
    """The images that are named, or one of training: of the smallest group, which is lost with it, by a hash."""
    if data.showcase is None:
        sizes = Counter(groups.values())
        train = [name for name, split in splits.items() if split == "train"]
        order = sorted(
            train, key=lambda name: (sizes[groups[name]] if name in groups else 1, _hash(data.seed, "", name))
        )
        return order[:1]
    shown = [image_id(name) for name in data.showcase]
    for name, written in zip(shown, data.showcase, strict=True):
        if name not in splits:
            raise PipelineError(
                f"data.showcase: there is no image '{written}' in {data.path}; write the path below images/ without "
                f"its ending, or null to have one chosen."
            )
    return shown


def _check_groups(ids: Sequence[str], groups: Mapping[str, str], splits: Mapping[str, str], path: Path) -> None:
    """No group may stand in two splits: what images share would be seen in training."""
    found: dict[str, str] = {}
    for name in ids:
        group = groups.get(name)
        if group is not None and found.setdefault(group, splits[name]) != splits[name]:
            raise PipelineError(
                f"{path}: the group '{group}' stands in {found[group]} and, with {name}, in {splits[name]}. Put it "
                f"into one split, on all its lines."
            )


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _hash(seed: int, kind: str, name: str) -> bytes:
    return hashlib.sha256(f"{seed}/{kind}/{name}".encode()).digest()
