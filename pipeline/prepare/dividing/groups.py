"""Which group each image belongs to: as a list says, or as a pattern finds in its name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath

from pipeline.prepare.dividing.split_list import Row
from pipeline.prepare.faults import Fault, Kind
from pipeline.prepare.pairs import Pair

MARKS = ";="  # by which samples.csv tells groups apart


def groups_of(
    pairs: Iterable[Pair], rows: Mapping[str, Row], pattern: str | None
) -> tuple[dict[str, str], list[Fault]]:
    """The group of each image that has one, and the images that should have one and do not.

    `pattern` is searched in the image's path below images/, without its ending; its one ( ) names the group.
    """
    groups: dict[str, str] = {}
    faults = []
    for pair in pairs:
        if pair.id in rows and rows[pair.id].group:
            groups[pair.id] = rows[pair.id].group
        elif pattern is not None:
            path = PurePath(pair.image).with_suffix("").as_posix().partition("/")[2]
            found = re.search(pattern, path)
            group = (found[1] or "") if found else ""
            if not group:
                faults.append(Fault(Kind.NO_GROUP, pair.id, pair.image))
            elif set(group) & set(MARKS):
                faults.append(Fault(Kind.NO_GROUP, pair.id, pair.image, f"'{group}', but without ; and ="))
            else:
                groups[pair.id] = group
    return groups, faults
