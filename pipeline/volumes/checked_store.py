"""A Zarr store that refuses chunks whose decompression would need more memory than their array declares.

The module imports zarr, so it is imported only when an array is opened.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

from zarr.storage import LocalStore

from pipeline.imaging.errors import ImageError

_MAX_FILE_BYTES = 1 << 30  # of a chunk or a shard that is read as a whole
_SLACK_BYTES = 1 << 20  # that a chunk may declare in addition to its own size
_MAX_DEFLATE_RATIO = 1_032
_DEFLATE_BYTES = 1 << 30  # decompressed size up to which Deflate needs no check
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_BLOCK_BYTES = 1 << 17  # maximum decompressed size of a block


class CheckedStore(LocalStore):  # type: ignore[misc]
    """A read-only store of the files of one array.

    Args:
        folder: Folder of the array.
        chunk_bytes: Size of a decoded chunk.
        compressor: Name of the compressor of the chunks.
    """

    def __init__(self, folder: Path, chunk_bytes: int, compressor: str) -> None:
        super().__init__(folder, read_only=True)
        self._limit, self._compressor = chunk_bytes + _SLACK_BYTES, compressor

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """Read a file, or a range of it. Raise `ImageError` if it is too large or not a file."""
        path = self.root / key
        if path.exists():
            if not path.is_file():
                raise ImageError(f"contains {key}, which is not a file")
            if byte_range is None and path.stat().st_size > _MAX_FILE_BYTES:
                raise ImageError(f"has {path.stat().st_size:,} bytes in {key}; the limit is {_MAX_FILE_BYTES:,}")
        buffer = await super().get(key, prototype, byte_range)
        if buffer is not None and not key.endswith((".zarray", ".zattrs", "zarr.json")):
            num_bytes = measure_decoded(buffer.as_numpy_array().data, self._compressor, self._limit)
            if num_bytes > self._limit:
                raise ImageError(
                    f"has a chunk in {key} that decompresses to more than the {self._limit:,} bytes declared"
                )
        return buffer


def measure_decoded(content: memoryview, compressor: str, limit: int) -> int:
    """Return the decompressed size that a chunk declares, or an upper bound; 0 if it is broken.

    The size of a Deflate stream is only measured if it can be more than a gigabyte, up to `limit`.
    """
    content = content.cast("B")
    if compressor == "blosc" and len(content) >= 16:
        return int(struct.unpack_from("<I", content, 4)[0])
    if compressor == "lz4" and len(content) >= 4:
        return int(struct.unpack_from("<I", content)[0])
    if compressor == "zstd":
        return _measure_zstd(content)
    if compressor in ("gzip", "zlib") and len(content) * _MAX_DEFLATE_RATIO > _DEFLATE_BYTES:
        return _measure_deflate(content, limit)
    return 0


def _measure_deflate(content: memoryview, limit: int) -> int:
    decompressor, num_bytes = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32), 0
    try:
        while content and not decompressor.eof and num_bytes <= limit:
            num_bytes += len(decompressor.decompress(content, _SLACK_BYTES))
            content = memoryview(decompressor.unconsumed_tail)
    except zlib.error:
        return 0
    return num_bytes


def _measure_zstd(content: memoryview) -> int:
    """Return the size in the header of a frame, or else the maximum size of its blocks (RFC 8878, section 3.1.1)."""
    if len(content) < 6 or bytes(content[:4]) != _ZSTD_MAGIC:
        return 0
    flags = content[4]
    is_single, size_code, dictionary_code = flags >> 5 & 1, flags >> 6, flags & 3
    start = 5 + (not is_single) + (0, 1, 2, 4)[dictionary_code]
    width = (is_single, 2, 4, 8)[size_code]
    if width:
        declared = int.from_bytes(content[start : start + width], "little")
        return declared + 256 if width == 2 else declared
    num_bytes, place = 0, start
    while place + 3 <= len(content):
        header = int.from_bytes(content[place : place + 3], "little")
        is_last, kind, size = header & 1, header >> 1 & 3, header >> 3
        num_bytes += _ZSTD_BLOCK_BYTES if kind == 2 else size
        place += 3 + (1 if kind == 1 else size)
        if is_last:
            break
    return num_bytes
