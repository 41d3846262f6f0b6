"""Which group each image belongs to: as a list says, as a pattern finds in its name, or as its name suggests."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from pipeline.prepare.dividing.split_folders import strip_split_folders
from pipeline.prepare.dividing.split_list import Row
from pipeline.prepare.faults import Fault, Kind
from pipeline.prepare.pairs import Pair

MARKS = ";="  # by which samples.csv tells groups apart

# What names that number the images of a group look like: patient1_slice07, patient1/07, patient1slice07.
_NUMBERED = (
    r"([^/]+?)[_-][^_/-]*[0-9]+$",
    r"([^/]+)/[^/]*[0-9]+$",
    r"^(.+?)[_/-][^_/-]*[0-9]+$",
    r"([^/]*?[0-9]+)[A-Za-z]+[0-9]+$",
)
_MIN_GROUPS, _MAX_SHARE = 3, 0.5


@dataclass(frozen=True)
class GroupSuggestion:
    """A regular expression that finds groups in the names of images, and how many it finds."""

    regex: str
    groups: int
    example: tuple[str, str]  # a name and its group

    def sentence(self) -> str:
        """Tell a person what the names suggest, and what to do about it."""
        name, group = self.example
        return (
            f"The names suggest {self.groups} groups, such as {group} in {name}. If the images of a group belong "
            f"together (a patient, a film, a slide), write data.splits.group_pattern: '{self.regex}', so that no group "
            f"is in two splits: else what is trained on resembles what is tested on."
        )


def suggest_groups(paths: Sequence[str]) -> GroupSuggestion | None:
    """Find groups that names such as patient1_slice07 suggest: each of several images, and none of most.

    Args:
        paths: of the images below images/, without their endings.
    """
    names = [strip_split_folders(path) for path in paths]
    for regex in _NUMBERED:
        found = [re.search(regex, name) for name in names]
        sizes = Counter(one[1] for one in found if one)
        several = sum(count for count in sizes.values() if count > 1)
        if len(sizes) >= _MIN_GROUPS and several == len(names) and max(sizes.values()) <= _MAX_SHARE * len(names):
            name, first = next((name, one) for name, one in zip(names, found, strict=True) if one)
            return GroupSuggestion(regex, len(sizes), (name, first[1]))
    return None


def name_below_images(file: str) -> str:
    """An image's path below images/, without its ending."""
    return PurePath(file).with_suffix("").as_posix().partition("/")[2]


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
            found = re.search(pattern, name_below_images(pair.image))
            group = (found[1] or "") if found else ""
            if not group:
                faults.append(Fault(Kind.NO_GROUP, pair.id, pair.image))
            elif set(group) & set(MARKS):
                faults.append(Fault(Kind.NO_GROUP, pair.id, pair.image, f"'{group}', but without ; and ="))
            else:
                groups[pair.id] = group
    return groups, faults
