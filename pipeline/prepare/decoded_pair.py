"""What decoding makes of a pair."""

from __future__ import annotations

import contextlib
import json
import os
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.imaging.mask_decoding import Palette
from pipeline.imaging.metadata import Stored
from pipeline.prepare.near_duplicates import THUMBNAIL_SIDE, Appearance

MAX_AGE_DAYS = 30  # days that a pair is kept after it was last used
_DAY_SECONDS = 86_400  # s
_CHECKSUM_BYTES = 4  # bytes


@dataclass(frozen=True, eq=False)
class DecodedPair:
    """A pair at the size of the prepared arrays, and what is known of its files."""

    image: NDArray[Any]  # H x W x C, uint8 or uint16
    mask: NDArray[np.uint8]  # H x W, class index or IGNORE
    height: int  # px, of the original, as width
    width: int
    sha256: str  # of the image's file, followed by what the mask is made of
    image_sha256: str  # of the image's file alone
    stored: Stored
    appearance: Appearance
    palette: Palette = ()  # of the mask's file: index and color of the entries that occur, where indices are classes


class DecodedPairCache:
    """A folder with a file a pair, which any number of processes may read and write at once.

    A file is a checksum of the rest, a line of JSON, the image, the mask and the thumbnail. It is neither written under
    another name first nor forced to the disk: its checksum shows where it is not whole, and whoever else writes it
    writes the same bytes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, key: str) -> DecodedPair | None:
        """The pair of a key, None where there is none; a file that is not whole holds none."""
        path = self._folder / key
        try:
            content = path.read_bytes()
            os.utime(path)  # when it was last used
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
        return DecodedPair(
            image=image,
            mask=mask,
            stored=Stored(**facts.pop("stored")),
            appearance=Appearance(facts.pop("hash"), content[-THUMBNAIL_SIDE * THUMBNAIL_SIDE :]),
            palette=tuple((index, color) for index, color in facts.pop("palette")),
            **facts,
        )

    def add(self, key: str, decoded: DecodedPair) -> bool:
        """Keep a pair; returns whether it could be written, which a full disk prevents."""
        facts = {
            "height": decoded.height,
            "width": decoded.width,
            "sha256": decoded.sha256,
            "image_sha256": decoded.image_sha256,
            "stored": vars(decoded.stored),
            "hash": decoded.appearance.hash,
            "palette": decoded.palette,
            "dtype": decoded.image.dtype.str,
            "shape": decoded.image.shape,
        }
        arrays = (np.ascontiguousarray(array).data for array in (decoded.image, decoded.mask))
        content = b"".join((f"{json.dumps(facts)}\n".encode(), *arrays, decoded.appearance.thumbnail))
        path = self._folder / key
        try:
            path.write_bytes(b"".join((_checksum(content), content)))
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink()
            return False
        return True

    def forget(self) -> None:
        """Remove what was not used for long."""
        oldest = time.time() - MAX_AGE_DAYS * _DAY_SECONDS
        with contextlib.suppress(OSError), os.scandir(self._folder) as files:  # others may remove some of it, or all
            for file in files:
                with contextlib.suppress(OSError):
                    if file.stat().st_mtime < oldest:
                        Path(file).unlink()


def _checksum(content: bytes | memoryview) -> bytes:
    return zlib.crc32(content, 1).to_bytes(
        _CHECKSUM_BYTES, "big"
    )  # from 1, since from 0 a file of four zeros would be whole
