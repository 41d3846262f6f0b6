"""A decoded image-mask pair, and the cache of decoded pairs.

With the cache, only new pairs need to be decoded when images are added. The cache can be deleted at any time.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.mask_decoding import FaintFiles, Palette
from pipeline.imaging.metadata import ImageMetadata
from pipeline.imaging.pixel_size import PixelSize
from pipeline.prepare.near_duplicates import THUMBNAIL_SIDE, ImageFingerprint

MAX_AGE_DAYS = 30  # since the last use
DAY_SECONDS = 86_400
_CHECKSUM_BYTES = 4


@dataclass(frozen=True, eq=False)
class DecodedPair:
    """A decoded image and mask at the prepared size, with metadata from their files."""

    image: NDArray[Any]  # H x W x C, uint8 or uint16
    mask: NDArray[np.uint8]  # H x W, class indices or IGNORE
    height: int  # of the original image, px
    width: int  # of the original image, px
    sha256: str  # of the image file followed by the content of the mask
    stored: ImageMetadata
    fingerprint: ImageFingerprint
    palette: Palette = ()  # palette entries that must be the same in all masks
    instances: NDArray[np.uint16] | None = None  # H x W, number of the object at each pixel; None without numbers
    faint: FaintFiles = ()


class DecodedPairCache:
    """A folder with one file per decoded pair.

    Several processes may read and write it at the same time. If it is not writable, pairs are not cached.

    Each file consists of a checksum of its remaining content, a line of JSON, the image, the mask, the numbers of the
    objects if there are any, and the thumbnail.
    Files are written in place without syncing, because the checksum reveals incomplete files and concurrent writers
    write the same bytes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)

    def find(self, key: str) -> DecodedPair | None:
        """Read a pair. Return None if it is missing or its file is incomplete."""
        path = self._folder / key
        try:
            content = path.read_bytes()
            os.utime(path)  # record the last use
        except OSError:
            return None
        if _checksum(memoryview(content)[_CHECKSUM_BYTES:]) != content[:_CHECKSUM_BYTES]:
            return None
        end = content.index(b"\n", _CHECKSUM_BYTES) + 1
        facts = json.loads(content[_CHECKSUM_BYTES:end])
        height, width, channels = facts.pop("shape")
        dtype = np.dtype(facts.pop("dtype"))
        image = np.frombuffer(content, dtype, height * width * channels, end).reshape(height, width, channels)
        mask = np.frombuffer(content, np.uint8, height * width, end + image.nbytes).reshape(height, width)
        instances: NDArray[np.uint16] | None = None
        if facts.pop("has_instances"):
            instances = np.frombuffer(content, np.uint16, height * width, end + image.nbytes + mask.nbytes)
            instances = instances.reshape(height, width)
        thumbnail = content[-THUMBNAIL_SIDE * THUMBNAIL_SIDE :]
        return DecodedPair(
            image=image,
            mask=mask,
            instances=instances,
            stored=_parse_metadata(facts.pop("stored")),
            fingerprint=ImageFingerprint(facts.pop("image_sha256"), facts.pop("hash"), thumbnail),
            palette=tuple((index, color) for index, color in facts.pop("palette")),
            faint=tuple((file, value) for file, value in facts.pop("faint")),
            **facts,
        )

    def add(self, key: str, pair: DecodedPair) -> bool:
        """Write a pair. Return False if the disk is full or not writable."""
        facts = {
            "height": pair.height,
            "width": pair.width,
            "sha256": pair.sha256,
            "image_sha256": pair.fingerprint.sha256,
            "stored": asdict(pair.stored),
            "hash": pair.fingerprint.hash,
            "palette": pair.palette,
            "faint": pair.faint,
            "dtype": pair.image.dtype.str,
            "shape": pair.image.shape,
            "has_instances": pair.instances is not None,
        }
        parts = [pair.image, pair.mask] + ([] if pair.instances is None else [pair.instances])
        arrays = (np.ascontiguousarray(array).data for array in parts)
        content = b"".join((f"{json.dumps(facts)}\n".encode(), *arrays, pair.fingerprint.thumbnail))
        path = self._folder / key
        try:
            path.write_bytes(b"".join((_checksum(content), content)))
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink()
            return False
        return True

    def remove_old(self) -> None:
        """Remove files that have not been used for `MAX_AGE_DAYS` days."""
        oldest = time.time() - MAX_AGE_DAYS * DAY_SECONDS
        with contextlib.suppress(OSError), os.scandir(self._folder) as files:  # another process may remove files too
            for file in files:
                with contextlib.suppress(OSError):
                    if file.stat().st_mtime < oldest:
                        Path(file).unlink()


def _parse_metadata(content: dict[str, Any]) -> ImageMetadata:
    pixel = content.pop("pixel")
    return ImageMetadata(**content, pixel=PixelSize(**pixel) if pixel else None)


def _checksum(content: bytes | memoryview) -> bytes:
    # The start value is 1, because with 0, a file of four zero bytes would be valid.
    return zlib.crc32(content, 1).to_bytes(_CHECKSUM_BYTES, "big")
