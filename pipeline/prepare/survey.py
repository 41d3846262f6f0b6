"""Counts what the files are like that were prepared."""

from __future__ import annotations

from collections import Counter

from pipeline.prepare.decoding.decoded import Decoded
from pipeline.runs import Survey

NAMED = 10  # pairs of images that the survey names


class SurveyCount:
    """What is known so far."""

    def __init__(self) -> None:
        self._stored: Counter[str] = Counter()
        self._turned = self._transparent = self._compared = self._duplicates = 0
        self._first: list[tuple[str, str]] = []

    def add(self, decoded: Decoded) -> None:
        """Count a pair."""
        self._compared += 1
        self._stored[decoded.stored.kind] += 1
        self._turned += decoded.stored.turned
        self._transparent += decoded.stored.transparent

    def add_duplicate(self, name: str, other: str) -> None:
        """Count an image that looks the same as another one of its split."""
        self._duplicates += 1
        if len(self._first) < NAMED:
            self._first.append((other, name))

    def survey(self) -> Survey:
        """What was counted."""
        return Survey(
            stored=dict(sorted(self._stored.items(), key=lambda item: (-item[1], item[0]))),
            turned=self._turned,
            transparent=self._transparent,
            compared=self._compared,
            duplicates=self._duplicates,
            first_duplicates=tuple(self._first),
        )
