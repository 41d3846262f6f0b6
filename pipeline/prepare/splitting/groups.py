"""Find the groups of images in a list or by a pattern in their names, and suggest patterns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.prepare.image_mask_pair import ImageMaskPair, SplitRow
from pipeline.prepare.splitting.read_splits import strip_split_folders
from pipeline.wording import join_names, pluralize

_RESERVED = set(";=")  # separators in samples.csv

# Patterns for names that number the images of a group, from large groups to small ones. Groups that are too large make
# splits uneven, and groups that are too small leave related images in two splits.
_TOKEN = r"[ ._-][^ ._/-]*[0-9]+\)?"
_NAME_PATTERNS = (
    r"([^/]+)\.rf\.[0-9A-Za-z]+$",  # augmented copies that Roboflow exports
    rf"([^/]+?)(?:{_TOKEN})+$",  # slide1_x0_y256
    rf"([^/]+?){_TOKEN}$",  # patient1_slice07, 2021-03-01_0930
    r"([^/]+)/[^/]*[0-9]+$",  # patient1/07
    r"^([^/]+)/.*[0-9]+$",  # patient1/t1/07
    rf"^(.+?){_TOKEN}$",  # site1/p1_07 where p1 is in several sites
    r"([^/]*?[0-9]+)[A-Za-z]+[0-9]+$",  # p1s07
)
_MIN_GROUPS, _MAX_SHARE = 3, 0.75  # minimum number of groups, and maximum share of the images in the largest one
_MIN_SEVERAL = 0.8  # minimum share of the images whose group has several images


@dataclass(frozen=True)
class GroupSuggestion:
    """A suggested regular expression that finds groups in image names."""

    regex: str
    groups: int  # number of groups that it finds
    example: tuple[str, str]  # a name and its group

    def sentence(self, key: str) -> str:
        """Describe the groups, and the setting that uses them; `key` is the key of the `data` section."""
        name, group = self.example
        return (
            f"The names suggest {self.groups} groups, such as {group} in {name}. If the images of a group belong "
            f"together (same patient, film or slide), write {key}.splits.group_regex: '{self.regex}' to keep each "
            f"group in one split. Otherwise, training images resemble test images."
        )


def suggest_groups(paths: Sequence[str]) -> GroupSuggestion | None:
    """Suggest groups for names such as patient1_slice07.

    Most images must share their group with others, and no group may contain nearly all images.

    Args:
        paths: Paths of the images below images/, without their endings.

    Returns:
        The suggestion; None if no pattern fits.
    """
    names = [strip_split_folders(path) for path in paths]
    depths = {path.count("/") - name.count("/") for path, name in zip(paths, names, strict=True)}
    start = rf"^(?:[^/]+/){{{min(depths)}}}" if len(depths) == 1 and depths != {0} else "^"  # skips split folders
    for numbered in _NAME_PATTERNS:
        regex = numbered.replace("^(", f"{start}(")
        groups = _match_groups(regex, paths)
        if groups is None or groups != _match_groups(numbered, names):
            continue
        sizes = Counter(groups)
        several = sum(count for count in sizes.values() if count > 1)
        is_plausible = len(sizes) >= _MIN_GROUPS and max(sizes.values()) <= _MAX_SHARE * len(names)
        if is_plausible and several >= _MIN_SEVERAL * len(names):
            return GroupSuggestion(regex, len(sizes), (names[0], groups[0]))
    return None


def _match_groups(regex: str, names: Sequence[str]) -> list[str] | None:
    """Find the group of each name.

    Return None if a name has no group, or if a group is in several folders, such as t1 in every patient's folder.
    """
    found = [re.search(regex, name) for name in names]
    folders: dict[str, str] = {}
    groups = []
    for one in found:
        if one is None:
            return None
        folder = strip_split_folders(f"{one.string[: one.start(1)]}name")
        if folders.setdefault(one[1], folder) != folder:
            return None
        groups.append(one[1])
    return groups


def find_groups(
    pairs: Iterable[ImageMaskPair], rows: Mapping[str, SplitRow], pattern: str | None
) -> tuple[dict[str, str], list[DataIssue]]:
    """Find the groups of images in the split list or by a pattern. Otherwise, the slices of a volume are a group.

    Args:
        pairs: Pairs of images and masks.
        rows: Rows of the split list, by image id.
        pattern: Regular expression to search for in the name, such as the path below images/ without the extension. Its
            ( ) matches the group. None if names contain no groups.

    Returns:
        Groups by image id, and issues with images whose names contain no group.
    """
    groups: dict[str, str] = {}
    issues = []
    for pair in pairs:
        if pair.id in rows and rows[pair.id].group:
            groups[pair.id] = rows[pair.id].group
        elif pattern is not None:
            found = re.search(pattern, pair.name)
            group = (found[1] or "") if found else ""
            if not group:
                issues.append(DataIssue(IssueKind.NO_GROUP, pair.id, pair.image))
            elif set(group) & _RESERVED:
                issues.append(DataIssue(IssueKind.NO_GROUP, pair.id, pair.image, f"'{group}' contains ; or ="))
            else:
                groups[pair.id] = group
        elif set(pair.volume) & _RESERVED:
            issues.append(DataIssue(IssueKind.NAME, pair.id, pair.image, "contains ; or ="))
        elif pair.volume:
            groups[pair.id] = pair.volume
    return groups, issues


def describe_similar_groups(groups: Collection[str]) -> Iterator[str]:
    """Describe groups whose names differ only in case, such as P01 and p01, which are probably one group."""
    spellings: dict[str, list[str]] = {}
    for name in sorted(set(groups)):
        spellings.setdefault(name.casefold(), []).append(name)
    similar = [names for names in spellings.values() if len(names) > 1]
    if similar:
        which = pluralize(len(similar), "group has several spellings", "groups have several spellings each")
        yield (
            f"{which} that differ only in case, such as {join_names(similar[0])}. They are different groups, so "
            f"related images may be in several splits. If they belong together, use one spelling, in the names of the "
            f"images or in the column with the groups."
        )
