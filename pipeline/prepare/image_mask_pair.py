"""Image-mask pairs, and readers of their masks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.imaging import IGNORE
from pipeline.imaging.errors import ImageError
from pipeline.imaging.instances import classify_instances
from pipeline.imaging.mask_decoding import (
    MAX_NUMBER,
    DecodedMask,
    FaintFiles,
    Palette,
    decode_mask,
    keep_background,
    orient_mask,
)
from pipeline.imaging.mask_to_classes import MaskEncoding
from pipeline.imaging.metadata import UPRIGHT
from pipeline.imaging.resize import Resizing
from pipeline.prepare.data_issues import DataIssue
from pipeline.prepare.read_file import read_file
from pipeline.volumes.slice_file import IntensityWindow

if TYPE_CHECKING:
    from pipeline.params.data.fields import MaskValue

MAX_INSTANCES = 65_535  # objects per image, whose numbers are stored with 16 bits


@dataclass(frozen=True, slots=True)  # slots take less memory, and there may be millions of pairs
class ImageMaskPair:
    """Paths of an image and its mask, relative to the source's folder, or references to slices, tiles or cells."""

    id: str
    image: str
    mask: str  # what `MaskReader.read` reads: a path, or as JSON several paths or the annotations of the image
    name: str = ""  # id with / between folders, in which groups and splits are searched; by default the id
    # Id of the volume whose slice the image is, or of the block whose tile it is; empty for an image file.
    volume: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.id)


class UndeclaredValuesError(Exception):
    """A mask has values that no class declares.

    Attributes:
        pixels: Number of pixels by value. Values are formatted as in `params.yaml`.
    """

    def __init__(self, pixels: Mapping[str, int]) -> None:
        super().__init__(pixels)
        self.pixels = dict(pixels)


@dataclass(frozen=True, eq=False)
class FittedMask:
    """A mask at the prepared size."""

    classes: NDArray[np.uint8]  # H x W, class indices or IGNORE
    height: int  # of the original mask, px
    width: int  # of the original mask, px
    has_orientation: bool  # whether the mask file has an EXIF orientation, which was applied
    palette: Palette  # palette entries that must be the same in all masks
    instances: NDArray[np.uint16] | None = None  # H x W, number of the object at each pixel; None without numbers
    faint: FaintFiles = ()


