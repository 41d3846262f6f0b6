"""Whether the splits are disjoint, as `samples.csv` itself shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from pipeline.report import wording

SHOWN = 5  # of each kind


@dataclass(frozen=True)
class Stray:
    """What stands in two splits or more."""

    kind: str  # image, or the factor of a group
    name: str
    places: str


@dataclass(frozen=True)
class Overlap:
    """Splits that share something: what each score of the page would be flattered by."""

    sentence: str
    strays: tuple[Stray, ...]


def group_names(samples: pd.DataFrame) -> pd.DataFrame:
    """The groups of the samples: a row a sample and factor, with `split`, `factor` and `name`.

    A separator counts as one where a factor follows: names may hold it too.
    """
    parts = samples["groups"].str.split(r";(?=\w+=)", regex=True).explode()
    pairs = parts[parts.str.contains("=")].str.split("=", n=1)
    split = samples["split"].loc[pairs.index]
    return pd.DataFrame({"split": split, "factor": pairs.str[0], "name": pairs.str[1]})


def overlap(samples: pd.DataFrame) -> Overlap | None:
    """What stands in two splits, or in one and in the showcase; None where nothing does.

    An image is its id and, whatever its id, the content of its files.
    """
    same_id = _strays("image", samples["id"], samples["split"])
    hashed = samples[(samples["sha256"] != "") & ~samples["id"].isin({stray.name for stray in same_id})]
    same_files = _strays("image", hashed["sha256"], hashed["split"], hashed["id"])
    groups = group_names(samples)
    of_factors = [
        stray
        for factor, rows in groups.groupby("factor", sort=False)
        for stray in _strays(str(factor), rows["name"], rows["split"])
    ]
    images = [*same_id, *same_files]
    if not images and not of_factors:
        return None
    counts = [wording.plural(len(found), noun) for found, noun in ((images, "image"), (of_factors, "group")) if found]
    verb = "stands" if len(images) + len(of_factors) == 1 else "stand"
    return Overlap(
        f"{wording.listing(counts)} {verb} in more than one split. What was trained on is no test: every score and gap "
        "of this page may look better than it is. Divide the images anew, then run make report.",
        (*images[:SHOWN], *of_factors[:SHOWN]),
    )


def disjoint(samples: pd.DataFrame) -> str:
    """What can be said where nothing stands in two splits."""
    if group_names(samples).empty:
        return "No image stands in two splits; which images belong together is not known, for they have no groups."
    return "No image and no group stands in two splits."


def _strays(
    kind: str, keys: pd.Series[str], splits: pd.Series[str], names: pd.Series[str] | None = None
) -> list[Stray]:
    """What has one key in several splits, by its name: the key itself, or where that is none a person's, `names`."""
    table = pd.DataFrame({"key": keys, "split": splits, "name": keys if names is None else names})
    table = table.drop_duplicates(["key", "split"])
    shared = table[table.duplicated("key", keep=False)]
    return [_stray(kind, rows["name"], rows["split"]) for _, rows in shared.groupby("key", sort=False)]


def _stray(kind: str, names: Iterable[str], splits: Iterable[str]) -> Stray:
    places = wording.listing([wording.SPLITS.get(split, split) for split in splits])
    return Stray(kind, " = ".join(dict.fromkeys(names)), places)
