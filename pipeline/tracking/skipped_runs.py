"""Runs in MLflow that match a search but cannot be on the page, and the sentences that name them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline import runs

MAX_NAMED = 12  # authors, runs of an author, and faults named in full; more are counted


@dataclass(frozen=True)
class SkippedRun:
    """A run that a page leaves out, and why."""

    author: str
    run: str
    fault: str  # a sentence on what is wrong with its files; empty for a run of other data


def describe_skipped(skipped: Iterable[SkippedRun]) -> tuple[str, ...]:
    """Write the sentences that say which runs were skipped: one on other data, one for each run with a fault."""
    by_author: dict[str, list[str]] = {}
    faults: list[str] = []
    for one in skipped:
        if one.fault:
            faults.append(f"{one.run} of {one.author} was skipped: {one.fault}")
        else:
            by_author.setdefault(one.author, []).append(one.run)
    sentences = [_of_other_data(by_author)] if by_author else []
    sentences += faults[:MAX_NAMED]
    if len(faults) > MAX_NAMED:
        sentences.append(f"{len(faults) - MAX_NAMED} more runs were skipped because of faults in their files.")
    return tuple(sentences)


def _of_other_data(by_author: dict[str, list[str]]) -> str:
    count = sum(map(len, by_author.values()))
    verb = "1 run was" if count == 1 else f"{count} runs were"
    named = _shorten([f"{author} ({_shorten(names)})" for author, names in sorted(by_author.items())])
    return f"{verb} trained on other data than {runs.PREPARED} holds and skipped: {named}."


def _shorten(names: Sequence[str]) -> str:
    rest = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return f"{', '.join(names[:MAX_NAMED])}{rest}"
