"""Images and what is known of their masks, found but not yet decoded: what every source of pictures hands on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.decode import Resize, fit_mask, frame_mask, resize_mask
from pipeline.imaging.instances import instance_classes
from pipeline.imaging.mask_decoding import (
    MAX_NUMBER,
    DecodedMask,
    Palette,
    Values,
    background_of,
    decode_mask,
    orient_mask,
)
from pipeline.imaging.mask_encoding import MaskValues
from pipeline.imaging.metadata import UPRIGHT
from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.prepare.safe_read import read_limited
from pipeline.runs import IGNORE, SegmentationClass

if TYPE_CHECKING:
    from pipeline.params.data.fields import MaskValue
    from pipeline.prepare.splitting.read_splits import SplitRow

MAX_ENTRIES = 6  # entries of a palette in a message


@dataclass(frozen=True)
class ImageMaskPair:
    """An image's file, relative to the folder, and its truth, in the words of the `MaskReader` that read it."""

    id: str
    image: str
    truth: str


class UndeclaredValuesError(Exception):
    """A mask holds values that stand for no class: how many pixels have each, as `params.yaml` spells it."""

    def __init__(self, pixels: Mapping[str, int]) -> None:
        super().__init__(pixels)
        self.pixels = dict(pixels)


@dataclass(frozen=True, eq=False)
class FittedMask:
    """A mask at the size of the prepared arrays.

    Attributes:
        classes: size x size, the class index of each pixel, or IGNORE.
        height: of the original, px.
        width: of the original, px.
        has_orientation: whether the mask's own file says how it is to be turned, which was done.
        palette: index and color, 0xRRGGBB, of the palette's entries that occur, where indices stand for classes.
    """

    classes: NDArray[np.uint8]
    height: int
    width: int
    has_orientation: bool = False
    palette: Palette = ()


class MaskReader(Protocol):
    """How truths become masks; sent to other processes, so it holds data only."""

    def name(self, pair: ImageMaskPair) -> str:
        """Where a pair's truth stands, for messages."""

    def content(self, folder: Path, truth: str) -> bytes:
        """All that a mask is made of; raises `OSError` where a file cannot be read."""

    def class_indices(self, content: bytes) -> NDArray[np.uint8]:
        """Decode a mask at its own size, H x W: class indices, or IGNORE; raises as `fitted` does."""

    def fitted(self, content: bytes, size: int, resize: Resize, orientation: int = UPRIGHT) -> FittedMask:
        """Decode a mask and fit it as `fit_mask` does.

        Args:
            content: all that it is made of.
            size: of the square, px.
            resize: how it comes into the square.
            orientation: EXIF orientation of the image whose stored pixels it covers; used where its own file has none.

        Raises:
            PictureError: The content cannot be used.
            UndeclaredError: It holds values that stand for no class.
        """


@dataclass(frozen=True)
class PairCollection:
    """All pairs of a source, and what is known of them before any is decoded."""

    folder: Path
    title: str
    credit: str
    classes: Sequence[SegmentationClass]
    pairs: Mapping[str, ImageMaskPair]  # by id
    masks: MaskReader
    faults: Sequence[DataIssue] = ()  # files that make no pair
    skipped: Sequence[tuple[str, str]] = ()  # file and reason: what is no picture
    notices: Sequence[str] = ()  # sentences on what may be a mistake in the data; reported, never an error
    rows: Mapping[str, SplitRow] | None = None  # what a list says of each image; None: there is none
    listed_in: str = ""  # the list, or where one would be
    mistake: str = ""  # why the splits cannot be read; reported together with the faults
    may_fail: frozenset[str] = field(default_factory=frozenset)  # ids that are known to be broken: set aside anyhow
    is_published: bool = False  # its splits are others' and cannot be mended: images in two are set aside anyhow


