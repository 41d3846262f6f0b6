"""Counts what the files are like that were prepared."""

from __future__ import annotations

from collections import Counter

import numpy as np

from pipeline.prepare.decoding.decoded import Decoded
from pipeline.runs import Survey

NAMED = 10  # pairs of images that the survey names
DARK = 1 / 8  # of the range: where all images stay below it, they were not scaled to it


class SurveyCount:
    """What is known so far."""

    def __init__(self) -> None:
        self._stored: Counter[str] = Counter()
        self._turned = self._transparent = self._compared = 0
        self._brightest = 0.0

    def add(self, decoded: Decoded) -> None:
        """Count a pair."""
        self._compared += 1
        self._stored[decoded.stored.kind] += 1
        self._turned += decoded.stored.is_turned
        self._transparent += decoded.stored.has_transparency
        self._brightest = max(self._brightest, float(decoded.image.max()) / np.iinfo(decoded.image.dtype).max)

    def survey(self) -> Survey:
        """Return the counts; duplicates, which are found elsewhere, are none."""
        return Survey(
            stored=dict(sorted(self._stored.items(), key=lambda item: (-item[1], item[0]))),
            turned=self._turned,
            transparent=self._transparent,
            compared=self._compared,
            duplicates=0,
            first_duplicates=(),
            notices=tuple(self._describe_darkness()),
        )

    def _describe_darkness(self) -> list[str]:
        """Doubt images that use a small part of their range, as those of 12-bit cameras in files of 16 bits."""
        if not self._compared or self._brightest >= DARK:
            return []
        return [
            f"No image has a value above {self._brightest:.1%} of its range, so a network sees them nearly black. "
            f"Rescale them, as 10 to 14 bits of a camera in files of 16 bits; see docs/microscopy.md."
        ]
