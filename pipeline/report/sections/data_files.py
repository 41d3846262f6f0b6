"""What the files were that the data was prepared from, and which of them were set aside."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pandas as pd

from pipeline import runs
from pipeline.report import wording
from pipeline.runs import Survey

MOST_REASONS = 10
MOST_FILES = 5  # of a reason; `rejected.csv` has them all
# A fault as `prepare` writes it: its kind, then the file and what is the matter with it. Other reasons may hold a colon
# in a name, which stands in quotes there.
_FAULT = re.compile(r"([^':]+): (.+)", re.DOTALL)


@dataclass(frozen=True)
class Files:
    """Sentences on the files as they were found, and pairs of images that look the same."""

    sentences: tuple[str, ...]
    pairs_title: str
    pairs: tuple[tuple[str, str], ...]
    notices: tuple[str, ...]


@dataclass(frozen=True)
class Reason:
    """Why some files were set aside."""

    text: str
    count: str
    files: tuple[str, ...]
    more: str  # how many further files there are; empty where there are none


@dataclass(frozen=True)
class SetAside:
    """What stands in no split."""

    title: str
    reasons: tuple[Reason, ...]
    more: str  # how many further reasons there are; empty where there are none
    path: str  # of the file that names all


def files(survey: Survey) -> Files | None:
    """What a survey says, in sentences; None where the images were made and not found."""
    sentences = (*_stored(survey), *_duplicates(survey))
    if not sentences and not survey.notices:
        return None
    pairs = survey.first_duplicates
    number = "pair" if len(pairs) == 1 else "pairs"
    title = f"The {number}" if len(pairs) == survey.duplicates else f"The first {len(pairs)} {number}"
    return Files(sentences, title, pairs, survey.notices)


def _stored(survey: Survey) -> tuple[str, ...]:
    """How the files were stored, and what was done about it; of composites only those that are tested on are files."""
    if not survey.stored:
        return ()
    read = wording.plural(sum(survey.stored.values()), "image was", "images were")
    kinds = sorted(survey.stored.items(), key=lambda item: (-item[1], item[0]))
    if len(kinds) == 1:
        stored = f"all stored as {kinds[0][0]}"
    else:
        stored = f"stored as {wording.listing([f'{kind} ({wording.whole(count)})' for kind, count in kinds])}"
    turned, transparent = "None had to be turned upright", "none has transparent parts"
    if survey.turned:
        turned = f"{wording.plural(survey.turned, 'was', 'were')} turned upright, as the EXIF orientation says"
    if survey.transparent:
        transparent = f"{wording.plural(survey.transparent, 'has', 'have')} transparent parts, which became black"
    return f"{read} read from files, {stored}.", f"{turned}; {transparent}."


def _duplicates(survey: Survey) -> tuple[str, ...]:
    if not survey.compared:
        return ()
    compared = f"Of {wording.whole(survey.compared)} images that were compared with each other,"
    if not survey.duplicates:
        return (f"{compared} no two look the same.",)
    alike = wording.plural(survey.duplicates, "looks", "look")
    return (f"{compared} {alike} the same as another one of the same split; across splits there are none.",)


def set_aside(rejected: pd.DataFrame) -> SetAside | None:
    """What was rejected, the most frequent reason first; None where nothing was."""
    if rejected.empty:
        return None
    by_reason: dict[str, list[str]] = {}
    for name, reason in zip(rejected["id"], rejected["reason"], strict=True):
        fault = _FAULT.fullmatch(reason)
        text, file = fault.groups() if fault else (reason, name)
        by_reason.setdefault(text, []).append(file)
    ordered = sorted(by_reason.items(), key=lambda item: -len(item[1]))
    rest = len(ordered) - MOST_REASONS
    return SetAside(
        title=wording.plural(len(rejected), "was set aside", "were set aside"),
        reasons=tuple(_reason(text, names) for text, names in ordered[:MOST_REASONS]),
        more=wording.plural(rest, "further reason") if rest > 0 else "",
        path=str(runs.PREPARED / runs.REJECTED),
    )


def _reason(text: str, names: list[str]) -> Reason:
    rest = len(names) - MOST_FILES
    more = f"{wording.whole(rest)} more" if rest > 0 else ""
    return Reason(text, wording.whole(len(names)), tuple(names[:MOST_FILES]), more)
