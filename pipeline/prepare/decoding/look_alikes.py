"""How an image looks, in few bytes, and which images look the same: copies saved anew, resized, or a film's frames."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:  # processes that decode begin faster without the parameters
    from pipeline.params.data.image_data import NearDuplicates

SIDE = 16  # px of the thumbnail
FLAT = 2.0  # grey levels: what varies less has no look to compare


@dataclass(frozen=True)
class Appearance:
    """A perceptual hash of 64 bits, and a thumbnail to check by, since 64 bits agree by chance in large collections."""

    hash: int
    thumbnail: bytes  # SIDE x SIDE, grey of 8 bits

    @classmethod
    def of(cls, image: NDArray[Any]) -> Appearance:
        """Of an image, H x W x C, uint8 or uint16."""
        # To the side that the hash is made from: by means, a quarter of the time of its own filter.
        grey = _grey(image).resize((2 * SIDE, 2 * SIDE), Image.Resampling.BOX)
        bits = imagehash.phash(grey).hash.ravel()
        packed = int.from_bytes(np.packbits(bits).tobytes(), "big")
        return cls(packed, grey.resize((SIDE, SIDE), Image.Resampling.BOX).tobytes())

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Of the thumbnail."""
        return np.frombuffer(self.thumbnail, np.uint8)


class LookAlikes:
    """The images seen so far, in which the same look is searched for.

    Args:
        limits: how far the 64-bit hashes of two may differ, and how well their thumbnails must correlate.
    """

    def __init__(self, limits: NearDuplicates) -> None:
        self._limits = limits
        self._names: list[str] = []
        self._by_content: dict[str, int] = {}
        self._hashes = np.empty(0, np.uint64)
        self._thumbnails = np.empty((0, SIDE * SIDE), np.uint8)

    def __len__(self) -> int:
        return len(self._names)

    def find(self, sha256: str, appearance: Appearance, distinct: Container[str] = ()) -> list[str]:
        """Find images that look the same.

        Args:
            sha256: of the image's file.
            appearance: of the image.
            distinct: names of images that are known to be different; a copy of the file is always found.

        Returns:
            Their names, in the order in which they were added.
        """
        count = len(self._names)
        distances = np.bitwise_count(self._hashes[:count] ^ np.uint64(appearance.hash))
        near = np.flatnonzero(distances <= self._limits.max_distance)
        same = self._by_content.get(sha256)
        if near.size:  # seldom
            near = near[looks(self._thumbnails[near]) @ looks(appearance.pixels) >= self._limits.min_correlation]
        found = {index for index in near.tolist() if self._names[index] not in distinct}
        return [self._names[index] for index in sorted(found if same is None else found | {same})]

    def add(self, name: str, sha256: str, appearance: Appearance) -> None:
        """Add an image."""
        count = len(self._names)
        if count == len(self._hashes):
            self._hashes = np.resize(self._hashes, max(64, 2 * count))
            self._thumbnails = np.resize(self._thumbnails, (max(64, 2 * count), SIDE * SIDE))
        self._names.append(name)
        self._by_content.setdefault(sha256, count)
        self._hashes[count] = appearance.hash
        self._thumbnails[count] = appearance.pixels


def looks(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Thumbnails (... x pixels) without their means, of length 1, so that products are correlations; 0 where flat."""
    values = thumbnails - thumbnails.mean(axis=-1, keepdims=True, dtype=np.float32)
    lengths = np.linalg.norm(values, axis=-1, keepdims=True)
    return np.where(lengths >= FLAT * SIDE, values / np.maximum(lengths, 1), 0)


def _grey(image: NDArray[Any]) -> Image.Image:
    if image.dtype == np.uint8 and image.shape[-1] == 3:
        return Image.fromarray(image).convert("L")
    mean = image.mean(axis=-1, dtype=np.float32)
    low, high = float(mean.min()), float(mean.max())  # 16 bits are seldom used in full
    return Image.fromarray(((mean - low) * (255 / max(high - low, 1.0))).astype(np.uint8))
