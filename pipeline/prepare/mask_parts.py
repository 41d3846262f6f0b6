"""Read masks that consist of several files: one per object, or one per class."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.errors import ImageError
from pipeline.imaging.mask_decoding import DecodedMask, FaintFiles, decode_mask
from pipeline.prepare.image_mask_pair import ImageMaskPair, InstanceMaskReader, MaskReader, UndeclaredValuesError
from pipeline.prepare.read_file import read_file

_MAX_BYTES = 1_000_000_000  # of all files of a mask


@dataclass(frozen=True)
class MaskPart:
    """A file of a mask."""

    text: str  # class or object, as in the name of the file
    file: str  # path relative to the source's folder


def encode_parts(parts: Sequence[MaskPart]) -> str:
    """Encode the files of a mask as the text that `ImageMaskPair.mask` holds."""
    return json.dumps([[part.text, part.file] for part in parts])


class PartsReader(MaskReader):
    """Base of the readers of masks that consist of several files."""

    def describe(self, pair: ImageMaskPair) -> str:
        """Return the name of the mask's first file, and the number of the others, for messages."""
        (_, first), *others = json.loads(pair.mask)
        return f"{first} and {len(others)} more files" if others else str(first)

    def read(self, folder: Path, mask: str) -> bytes:
        """Read all files of a mask into one block: a line of JSON with their names and sizes, then their contents."""
        texts, contents = [], []
        num_bytes = 0
        for text, file in json.loads(mask):
            content = read_file(folder, file)
            if (num_bytes := num_bytes + len(content)) > _MAX_BYTES:
                raise OSError(0, f"has more than {_MAX_BYTES:,} bytes in all files of the mask")
            texts.append([text, file, len(content)])
            contents.append(content)
        return b"\n".join([json.dumps(texts).encode(), b"".join(contents)])


@dataclass(frozen=True)
class ObjectFilesReader(PartsReader, InstanceMaskReader):
    """Reader of masks of one object per file, which are numbered in the order of their names."""

    threshold: int | None = None  # lowest value of an object; None if the files have two values

    def _decode(self, content: bytes) -> DecodedMask:
        numbers, has_orientation = None, False
        faint: FaintFiles = ()
        for number, (_, part) in enumerate(_decode_parts(content, self.threshold), start=1):
            numbers = _create_canvas(numbers, part)
            numbers[part.values > 0] = number
            has_orientation |= part.has_orientation
            faint += part.faint
        assert numbers is not None
        return DecodedMask(numbers, has_orientation=has_orientation, faint=faint)


@dataclass(frozen=True)
class ClassFilesReader(PartsReader):
    """Reader of masks of one class per file. Where files overlap, the class that is declared last is on top.

    Without `index_of`, all files show objects of the class `index`.
    """

    background: int  # class index of pixels that no file marks
    index_of: tuple[tuple[str, int], ...] = ()  # class index of each text
    index: int | None = None
    threshold: int | None = None  # lowest value of a class's pixels; None if the files have two values

    def _decode(self, content: bytes) -> DecodedMask:
        index_of, unknown = dict(self.index_of), dict[str, int]()
        canvas, has_orientation = None, False  # 0, or 1 + class index
        faint: FaintFiles = ()
        for text, part in _decode_parts(content, self.threshold):
            canvas = _create_canvas(canvas, part)
            has_orientation |= part.has_orientation
            faint += part.faint
            index = index_of.get(text, self.index)
            if index is None:
                unknown[text] = int((part.values > 0).sum())
            else:
                np.maximum(canvas, (1 + index) * part.values.astype(np.int32), out=canvas)
        assert canvas is not None
        if unknown:
            raise UndeclaredValuesError(unknown)
        classes = np.where(canvas > 0, canvas - 1, self.background).astype(np.uint8)
        return DecodedMask(classes, has_orientation=has_orientation, faint=faint)


def _create_canvas(canvas: NDArray[np.int32] | None, part: DecodedMask) -> NDArray[np.int32]:
    """Create an empty mask of a part's size, unless there is one, which must have the same size."""
    if canvas is None:
        return np.zeros(part.values.shape, np.int32)
    if canvas.shape != part.values.shape:
        raise ImageError(
            f"has files of different sizes: {canvas.shape[1]} × {canvas.shape[0]} and {part.values.shape[1]} × "
            f"{part.values.shape[0]}"
        )
    return canvas


def _decode_parts(content: bytes, threshold: int | None) -> Iterator[tuple[str, DecodedMask]]:
    """Decode the files of a mask to 0 and 1.

    Raises:
        ImageError: A file cannot be decoded, or has more than two values and there is no threshold.
    """
    header, _, rest = content.partition(b"\n")
    start = 0
    for text, file, length in json.loads(header):
        try:
            mask = decode_mask(rest[start : start + length], colors=False)
            marked = mask.values >= threshold if threshold is not None else _find_marked(mask)
        except ImageError as error:
            raise ImageError(f"{file} {error}") from None
        start += length
        is_faint = threshold is not None and mask.values.any() and not marked.any()
        faint = ((file, int(mask.values.max())),) if is_faint else ()
        yield text, DecodedMask(marked.astype(np.uint8), has_orientation=mask.has_orientation, faint=faint)


def _find_marked(mask: DecodedMask) -> NDArray[np.bool_]:
    """Find the pixels that are not black in a mask of two values."""
    black = [index for index, color in mask.palette if color == 0]
    marked: NDArray[Any] = ~np.isin(mask.values, black or [0])
    if len(values := np.unique(mask.values[marked])) > 1:
        raise ImageError(
            f"has {len(values)} values above 0, but a file of one object or class must have one; set "
            f"data.mask_threshold, the lowest value of its pixels"
        )
    return marked