class MaskReader(ABC):
    """Reader of masks in one format. It is sent to worker processes, so its attributes are plain data."""

    @property
    def has_ignored_values(self) -> bool:
        """Whether values of the masks are ignored. Other ignored pixels have no data or no annotations."""
        return False

    def describe(self, pair: ImageMaskPair) -> str:
        """Return the name of the file that contains a pair's mask, for messages."""
        return pair.mask

    def read(self, folder: Path, mask: str) -> bytes:
        """Read the content that a mask is decoded from. Raise `OSError` if that fails."""
        return read_file(folder, mask)

    def decode(self, content: bytes) -> NDArray[np.uint8]:
        """Decode a mask at its original size to class indices and IGNORE (H x W).

        Raises:
            ImageError: The content cannot be decoded.
            UndeclaredValuesError: The mask has values that no class declares.
        """
        return self._to_classes(self._decode(content).values)

    def decode_fitted(self, content: bytes, resizing: Resizing, orientation: int = UPRIGHT) -> FittedMask:
        """Decode a mask and resize it as `Resizing.fit_mask` does.

        Args:
            content: Content that the mask is decoded from.
            resizing: Resizing to the prepared size.
            orientation: EXIF orientation to apply to the mask, unless the mask file has its own.

        Raises:
            ImageError: See `decode`.
            UndeclaredValuesError: See `decode`.
        """
        mask = self._decode(content)
        values = mask.values if mask.has_orientation else orient_mask(mask.values, orientation)
        classes = self._to_classes(resizing.resize_mask(values))  # after resizing: fewer pixels to map
        height, width = values.shape
        fitted = resizing.pad_mask(classes, outside=IGNORE)
        return FittedMask(fitted, height, width, mask.has_orientation, mask.palette, faint=mask.faint)

    @abstractmethod
    def _decode(self, content: bytes) -> DecodedMask:
        """Decode a mask to values for `_to_classes`, with the palette entries that must be the same in all masks."""

    def _to_classes(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Map values to class indices."""
        return values


@dataclass(frozen=True)
class SplitRow:
    """Split, group and fold of an image, each empty if not given."""

    split: str = ""
    group: str = ""
    fold: str = ""


@dataclass(frozen=True)
class WrittenSplits:
    """Split and group of each image, as read from a list or from folder names."""

    rows: Mapping[str, SplitRow] | None = None  # by id; None if there is no list and no folder named like a split
    source: str = ""  # list or folder, for messages; if there is none, the path of the default list
    notices: tuple[str, ...] = ()  # unused columns of the list, and how folders were interpreted
    error: str = ""  # why the splits cannot be read; reported together with file issues

    def assign_parts(self, wholes: Mapping[str, str]) -> WrittenSplits:
        """Give parts of images the rows of their images.

        Args:
            wholes: Id of the volume or scene by the id of the slice or tile.

        Returns:
            The splits, with rows by the id of the slice or tile.
        """
        if self.rows is None:
            return self
        return replace(self, rows={part: self.rows[whole] for part, whole in wholes.items() if whole in self.rows})


@dataclass(frozen=True)
class PairCollection:
    """All pairs of a source, with the information that is available before decoding."""

    folder: Path  # folder that contains the files
    title: str  # short description of the images
    credit: str  # sentence about authors and license; may be empty
    classes: Sequence[SegmentationClass]
    pairs: Mapping[str, ImageMaskPair]  # by id
    masks: MaskReader
    issues: Sequence[DataIssue] = ()  # issues with files that belong to no pair
    images: Mapping[str, str] = field(default_factory=dict)  # file by id of images that may belong to no pair
    skipped: Sequence[tuple[str, str]] = ()  # (file, reason) of files that are not images
    notices: Sequence[str] = ()  # sentences about possible mistakes in the data, which are not errors
    window: IntensityWindow | None = None  # mapping of the slices' intensities to gray values
    splits: WrittenSplits = WrittenSplits()
    known_broken: frozenset[str] = frozenset()  # ids of a published data set's broken files, which are always skipped
    is_published: bool = False  # whether the splits are published; if so, near-duplicates across them are skipped


@dataclass(frozen=True)
class ValueMaskReader(MaskReader):
    """Reader of masks whose values are classes."""

    values: tuple[tuple[MaskValue, ...], ...]  # mask values of each class
    ignored: tuple[MaskValue, ...] = ()  # values of ignored pixels
    threshold: int | None = None  # threshold for soft masks

    @property
    def has_ignored_values(self) -> bool:
        """Whether values of the masks are ignored."""
        return bool(self.ignored)

    def _decode(self, content: bytes) -> DecodedMask:
        encoding = _create_encoding(self)
        mask = decode_mask(content, colors=encoding.are_colors)
        if not encoding.covers(mask.values):
            raise UndeclaredValuesError(encoding.count_unknown(mask.values))
        if self.threshold is None:
            return mask
        faint_value = encoding.find_faint_value(mask.values)
        return replace(mask, palette=(), faint=() if faint_value is None else (("", faint_value),))

    def _to_classes(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        return _create_encoding(self).to_indices(values)


@dataclass(frozen=True)
class InstanceMaskReader(MaskReader):
    """Reader that converts masks of numbered objects to the classes background, inside and border."""

    border: int  # width of the border, px
    order: tuple[int, int, int]  # class indices of background, inside and border

    def _decode(self, content: bytes) -> DecodedMask:
        """Decode a mask to the numbers of its objects."""
        mask = decode_mask(content, colors=False, max_value=MAX_NUMBER)
        return replace(mask, palette=keep_background(mask.palette))

    def _to_classes(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        return np.array(self.order, np.uint8).take(classify_instances(values, self.border))

    def decode_fitted(self, content: bytes, resizing: Resizing, orientation: int = UPRIGHT) -> FittedMask:
        """Find the objects' borders before the mask is resized, and keep the objects' numbers.

        Raises:
            ImageError: See `decode`, or the mask has too many objects.
        """
        mask = self._decode(content)
        values = mask.values if mask.has_orientation else orient_mask(mask.values, orientation)
        fitted = fit_numbered_mask(
            self._to_classes(values), _renumber(values), resizing, mask.has_orientation, mask.palette
        )
        return replace(fitted, faint=mask.faint)


def fit_numbered_mask(
    classes: NDArray[np.uint8],
    numbers: NDArray[np.int32],
    resizing: Resizing,
    has_orientation: bool = False,
    palette: Palette = (),
) -> FittedMask:
    """Resize and pad a mask and the numbers of its objects.

    Args:
        classes: H x W, class indices or IGNORE.
        numbers: H x W, number of the object at each pixel, 1 to the number of objects; 0 is background.
        resizing: Resizing to the prepared size.
        has_orientation: See `FittedMask`.
        palette: See `FittedMask`.

    Raises:
        ImageError: There are more than `MAX_INSTANCES` objects.
    """
    if (count := int(numbers.max(initial=0))) > MAX_INSTANCES:
        raise ImageError(
            f"has {count:,} objects, but at most {MAX_INSTANCES:,} per image are allowed; cut the image and its mask "
            f"into parts"
        )
    height, width = classes.shape
    return FittedMask(
        resizing.pad_mask(resizing.resize_mask(classes), outside=IGNORE),
        height,
        width,
        has_orientation,
        palette,
        resizing.pad_mask(resizing.resize_mask(numbers).astype(np.uint16), outside=0),
    )


def _renumber(values: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
    """Number the objects of a mask (H x W) from 1, in the order of their numbers."""
    numbers = np.unique(values)
    renumbered = np.searchsorted(numbers[numbers > 0], values) + 1
    return np.where(values > 0, renumbered, 0).astype(np.int32)


@lru_cache(maxsize=4)
def _create_encoding(masks: ValueMaskReader) -> MaskEncoding:
    return MaskEncoding.from_values(masks.values, masks.ignored, masks.threshold)
