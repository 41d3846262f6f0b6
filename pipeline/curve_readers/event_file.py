"""Read scalars from TensorBoard's event files, without TensorFlow or TensorBoard.

An event file is a series of records: length (8 bytes), checksum of the length (4), data, checksum of the data (4), all
little-endian. The data of a record is an `Event` message in the encoding of protocol buffers. Only these fields are
read:

    Event:   1 wall_time (double), 2 step (int64), 5 summary
    Summary: 1 value (repeated)
    Value:   1 tag, 2 simple_value (float), 8 tensor
    Tensor:  1 dtype, 2 shape, 4 tensor_content, 5 float_val, 6 double_val
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pipeline.errors import PipelineError

MAX_SCALAR_RECORD = 1 << 20  # bytes; larger records are images, graphs or histograms, and are skipped
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_CONTENT_FORMATS = {1: "<f", 2: "<d", 19: "<e"}  # of tensor_content by dtype: float, double, half
_POLYNOMIAL = 0x82F63B78  # CRC-32C, reversed


class Scalar(NamedTuple):
    """A scalar of an event file."""

    tag: str
    value: float
    step: int
    time: float  # seconds since 1970


class DamagedRecordError(Exception):
    """A record whose checksum is wrong; `offset` is its position in the file in bytes."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"byte {offset:,}")
        self.offset = offset


def is_event_file(head: bytes) -> bool:
    """Return whether the first bytes of a file are the header of a record with a correct checksum."""
    return len(head) >= 12 and _mask(_compute_crc(head[:8])) == struct.unpack_from("<I", head, 8)[0]


def read_scalars(path: Path, is_needed: Callable[[str], bool]) -> Iterator[Scalar]:
    """Yield the scalars of a file in the order of the file.

    A record that is still being written ends the file.

    Args:
        path: The event file.
        is_needed: Whether the scalars of a tag are needed.

    Raises:
        DamagedRecordError: A checksum is wrong.
        PipelineError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            for offset, data, checksum in _read_records(file):
                scalars = [scalar for scalar in _parse_event(data, offset) if is_needed(scalar.tag)]
                # The checksum is slow in Python, so it is computed only for records that are needed.
                if scalars and _mask(_compute_crc(data)) != checksum:
                    raise DamagedRecordError(offset)
                yield from scalars
    except OSError as error:
        raise PipelineError(f"{path} cannot be read: {error.strerror}.") from None


def _read_records(file: BinaryIO) -> Iterator[tuple[int, bytes, int]]:
    """Yield offset, data and checksum of every record that may have scalars."""
    size = file.seek(0, 2)
    offset = file.seek(0)
    while offset + 12 <= size:
        header = file.read(12)
        length, checksum = struct.unpack("<QI", header)
        if _mask(_compute_crc(header[:8])) != checksum:
            raise DamagedRecordError(offset)
        end = offset + 12 + length + 4
        if end > size:
            return
        if length <= MAX_SCALAR_RECORD:
            data = file.read(length)
            yield offset, data, struct.unpack("<I", file.read(4))[0]
        else:
            file.seek(end)
        offset = end


def _parse_event(data: bytes, offset: int) -> list[Scalar]:
    """Parse the scalars of an event."""
    try:
        time, step, summaries = 0.0, 0, []
        for field, value in _iterate_fields(data):
            if field == 1 and isinstance(value, bytes):
                time = struct.unpack("<d", value)[0]
            elif field == 2 and isinstance(value, int):
                step = value - (1 << 64) if value >> 63 else value
            elif field == 5 and isinstance(value, bytes):
                summaries.append(value)
        return [
            Scalar(tag, number, step, time)
            for summary in summaries
            for field, value in _iterate_fields(summary)
            if field == 1 and isinstance(value, bytes)
            for tag, number in [_parse_value(value)]
            if number is not None
        ]
    except (ValueError, IndexError, struct.error):
        raise DamagedRecordError(offset) from None


def _parse_value(data: bytes) -> tuple[str, float | None]:
    """Parse tag and scalar of a summary value; the scalar is None for images, histograms and other values."""
    tag, number = "", None
    for field, value in _iterate_fields(data):
        if field == 1 and isinstance(value, bytes):
            tag = value.decode("utf-8", errors="replace")
        elif field == 2 and isinstance(value, bytes) and len(value) == 4:
            number = struct.unpack("<f", value)[0]
        elif field == 8 and isinstance(value, bytes):
            number = _parse_tensor(value)
    return tag, number


def _parse_tensor(data: bytes) -> float | None:
    """Parse a tensor; None if it is not a single floating-point number."""
    dtype, content, numbers = 0, b"", b""
    number_format = "<f"
    for field, value in _iterate_fields(data):
        if field == 1 and isinstance(value, int):
            dtype = value
        elif field == 2 and value:  # a shape with dimensions; a scalar has none
            return None
        elif field == 4 and isinstance(value, bytes):
            content = value
        elif field in (5, 6) and isinstance(value, bytes):  # packed or not, the bytes are the same
            numbers, number_format = numbers + value, "<f" if field == 5 else "<d"
    if content:
        numbers, number_format = content, _CONTENT_FORMATS.get(dtype, "")
    if not number_format or len(numbers) != struct.calcsize(number_format):
        return None
    return float(struct.unpack(number_format, numbers)[0])


def _iterate_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of the fields of a message: integers, or the bytes of anything else.

    Raises:
        ValueError, IndexError: The message is damaged.
    """
    position = 0
    while position < len(data):
        key, position = _read_varint(data, position)
        wire_type = key & 7
        if wire_type == _VARINT:
            value, position = _read_varint(data, position)
            yield key >> 3, value
            continue
        if wire_type == _BYTES:
            length, position = _read_varint(data, position)
        elif wire_type in (_FIXED64, _FIXED32):
            length = 8 if wire_type == _FIXED64 else 4
        else:
            raise ValueError(f"unknown wire type {wire_type}")
        if position + length > len(data):
            raise ValueError("a field is longer than its message")
        yield key >> 3, data[position : position + length]
        position += length


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Read an integer of variable length, and return it with the position after it."""
    number = shift = 0
    while True:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
        if shift > 63:
            raise ValueError("an integer has more than ten bytes")


def _create_crc_table() -> tuple[int, ...]:
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ _POLYNOMIAL if number & 1 else number >> 1
        table.append(number)
    return tuple(table)


_CRC_TABLE = _create_crc_table()


def _compute_crc(data: bytes) -> int:
    """Compute the CRC-32C checksum."""
    crc, table = 0xFFFFFFFF, _CRC_TABLE
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _mask(crc: int) -> int:
    """Mask a checksum, as records of TensorFlow store it."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
