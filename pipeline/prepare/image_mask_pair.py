"""Pairs of an image and a mask, the readers of masks in files, and a check that palettes agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.imaging import IGNORE
from pipeline.imaging.instances import classify_instances
from pipeline.imaging.mask_decoding import (
    MAX_NUMBER,
    DecodedMask,
    Palette,
    Values,
    decode_mask,
    keep_background,
    orient_mask,
)
from pipeline.imaging.mask_encoding import MaskEncoding
from pipeline.imaging.metadata import UPRIGHT
from pipeline.imaging.resize import Resize, fit_mask, pad_mask, resize_mask
from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.prepare.safe_read import read_limited

if TYPE_CHECKING:
    from pipeline.params.data.fields import MaskValue
    from pipeline.prepare.splitting.read_splits import SplitRow

MAX_ENTRIES = 6  # of a palette in a message


@dataclass(frozen=True)
class ImageMaskPair:
    """Files of an image and its mask.

    Attributes:
        id: of the sample.
        image: file, relative to the folder of the source.
        mask: file, relative to the folder of the source; or the annotations that the mask is drawn from, as JSON.
    """

    id: str
    image: str
    mask: str


class UndeclaredValuesError(Exception):
    """A mask has values that no class declares.

    Attributes:
        pixels: number of pixels by value; values are spelled as in `params.yaml`.
    """

    def __init__(self, pixels: Mapping[str, int]) -> None:
        super().__init__(pixels)
        self.pixels = dict(pixels)


@dataclass(frozen=True, eq=False)
class FittedMask:
    """A mask at the prepared size.

    Attributes:
        classes: size x size, class indices or IGNORE.
        height: of the original, px.
        width: of the original, px.
        has_orientation: whether the mask file has an EXIF orientation, which was applied.
        palette: index and color, 0xRRGGBB, of the palette entries that occur, if indices stand for classes.
    """

    classes: NDArray[np.uint8]
    height: int
    width: int
    has_orientation: bool = False
    palette: Palette = ()


class MaskReader(Protocol):
    """Read masks of one format. Sent to worker processes, so it holds data only."""

    def describe(self, pair: ImageMaskPair) -> str:
        """Name the file that the mask of a pair is in, for messages."""

    def read(self, folder: Path, mask: str) -> bytes:
        """Read everything that a mask is decoded from.

        Raises:
            OSError: A file cannot be read.
        """

    def decode(self, content: bytes) -> NDArray[np.uint8]:
        """Decode a mask at its own size, H x W: class indices, or IGNORE.

        Raises:
            ImageError: The content cannot be decoded.
            UndeclaredValuesError: The mask has values that no class declares.
        """

    def decode_fitted(self, content: bytes, size: int, resize: Resize, orientation: int = UPRIGHT) -> FittedMask:
        """Decode a mask and resize it as `fit_mask` does.

        Args:
            content: that the mask is decoded from.
            size: of the square, px.
            resize: how the mask is resized into the square.
            orientation: EXIF orientation of the image whose stored pixels the mask covers; ignored if the mask file
                has its own.

        Raises:
            ImageError: The content cannot be decoded.
            UndeclaredValuesError: The mask has values that no class declares.
        """


@dataclass(frozen=True)
class PairCollection:
    """All pairs of a source and what is known before they are decoded.

    Attributes:
        folder: of the files.
        title: description of the images in a few words.
        credit: sentence on authors and license; may be empty.
        classes: in the order of their indices.
        pairs: by id.
        masks: reads the masks of the pairs.
        issues: files that are in no pair.
        skipped: file, and the reason, of files that are not images.
        notices: sentences on possible mistakes in the data; they are reported and are not errors.
        rows: split and group of each image, by id; None if they are neither listed nor given by folders.
        split_source: the list or the folder that gives the splits; the path of a list if there is none.
        split_error: why the splits cannot be read; reported together with the issues.
        known_broken: ids of files that are broken in the published data set; they are always skipped.
        is_published: whether the splits are those of a published data set, whose leaks are skipped, not errors.
    """

    folder: Path
    title: str
    credit: str
    classes: Sequence[SegmentationClass]
    pairs: Mapping[str, ImageMaskPair]
    masks: MaskReader
    issues: Sequence[DataIssue] = ()
    skipped: Sequence[tuple[str, str]] = ()
    notices: Sequence[str] = ()
    rows: Mapping[str, SplitRow] | None = None
    split_source: str = ""
    split_error: str = ""
    known_broken: frozenset[str] = field(default_factory=frozenset)
    is_published: bool = False


class PaletteCheck:
    """Check that each index has the same color, and each color the same index, in all masks."""

    def __init__(self) -> None:
        self._by_index: dict[int, tuple[int, ImageMaskPair, Palette]] = {}
        self._by_color: dict[int, tuple[int, ImageMaskPair, Palette]] = {}

    def check(self, pair: ImageMaskPair, palette: Palette) -> list[DataIssue]:
        """Compare the palette of a mask with those before.

        Args:
            pair: of the mask.
            palette: entries that occur in the mask.

        Returns:
            An issue if a color has another index than before, or an index another color. A gray palette (index 1 is
            #010101) names no colors, so any other palette agrees with it, except that black must have the index 0.
        """
        times = Counter(color for _, color in palette)
        is_gray = len(palette) > 1 and all(color == index * 0x010101 for index, color in palette)
        conflict = None
        for index, color in palette:
            seen = self._by_index.get(index)
            if seen and seen[0] != color and not is_gray:
                conflict = conflict or seen
            seen = self._by_color.get(color)
            if seen and seen[0] != index and times[color] == 1:
                conflict = conflict or seen
        if conflict is not None:
            _, other, theirs = conflict
            detail = f"{_spell(palette)}, but {other.mask} {_spell(theirs)}"
            return [DataIssue(IssueKind.PALETTE, pair.id, pair.mask, detail)]
        for index, color in palette:
            if not is_gray:
                self._by_index.setdefault(index, (color, pair, palette))
            if times[color] == 1:
                self._by_color.setdefault(color, (index, pair, palette))
        return []


def _spell(palette: Palette) -> str:
    more = f" and {len(palette) - MAX_ENTRIES} more" if len(palette) > MAX_ENTRIES else ""
    return ", ".join(f"{index} is #{color:06x}" for index, color in palette[:MAX_ENTRIES]) + more


class _MaskFileReader:
    """Base of readers of masks in files."""

    def describe(self, pair: ImageMaskPair) -> str:
        """Return the file of the mask."""
        return pair.mask

    def read(self, folder: Path, mask: str) -> bytes:
        """Read the file; raises `OSError`."""
        return read_limited(folder / mask)


@dataclass(frozen=True)
class ValueMaskReader(_MaskFileReader):
    """Read masks whose values stand for classes.

    Attributes:
        values: of each class, in the order of their indices.
        ignored: values of ignored pixels.
        threshold: of soft masks.
    """

    values: tuple[tuple[MaskValue, ...], ...]
    ignored: tuple[MaskValue, ...] = ()
    threshold: int | None = None

    def decode(self, content: bytes) -> NDArray[np.uint8]:
        """Decode a mask at its own size; raises `ImageError` and `UndeclaredValuesError`."""
        return _encoding(self).to_indices(self._decode(content).values)

    def decode_fitted(self, content: bytes, size: int, resize: Resize, orientation: int = UPRIGHT) -> FittedMask:
        """Decode and resize a mask; raises `ImageError` and `UndeclaredValuesError`."""
        mask = self._decode(content)
        values = mask.values if mask.has_orientation else orient_mask(mask.values, orientation)
        indices = _encoding(self).to_indices(resize_mask(values, size, resize))  # after resizing: fewer pixels to map
        classes = pad_mask(indices, size, outside=IGNORE)
        palette = () if self.threshold is not None else mask.palette
        height, width = values.shape
        return FittedMask(classes, height, width, mask.has_orientation, palette)

    def _decode(self, content: bytes) -> DecodedMask:
        values = _encoding(self)
        mask = decode_mask(content, colors=values.are_colors)
        if not values.covers(mask.values):
            raise UndeclaredValuesError(values.count_unknown(mask.values))
        return mask


@dataclass(frozen=True)
class InstanceMaskReader(_MaskFileReader):
    """Read masks that number objects from 1, with background 0, as the classes background, inside and border.

    Attributes:
        border: width of the border, px.
        order: class indices of background, inside and border.
    """

    border: int
    order: tuple[int, int, int]

    def decode(self, content: bytes) -> NDArray[np.uint8]:
        """Decode a mask at its own size; raises `ImageError`."""
        return self._classes(decode_mask(content, colors=False, max_value=MAX_NUMBER).values)

    def decode_fitted(self, content: bytes, size: int, resize: Resize, orientation: int = UPRIGHT) -> FittedMask:
        """Decode a mask, find its borders at its own size, and resize it; raises `ImageError`."""
        mask = decode_mask(content, colors=False, max_value=MAX_NUMBER)
        values = mask.values if mask.has_orientation else orient_mask(mask.values, orientation)
        classes = fit_mask(self._classes(values), size, resize, outside=IGNORE)
        height, width = values.shape
        return FittedMask(classes, height, width, mask.has_orientation, keep_background(mask.palette))

    def _classes(self, values: Values) -> NDArray[np.uint8]:
        return np.array(self.order, np.uint8).take(classify_instances(values, self.border))


@lru_cache(maxsize=4)
def _encoding(masks: ValueMaskReader) -> MaskEncoding:
    return MaskEncoding.from_values(masks.values, masks.ignored, masks.threshold)
