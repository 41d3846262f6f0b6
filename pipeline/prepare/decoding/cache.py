"""Decoded pairs of earlier runs: one image added does not decode all others again. It may be removed at will."""

from __future__ import annotations

import contextlib
import json
import os
import time
import zlib
from pathlib import Path

import numpy as np

from pipeline.imaging.metadata import ImageMetadata
from pipeline.prepare.decoding.decoded import Decoded
from pipeline.prepare.decoding.look_alikes import SIDE, Appearance

KEPT = 30  # days that a pair is kept after it was last used
_DAY = 86_400  # s
_CHECKSUM = 4  # bytes


class Cache:
    """A folder with a file a pair, which any number of processes may read and write at once.

    A file is a checksum of the rest, a line of JSON, the image, the mask and the thumbnail. It is neither written under
    another name first nor forced to the disk: its checksum shows where it is not whole, and whoever else writes it
    writes the same bytes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, key: str) -> Decoded | None:
        """The pair of a key, None where there is none; a file that is not whole holds none."""
        path = self._folder / key
        try:
            content = path.read_bytes()
            os.utime(path)  # when it was last used
        except OSError:
            return None
        if _checksum(memoryview(content)[_CHECKSUM:]) != content[:_CHECKSUM]:
            return None
        end = content.index(b"\n", _CHECKSUM) + 1
        facts = json.loads(content[_CHECKSUM:end])
        height, width, channels = facts.pop("shape")
        dtype = np.dtype(facts.pop("dtype"))
        image = np.frombuffer(content, dtype, height * width * channels, end).reshape(height, width, channels)
        mask = np.frombuffer(content, np.uint8, height * width, end + image.nbytes).reshape(height, width)
        return Decoded(
            image=image,
            mask=mask,
            stored=ImageMetadata(**facts.pop("stored")),
            appearance=Appearance(facts.pop("hash"), content[-SIDE * SIDE :]),
            palette=tuple((index, color) for index, color in facts.pop("palette")),
            **facts,
        )

    def add(self, key: str, decoded: Decoded) -> bool:
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
        oldest = time.time() - KEPT * _DAY
        with contextlib.suppress(OSError), os.scandir(self._folder) as files:  # others may remove some of it, or all
            for file in files:
                with contextlib.suppress(OSError):
                    if file.stat().st_mtime < oldest:
                        Path(file).unlink()


def _checksum(content: bytes | memoryview) -> bytes:
    return zlib.crc32(content, 1).to_bytes(_CHECKSUM, "big")  # from 1, since from 0 a file of four zeros would be whole
