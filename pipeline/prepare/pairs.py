"""Images and what is known of their masks, found but not yet decoded: what every source of pictures hands on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.mask_decoding import Palette
from pipeline.imaging.metadata import UPRIGHT
from pipeline.imaging.resize import Resize
from pipeline.prepare.faults import Fault
from pipeline.runs import SegmentationClass

if TYPE_CHECKING:
    from pipeline.prepare.dividing.split_list import Row


@dataclass(frozen=True)
class Pair:
    """An image's file, relative to the folder, and its truth, in the words of the `Masks` that read it."""

    id: str
    image: str
    truth: str


class UndeclaredError(Exception):
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


class Masks(Protocol):
    """How truths become masks; sent to other processes, so it holds data only."""

    def name(self, pair: Pair) -> str:
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
            ImageError: The content cannot be used.
            UndeclaredError: It holds values that stand for no class.
        """


@dataclass(frozen=True)
class Collection:
    """All pairs of a source, and what is known of them before any is decoded."""

    folder: Path
    title: str
    credit: str
    classes: Sequence[SegmentationClass]
    pairs: Mapping[str, Pair]  # by id
    masks: Masks
    faults: Sequence[Fault] = ()  # files that make no pair
    skipped: Sequence[tuple[str, str]] = ()  # file and reason: what is no picture
    notices: Sequence[str] = ()  # sentences on what may be a mistake in the data; reported, never an error
    rows: Mapping[str, Row] | None = None  # what a list says of each image; None: there is none
    listed_in: str = ""  # the list, or where one would be
    mistake: str = ""  # why the splits cannot be read; reported together with the faults
    may_fail: frozenset[str] = field(default_factory=frozenset)  # ids that are known to be broken: set aside anyhow
    is_published: bool = False  # its splits are others' and cannot be mended: images in two are set aside anyhow