class PaletteCheck:
    """The index of each color and the color of each index in the masks so far."""

    def __init__(self) -> None:
        self._by_index: dict[int, tuple[int, ImageMaskPair, Palette]] = {}
        self._by_color: dict[int, tuple[int, ImageMaskPair, Palette]] = {}

    def check(self, pair: ImageMaskPair, palette: Palette) -> list[DataIssue]:
        """Compare a mask's palette with those before.

        Args:
            pair: of the mask.
            palette: its entries that occur.

        Returns:
            A fault if a color has another index than before, or an index another color. A palette that only spells
            out gray (index 1 is #010101) names no colors: any colors may take its place. It still says that 0 is black,
            as gray masks without a palette do: black may have no other index.
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
            detail = f"{_spell(palette)}, but {other.truth} {_spell(theirs)}"
            return [DataIssue(IssueKind.PALETTE, pair.id, pair.truth, detail)]
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
    """What all masks that are files have in common."""

    def name(self, pair: ImageMaskPair) -> str:
        """The mask's file."""
        return pair.truth

    def content(self, folder: Path, truth: str) -> bytes:
        """The file's content."""
        return read_limited(folder / truth)


@dataclass(frozen=True)
class ValueMaskReader(_MaskFileReader):
    """Masks whose values stand for classes."""

    values: tuple[tuple[MaskValue, ...], ...]  # of each class, in the order of their indices
    ignored: tuple[MaskValue, ...] = ()
    threshold: int | None = None  # of soft masks

    def class_indices(self, content: bytes) -> NDArray[np.uint8]:
        """Decode a mask at its own size; raises `PictureError`, and `UndeclaredValuesError` for other values."""
        return _encoding(self).indices(self._decode(content).values)

    def fitted(self, content: bytes, size: int, resize: Resize, orientation: int = UPRIGHT) -> FittedMask:
        """Decode and fit a mask; raises `PictureError`, and `UndeclaredValuesError` for other values."""
        mask = self._decode(content)
        values = mask.values if mask.has_orientation else orient_mask(mask.values, orientation)
        indices = _encoding(self).indices(resize_mask(values, size, resize))  # of the few pixels that are left
        classes = frame_mask(indices, size, outside=IGNORE)
        palette = () if self.threshold is not None else mask.palette
        height, width = values.shape
        return FittedMask(classes, height, width, mask.has_orientation, palette)

    def _decode(self, content: bytes) -> DecodedMask:
        values = _encoding(self)
        mask = decode_mask(content, colors=values.are_colours)
        if not values.cover(mask.values):
            raise UndeclaredValuesError(values.unknown(mask.values))
        return mask


@dataclass(frozen=True)
class InstanceMaskReader(_MaskFileReader):
    """Masks that number objects from 1 on, over a background of 0; the classes are background, inside and border."""

    border: int  # px
    order: tuple[int, int, int]  # the class indices of background, inside and border

    def class_indices(self, content: bytes) -> NDArray[np.uint8]:
        """Decode a mask at its own size; raises `PictureError`."""
        return self._classes(decode_mask(content, colors=False, max_value=MAX_NUMBER).values)

    def fitted(self, content: bytes, size: int, resize: Resize, orientation: int = UPRIGHT) -> FittedMask:
        """Decode and fit a mask, whose borders are found at its own size; raises `PictureError`."""
        mask = decode_mask(content, colors=False, max_value=MAX_NUMBER)
        values = mask.values if mask.has_orientation else orient_mask(mask.values, orientation)
        classes = fit_mask(self._classes(values), size, resize, outside=IGNORE)
        height, width = values.shape
        return FittedMask(classes, height, width, mask.has_orientation, background_of(mask.palette))

    def _classes(self, values: Values) -> NDArray[np.uint8]:
        return np.array(self.order, np.uint8).take(instance_classes(values, self.border))


@lru_cache(maxsize=4)
def _encoding(masks: ValueMaskReader) -> MaskValues:
    return MaskValues.of(masks.values, masks.ignored, masks.threshold)
