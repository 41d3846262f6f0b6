"""What the files were that the data was prepared from, and which of them were set aside."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from pipeline.report import wording
from pipeline.runs import Survey

MOST_REASONS = 10
MOST_IDS = 10


@dataclass(frozen=True)
class Files:
    """Sentences on the files as they were found, and pairs of images that look the same."""

    sentences: tuple[str, ...]
    pairs_title: str
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Reason:
    """Why some files were set aside."""

    text: str
    count: str
    ids: tuple[str, ...]
    more: str  # how many further ids there are; empty where there are none


@dataclass(frozen=True)
class SetAside:
    """What stands in no split."""

    title: str
    reasons: tuple[Reason, ...]
    more: str  # how many further reasons there are; empty where there are none


def files(survey: Survey) -> Files:
    """What a survey says, in sentences."""
    pairs = survey.first_duplicates
    number = "pair" if len(pairs) == 1 else "pairs"
    return Files(
        sentences=(*_stored(survey), _empty(survey.empty_masks), *_duplicates(survey)),
        pairs_title=f"The {number}" if len(pairs) == survey.duplicates else f"The first {len(pairs)} {number}",
        pairs=pairs,
    )


def _stored(survey: Survey) -> tuple[str, ...]:
    """How files were stored, and what was done about it; nothing where images are made of several files."""
    if not survey.stored:
        return ()
    kinds = sorted(survey.stored.items(), key=lambda item: (-item[1], item[0]))
    if len(kinds) == 1:
        stored = f"All {wording.whole(kinds[0][1])} images were stored as {kinds[0][0]}."
    else:
        stored = f"Images were stored as {wording.listing([f'{kind} ({wording.whole(n)})' for kind, n in kinds])}."
    if not survey.turned and not survey.transparent:
        return stored, "None had to be turned upright, and none has transparent parts."
    turned = f"{_were(survey.turned)} turned upright, as the EXIF orientation says"
    holds = f"{wording.whole(survey.transparent) if survey.transparent else 'none'} {_has(survey.transparent)}"
    became = ", which became black" if survey.transparent else ""
    return stored, f"{turned}; {holds} transparent parts{became}."


def _empty(count: int) -> str:
    if not count:
        return "Every mask holds foreground."
    return f"{wording.whole(count)} {'mask holds' if count == 1 else 'masks hold'} no foreground."


def _duplicates(survey: Survey) -> tuple[str, ...]:
    if not survey.compared:
        return ()
    compared = f"Of {wording.whole(survey.compared)} images that were compared with each other,"
    if not survey.duplicates:
        return (f"{compared} no two look the same.",)
    pairs = f"{wording.whole(survey.duplicates)} {'pair' if survey.duplicates == 1 else 'pairs'}"
    return (f"{compared} {pairs} within one split look the same; across splits there are none.",)


def set_aside(rejected: pd.DataFrame) -> SetAside | None:
    """What was rejected, the most frequent reason first; None where nothing was."""
    if rejected.empty:
        return None
    by_reason = sorted(
        ((str(reason), list(rows)) for reason, rows in rejected.groupby("reason", sort=False)["id"]),
        key=lambda item: -len(item[1]),
    )
    title = f"{_were(len(rejected))} set aside"
    return SetAside(
        title=title[:1].upper() + title[1:],
        reasons=tuple(
            Reason(reason, wording.whole(len(ids)), tuple(ids[:MOST_IDS]), _more(len(ids) - MOST_IDS, "more", "more"))
            for reason, ids in by_reason[:MOST_REASONS]
        ),
        more=_more(len(by_reason) - MOST_REASONS, "further reason", "further reasons"),
    )


def _were(count: int) -> str:
    return f"{wording.whole(count) if count else 'None'} {'was' if count <= 1 else 'were'}"


def _has(count: int) -> str:
    return "has" if count <= 1 else "have"


def _more(count: int, singular: str, plural: str) -> str:
    return f"{wording.whole(count)} {singular if count == 1 else plural}" if count > 0 else ""
