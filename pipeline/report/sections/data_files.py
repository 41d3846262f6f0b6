"""The image files that the data was prepared from, and the files that were skipped."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pandas as pd

from pipeline.artifacts.prepared_data import DatasetStats, PreparedData
from pipeline.artifacts.project import PREPARED
from pipeline.wording import join_words, pluralize

MAX_REASONS = 10  # reasons that are listed; others are counted
MAX_FILES = 5  # files that are listed per reason; `skipped.csv` has all
# An issue as `prepare` writes it: kind, colon, file and details. Other reasons have colons only in quoted names.
_ISSUE = re.compile(r"([^':]+): (.+)", re.DOTALL)


@dataclass(frozen=True)
class FileSummary:
    """Sentences on the files, and pairs of near-duplicate images."""

    sentences: tuple[str, ...]
    pairs_title: str
    pairs: tuple[tuple[str, str], ...]
    notices: tuple[str, ...]


@dataclass(frozen=True)
class SkipReason:
    """A reason why files were skipped, with the first of these files."""

    text: str
    count: str
    files: tuple[str, ...]
    more: str  # number of further files; empty if there are none


@dataclass(frozen=True)
class SkippedFiles:
    """Files that `prepare` skipped, by reason."""

    title: str
    reasons: tuple[SkipReason, ...]
    more: str  # number of further reasons; empty if there are none
    path: str  # of the complete list; empty if there is no file


def describe_files(stats: DatasetStats) -> FileSummary | None:
    """Describe the files that the data was prepared from.

    Returns:
        The description; None if there are no files, as for composites.
    """
    sentences = (*_describe_formats(stats), *_describe_duplicates(stats))
    if not sentences and not stats.notices:
        return None
    pairs = stats.first_duplicates
    number = "pair" if len(pairs) == 1 else "pairs"
    title = f"The {number}" if len(pairs) == stats.duplicates else f"The first {len(pairs)} {number}"
    return FileSummary(sentences, title, pairs, stats.notices)


def _describe_formats(stats: DatasetStats) -> tuple[str, ...]:
    """Describe the file formats and how images were converted.

    Composites have no files, except for images of an external test set.
    """
    if not stats.formats:
        return ()
    read = pluralize(sum(stats.formats.values()), "image was", "images were")
    kinds = sorted(stats.formats.items(), key=lambda item: (-item[1], item[0]))
    if len(kinds) == 1:
        stored = f"all stored as {kinds[0][0]}"
    else:
        stored = f"stored as {join_words([f'{kind} ({count:,})' for kind, count in kinds])}"
    turned, transparent = "None needed rotation", "none has transparent parts"
    if stats.rotated:
        turned = f"{pluralize(stats.rotated, 'was', 'were')} rotated according to EXIF orientation"
    if stats.transparent:
        transparent = f"{pluralize(stats.transparent, 'has', 'have')} transparent parts, which became black"
    return f"{read} read from files, {stored}.", f"{turned}; {transparent}."


def _describe_duplicates(stats: DatasetStats) -> tuple[str, ...]:
    if not stats.compared:
        return ()
    compared = f"Of {stats.compared:,} images that were compared,"
    if not stats.duplicates:
        return (f"{compared} no two are near-duplicates.",)
    alike = pluralize(stats.duplicates, "is a near-duplicate", "are near-duplicates")
    return (f"{compared} {alike} of another image in the same split; there are none across splits.",)


def describe_skipped(skipped: pd.DataFrame, path: str = str(PREPARED / PreparedData.SKIPPED)) -> SkippedFiles | None:
    """Describe the skipped files, the most frequent reason first; None if no file was skipped."""
    if skipped.empty:
        return None
    by_reason: dict[str, list[str]] = {}
    for name, reason in zip(skipped["id"], skipped["reason"], strict=True):
        issue = _ISSUE.fullmatch(reason)
        text, file = issue.groups() if issue else (reason, name)
        by_reason.setdefault(text, []).append(file)
    ordered = sorted(by_reason.items(), key=lambda item: -len(item[1]))
    rest = len(ordered) - MAX_REASONS
    return SkippedFiles(
        title=pluralize(len(skipped), "file was skipped", "files were skipped"),
        reasons=tuple(_build_reason(text, names) for text, names in ordered[:MAX_REASONS]),
        more=pluralize(rest, "further reason") if rest > 0 else "",
        path=path,
    )


def _build_reason(text: str, names: list[str]) -> SkipReason:
    rest = len(names) - MAX_FILES
    more = f"{rest:,} more" if rest > 0 else ""
    return SkipReason(text, f"{len(names):,}", tuple(names[:MAX_FILES]), more)
