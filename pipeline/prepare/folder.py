"""A folder of the user's own: `images/` and `masks/`, joined by their names, each pair decoded once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.pictures import PictureError, fit_image, fit_mask, read_image, read_mask
from pipeline.data.values import MaskValues
from pipeline.errors import PipelineError
from pipeline.params.data import FolderData
from pipeline.prepare import splits, troubles
from pipeline.prepare.pairs import Pair, find_pairs
from pipeline.prepare.source import Sample
from pipeline.prepare.split_list import TRAINVAL, USUAL, read_list
from pipeline.prepare.troubles import Troubles
from pipeline.runs import IGNORE, SHOWCASE, SPLITS, SegmentationClass


@dataclass(frozen=True, eq=False)
class Decoded:
    """A pair at its own size."""

    image: NDArray[Any]  # H x W x C, uint8 or uint16
    mask: NDArray[np.uint8]  # H x W, class index or IGNORE
    sha256: str


class FolderSource:
    """The images and masks in a folder, split by a list or by a hash; `key` is the section's, for messages."""

    def __init__(self, data: FolderData, key: str = "data") -> None:
        self._data, self._key = data, key
        self._folder = Path(data.path)
        self._values = MaskValues.of(data.classes, data.ignore)
        found = Troubles(key)
        self._skipped: list[tuple[str, str]] = []
        self._pairs = find_pairs(self._folder, f"{key}.path", found, self._skipped)
        self._deep: bool | None = None  # whether images are 16-bit grey: the first one says
        if found:
            self._inspect(found)
        rows = read_list(self._folder, data.splits.list, self._pairs, f"{key}.splits.list")
        self._list = self._folder / (data.splits.list or USUAL).file
        self._written = None if rows is None else {row.split for row in rows.values()}
        self._division = splits.divide(list(self._pairs), rows, data, self._list)

    @property
    def title(self) -> str:
        """The folder's name: nothing else is known."""
        return f"The images in {self._folder.resolve().name}"

    @property
    def credit(self) -> str:
        """Empty: the user knows whose pictures these are."""
        return ""

    @property
    def classes(self) -> Sequence[SegmentationClass]:
        """As `data.classes` has them."""
        return [SegmentationClass(c.name, c.colour, c.foreground, c.edge) for c in self._data.classes]

    def count(self, split: str) -> int:
        """As many as the division gives the split."""
        return len(self._division.ids[split])

    def samples(self, split: str) -> Iterator[Sample]:
        """The samples of a split in the order of their ids, of the showcase in that of `data.showcase`.

        Raises:
            PipelineError: A pair cannot be used; all others are looked at too, and those like it named in one error.
        """
        for name in self._division.ids[split]:
            found = Troubles(self._key)
            decoded = self._decoded(self._pairs[name], found)
            deep = decoded is not None and decoded.image.dtype == np.uint16
            self._deep = deep if self._deep is None else self._deep
            if decoded is None or deep != self._deep:
                self._inspect(Troubles(self._key))
                raise PipelineError(
                    f"{self._key}.path: files in {self._folder} changed while they were read. Run this again."
                )
            group = self._division.groups.get(name)
            size, resize = self._data.image_size, self._data.resize
            yield Sample(
                id=name,
                groups={} if group is None else {"group": group},
                image=fit_image(decoded.image, size, resize),
                mask=fit_mask(decoded.mask, size, resize, outside=IGNORE),
                height=decoded.image.shape[0],
                width=decoded.image.shape[1],
                sha256=decoded.sha256,
            )

    def rejected(self) -> Sequence[tuple[str, str]]:
        """Files of other endings, and images that share a group with the showcase; what is broken is an error."""
        return [*self._skipped, *self._division.left_out]

    def decides(self, split: str) -> str:
        """The list, or the keys that stand in for it."""
        if split == SHOWCASE:
            return f"{self._key}.showcase"
        by_hash = self._written in (None, {""})
        return f"{self._key}.splits.{split}" if by_hash and split in SPLITS[1:] else str(self._list)

    def remedy(self, split: str) -> str:
        """What brings more, or other, images into a split."""
        share = "smaller shares" if split == SPLITS[0] else "a larger share"
        if self._written is None:
            other = f"{share} or another data.seed, or write {USUAL.file}"
        elif self._written & {"", TRAINVAL}:
            other = f"other splits, {share} in {self._key}.splits or another data.seed"
        else:
            other = "other splits"
        return f"Add images to {self._key}.path, or choose {other}."

    def _inspect(self, found: Troubles) -> None:
        """Look at every pair and raise all that is wrong, where anything is."""
        for pair in self._pairs.values():
            decoded = self._decoded(pair, found)
            if decoded is not None:
                found.add_depth(pair.image, decoded.image.dtype == np.uint16)
        if found:
            raise found.error(self._folder)

    def _decoded(self, pair: Pair, found: Troubles) -> Decoded | None:
        """A pair's content, or None and a note of what is wrong with it."""
        image = mask = None
        content = {}
        for file in (pair.image, pair.mask):
            try:
                content[file] = (self._folder / file).read_bytes()
                if file == pair.image:
                    image = read_image(content[file])
                else:
                    mask = read_mask(content[file], colours=self._values.are_colours)
            except OSError as error:
                found.add(troubles.UNREADABLE, file, error.strerror or type(error).__name__)
            except PictureError as error:
                found.add(troubles.UNREADABLE, file, str(error))
        indices = None if mask is None else self._as_indices(mask, pair.mask, found)
        if image is None or mask is None:
            return None
        if image.shape[:2] != mask.shape:
            (high, wide), (mask_high, mask_wide) = image.shape[:2], mask.shape
            found.add(troubles.SIZES, pair.mask, f"{mask_wide} × {mask_high}, the image {wide} × {high}")
            return None
        if indices is None:
            return None
        sha256 = hashlib.sha256(content[pair.image] + content[pair.mask]).hexdigest()
        return Decoded(image, indices, sha256)

    def _as_indices(self, mask: NDArray[np.int32], file: str, found: Troubles) -> NDArray[np.uint8] | None:
        indices = self._values.indices(mask)
        if indices is None:
            found.add_values(file, self._values.unknown(mask))
        return indices
