"""What to check: images and masks that may be wrong, which only their owner can judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.data_check.samples import View
from pipeline.prepare.mask_sample import sample_evenly
from pipeline.report.images import EmbeddedImage
from pipeline.wording import pluralize

MAX_SHOWN = 8  # images per kind
UNUSUAL_FACTOR = 2  # a side that differs from the median by this factor is unusual
MAX_UNUSUAL = 0.1  # fraction of the images; larger ones are a second kind of image, not exceptions


@dataclass(frozen=True)
class Suspects:
    """Images that may be wrong for the same reason."""

    title: str
    text: str
    names: tuple[str, ...]  # ids of those that are shown, evenly spaced
    notes: Mapping[str, str]  # by id, shown after the id

    def list_views(self) -> list[View]:
        """List the thumbnails to render."""
        return [(name, "") for name in self.names]


@dataclass(frozen=True)
class SuspectImages:
    """The title, the text and thumbnails of suspects."""

    title: str
    text: str
    images: tuple[tuple[EmbeddedImage, str], ...]  # with notes


def find_suspects(samples: pd.DataFrame, classes: Sequence[SegmentationClass]) -> list[Suspects]:
    """Find images whose mask or size may be wrong.

    Args:
        samples: Rows of `samples.csv`.
        classes: The classes of the masks.
    """
    shares = samples[[f"share_{item.name}" for item in classes]].to_numpy()
    pixels = np.rint(shares * samples[["pixels"]].to_numpy())
    foreground = pixels[:, [item.foreground for item in classes]].sum(axis=1)
    evaluated = samples["pixels"].to_numpy()
    has_background = pixels[:, [not item.foreground and not item.is_boundary for item in classes]].any()
    found = [
        _describe(
            samples[evaluated == 0],
            ("mask ignores all pixels", "masks ignore all pixels"),
            "These images have no scores. Check that the ignored value does not mean foreground.",
        ),
        _describe(
            samples[(evaluated > 0) & (foreground == 0)],
            ("mask has no foreground", "masks have no foreground"),
            "This is correct if the images show none, or if the objects vanish at the prepared size. Otherwise, the "
            "masks are incomplete.",
        ),
        _describe(
            samples[(evaluated > 0) & (foreground == evaluated) & has_background],
            ("mask is entirely foreground", "masks are entirely foreground"),
            "Check that the masks are not inverted.",
        ),
        _find_unusual_sizes(samples),
    ]
    return [one for one in found if one is not None]


def _describe(
    rows: pd.DataFrame, nouns: tuple[str, str], text: str, notes: Mapping[str, str] | None = None
) -> Suspects | None:
    if rows.empty:
        return None
    names = sample_evenly(rows["id"].tolist(), MAX_SHOWN)
    if len(names) < len(rows):
        text = f"{text} {len(names)} of {len(rows):,} are shown."
    return Suspects(pluralize(len(rows), *nouns), text, tuple(names), notes or {})


def _find_unusual_sizes(samples: pd.DataFrame) -> Suspects | None:
    """Find the few images with a side that differs from the median by `UNUSUAL_FACTOR`."""
    if samples.empty:
        return None
    sides = samples[["width", "height"]].to_numpy(np.float64)
    ratios = np.abs(np.log(sides / np.median(sides, axis=0))).max(axis=1)
    rows = samples[ratios >= np.log(UNUSUAL_FACTOR)]
    if len(rows) > MAX_UNUSUAL * len(samples):
        return None
    width, height = np.median(sides, axis=0)
    text = (
        f"The median size is {width:.0f} × {height:.0f} px, and these differ by a factor of {UNUSUAL_FACTOR} or more. "
        "Check that they belong to the data and have the same magnification."
    )
    notes = {name: f"{w} × {h} px" for name, w, h in zip(rows["id"], rows["width"], rows["height"], strict=True)}
    return _describe(rows, ("image has an unusual size", "images have unusual sizes"), text, notes)


def show_suspects(found: Suspects, thumbnails: Mapping[View, EmbeddedImage]) -> SuspectImages:
    """Add thumbnails to suspects."""
    shown = [(thumbnails[view], found.notes.get(view[0], "")) for view in found.list_views() if view in thumbnails]
    return SuspectImages(found.title, found.text, tuple(shown))
