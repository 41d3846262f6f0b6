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
        self._turned = self._transparent = self._compared = 0

    def add(self, decoded: Decoded) -> None:
        """Count a pair."""
        self._compared += 1
        self._stored[decoded.stored.kind] += 1
        self._turned += decoded.stored.turned
        self._transparent += decoded.stored.transparent

    def survey(self) -> Survey:
        """What was counted; of duplicates, which others look for, none."""
        return Survey(
            stored=dict(sorted(self._stored.items(), key=lambda item: (-item[1], item[0]))),
            turned=self._turned,
            transparent=self._transparent,
            compared=self._compared,
            duplicates=0,
            first_duplicates=(),
        )
