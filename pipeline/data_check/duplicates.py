"""Near-duplicates as pairs of thumbnails."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from itertools import islice

from pipeline.data_check.file_thumbnails import render_plain
from pipeline.imaging.errors import ImageError
from pipeline.params.data import Data
from pipeline.prepare.near_duplicates import DuplicatePair
from pipeline.prepare.source import SourceData
from pipeline.report.context import create_frame
from pipeline.report.formatting import SPLIT_NAMES
from pipeline.report.images import EmbeddedImage

MAX_PAIRS = 24


@dataclass(frozen=True)
class ImagePair:
    """Two near-duplicates."""

    names: tuple[str, str]  # ids of the images, which are also their captions
    images: tuple[EmbeddedImage, EmbeddedImage]
    splits: tuple[str, str]

    @property
    def is_across(self) -> bool:
        """Whether the images are in different splits or folds."""
        return self.splits[0] != self.splits[1]


def render_pairs(data: SourceData, section: Data) -> list[ImagePair]:
    """Render the first `MAX_PAIRS` near-duplicates, starting with those across splits."""
    pairs = []
    with contextlib.suppress(OSError, ImageError):  # a file has changed since it was checked
        for pair in islice(data.duplicates, MAX_PAIRS):
            one, other = (_render(pair, place, section) for place in (0, 1))
            splits = (SPLIT_NAMES.get(pair.splits[0], pair.splits[0]), SPLIT_NAMES.get(pair.splits[1], pair.splits[1]))
            pairs.append(ImagePair(pair.names, (one, other), splits))
    return pairs


def _render(pair: DuplicatePair, place: int, section: Data) -> EmbeddedImage:
    name, split, (height, width) = pair.names[place], pair.splits[place], pair.sizes[place]
    return render_plain(pair.images[place], f"Image {name}", name, create_frame(section, split, height, width))
