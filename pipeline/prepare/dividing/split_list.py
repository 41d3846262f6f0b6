"""The list that gives images their splits and groups: `splits.csv`, or the table that `data.splits.list` names."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.params.data.image_data import SplitList
from pipeline.prepare.names import NAMED, image_id, listed
from pipeline.runs import SPLITS

USUAL = SplitList(file="splits.csv", id="id", split="split", group="group")  # beside images/; the group may be missing
TRAINVAL = "trainval"  # training or validation: data sets with an official test split have it

VALTEST = "valtest"  # validation or test: folders named train and val, without one for the test


@dataclass(frozen=True)
class Row:
    """What the list says of an image; empty where it says nothing."""

    split: str = ""
    group: str = ""


def read_list(
    folder: Path, asked: SplitList | None, ids: Collection[str], usable: Collection[str], key: str
) -> dict[str, Row] | None:
    """Read what a list says of each image.

    Args:
        folder: of the images, which the list's path starts from.
        asked: the list; None for `splits.csv`, if it is there.
        ids: that may stand there.
        usable: those that must.
        key: that `asked` stands under, for messages.

    Returns:
        A row an image; None where no list is asked for and there is no `splits.csv`.

    Raises:
        PipelineError: The list, a column or an image is missing, or a line names an unknown image, one twice or an
            unknown split.
    """
    names = asked or USUAL
    path = folder / names.file
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # -sig: spreadsheets begin with a mark
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            lines = [(reader.line_num, {column: (row[column] or "").strip() for column in columns}) for row in reader]
    except FileNotFoundError:
        if asked is None:
            return None
        raise PipelineError(
            f"{key}.file: there is no {path}. Write the list's path from {folder} on, or null for {key}: then "
            f"{USUAL.file} divides, or a hash where that is not there either."
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PipelineError(f"{path} cannot be read ({error}). Save it as CSV in UTF-8.") from None
    _check_columns(path, columns, asked, key)
    rows: dict[str, Row] = {}
    mistakes = []
    for number, line in lines:
        written = line[names.id]
        name, row = image_id(written), Row(line.get(names.split or "", ""), line.get(names.group or "", ""))
        if mistake := _mistake(written, name, row, ids, rows):
            mistakes.append(f"{path}, line {number}: {mistake}")
        rows.setdefault(name, row)
    if mistakes:
        more = [f"{path}: and {len(mistakes) - NAMED} more such lines."] if len(mistakes) > NAMED else []
        raise PipelineError("\n".join(mistakes[:NAMED] + more))
    if missing := sorted(set(usable) - set(rows)):
        raise PipelineError(
            f"{path} says nothing of {len(missing)} of {len(usable)} images: {listed(missing)}. Add a line for each; "
            f"an empty split is chosen by a hash."
        )
    return rows


def _check_columns(path: Path, columns: Sequence[str], asked: SplitList | None, key: str) -> None:
    there = ", ".join(columns) or "none"
    if asked is None:
        if not {USUAL.id, USUAL.split} <= set(columns):
            raise PipelineError(
                f"{path}, line 1: the columns must be id,split or id,split,group, with commas between them, but are "
                f"{','.join(columns) or 'missing'}. Columns of other names: write them in {key}."
            )
        return
    mistakes = []
    for role in ("id", "split", "group"):
        name = getattr(asked, role)
        if name is not None and name not in columns:
            near = difflib.get_close_matches(name, columns, n=1, cutoff=0.4)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            mistakes.append(f"{key}.{role}: {path} has no column '{name}'; its columns are {there}.{hint}")
    if mistakes:
        raise PipelineError("\n".join(mistakes))


def _mistake(written: str, name: str, row: Row, ids: Collection[str], rows: Mapping[str, Row]) -> str:
    if name not in ids:
        return f"there is no image '{written}'; an id is the path below images/ without its ending."
    if name in rows:
        return f"'{written}' stands there twice; an image is in one split, remove a line."
    if row.split not in (*SPLITS, TRAINVAL, ""):
        return (
            f"the split '{row.split}' must be one of {', '.join((*SPLITS, TRAINVAL))}, or empty to have it chosen by a "
            f"hash."
        )
    if set(row.group) & set(";="):
        return f"the group '{row.group}' must hold neither ; nor =."
    return ""
