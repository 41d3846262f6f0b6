"""Leakage between splits: images and groups in more than one split, from `samples.csv`."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from pipeline.artifacts.prepared_data import list_groups
from pipeline.report.formatting import SPLIT_NAMES
from pipeline.wording import join_words, pluralize

MAX_LISTED = 5  # images, and groups, that are listed


LeakedGroup = tuple[str, str, str]  # "image" or the factor of a group, its name, and the splits that have it


@dataclass(frozen=True)
class SplitLeakage:
    """Images and groups that are in several splits, which makes all scores look better than they are."""

    sentence: str
    groups: tuple[LeakedGroup, ...]


def find_split_leakage(samples: pd.DataFrame) -> SplitLeakage | None:
    """Find images and groups that are in more than one split; None if there are none.

    The showcase counts as a split. Images are the same if their ids or the contents of their files are equal.
    """
    same_id = _find_shared("image", samples["id"], samples["split"])
    hashed = samples[(samples["sha256"] != "") & ~samples["id"].isin({name for _, name, _ in same_id})]
    same_files = _find_shared("image", hashed["sha256"], hashed["split"], hashed["id"])
    of_factors = [
        group
        for factor, rows in list_groups(samples["groups"]).groupby("factor", sort=False)
        for group in _find_shared(str(factor), rows["name"], samples["split"][rows.index])
    ]
    images = [*same_id, *same_files]
    if not images and not of_factors:
        return None
    counts = [pluralize(len(found), noun) for found, noun in ((images, "image"), (of_factors, "group")) if found]
    verb = "is" if len(images) + len(of_factors) == 1 else "are"
    return SplitLeakage(
        f"{join_words(counts)} {verb} in more than one split. This leaks training data into evaluation: scores "
        "and gaps on this page may look better than they are. Fix the splits, then run make report.",
        (*images[:MAX_LISTED], *of_factors[:MAX_LISTED]),
    )


def describe_disjoint_splits(samples: pd.DataFrame) -> str:
    """Describe splits that share no image and no group."""
    if list_groups(samples["groups"]).empty:
        return "No image is in more than one split. No groups are declared, so related images may be in several splits."
    return "No image and no group is in more than one split."


def _find_shared(
    kind: str, keys: pd.Series[str], splits: pd.Series[str], names: pd.Series[str] | None = None
) -> list[LeakedGroup]:
    """Find keys that are in several splits.

    They are listed under `names`, or under the keys themselves if `names` is None.
    """
    table = pd.DataFrame({"key": keys, "split": splits, "name": keys if names is None else names})
    table = table.drop_duplicates(["key", "split"])
    shared = table[table.duplicated("key", keep=False)]
    return [
        (
            kind,
            " = ".join(dict.fromkeys(rows["name"])),
            join_words([SPLIT_NAMES.get(split, split) for split in rows["split"]]),
        )
        for _, rows in shared.groupby("key", sort=False)
    ]
