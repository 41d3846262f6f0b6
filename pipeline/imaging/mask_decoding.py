"""Decode masks to one gray value, palette index or color per pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base as Tag

from .decode import ENDINGS, FORMATS, TIFF_MAGIC, decode, read_deep
from .errors import ImageError
from .metadata import UPRIGHT, read_orientation
from .tiff import read_labels, turn_upright

MASK_ENDINGS = (*ENDINGS, ".gif")
MAX_VALUE = 65_535  # highest mask value of a class
MAX_NUMBER = 2**31 - 1  # highest number of an object; masks are decoded as int32

_MASK_FORMATS = (*FORMATS, "GIF")
_PNG_BITS = 24  # offset of the bits per channel in a PNG

# (index, color) of each palette index that occurs, in ascending order; colors are 0xRRGGBB. Gray masks that contain 0
# have the palette `GRAY`.
Palette = tuple[tuple[int, int], ...]
GRAY: Palette = ((0, 0x000000), (1, 0x010101))
Values = NDArray[np.integer[Any]]
# (file, highest value) of each file of a mask that has values above the background, but none at the threshold for soft
# masks. The name is empty if the mask is a single file.
FaintFiles = tuple[tuple[str, int], ...]


@dataclass(frozen=True, eq=False)
class DecodedMask:
    """A decoded mask file."""

    values: Values  # H x W, upright; colors are 0xRRGGBB; uint8 if the file has 8 bits, else int32
    palette: Palette = ()  # color of each value; empty if colors were requested
    has_orientation: bool = False  # whether the file has an EXIF orientation, which was applied
    faint: FaintFiles = ()


def decode_mask(content: bytes, colors: bool, max_value: int = MAX_VALUE) -> DecodedMask:
    """Decode a mask, ignoring transparency, and turn it upright according to its own EXIF orientation.

    Args:
        content: Content of the file.
        colors: Whether to decode colors. Otherwise, gray values or palette indices are decoded. Gray values are those
            that viewers display: a TIFF that stores white as 0 (MINISWHITE) is inverted, whatever its bit depth.
        max_value: Highest value that the mask may contain.

    Raises:
        ImageError: The content is not a complete image, is not of the requested kind, or has invalid values.
    """
    has_orientation = read_orientation(content) != UPRIGHT
    if content.startswith(TIFF_MAGIC) and not colors and (labels := read_labels(content)) is not None:
        return _build_gray_mask(_narrow(labels, max_value), has_orientation)
    image = decode(content, _MASK_FORMATS)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        if colors:
            raise ImageError("is gray with more than 8 bits, but the class values are colors")
        values = read_deep(image) if image.mode.startswith("I;16") else np.asarray(image)
        return _build_gray_mask(_narrow(values, max_value), has_orientation)
    _check_bits(content, image, colors)
    if colors:
        channels = np.asarray(image.convert("RGB")).astype(np.int32)
        values = channels[..., 0] << 16 | channels[..., 1] << 8 | channels[..., 2]
        return DecodedMask(values, has_orientation=has_orientation)
    values = _get_gray_values(image)
    if image.mode not in ("P", "PA") or image.palette is None:
        return _build_gray_mask(values, has_orientation)
    return DecodedMask(values, _read_palette(image, values), has_orientation)


def keep_background(palette: Palette) -> Palette:
    """Reduce a palette to the background, index 0. The colors of numbered objects have no meaning."""
    return tuple(entry for entry in palette if entry[0] == 0)


def orient_mask(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn a mask (H x W) that was drawn over an image's stored pixels according to the image's EXIF orientation."""
    return turn_upright(values[..., None], orientation)[..., 0]


def _check_bits(content: bytes, image: Image.Image, colors: bool) -> None:
    """Raise `ImageError` if a file has several channels of more than 8 bits, because Pillow drops the lower bits."""
    stored = getattr(image, "tag_v2", {}).get(Tag.BitsPerSample, ())
    bits = content[_PNG_BITS] if image.format == "PNG" else max(stored, default=8)
    if bits > 8:
        gray = "" if colors else ", or as gray with 8 or 16 bits"
        raise ImageError(
            f"has several channels of {bits} bits, but only masks with one channel may have more than 8; save the mask "
            f"with 8 bits per channel{gray}"
        )


def _get_gray_values(image: Image.Image) -> NDArray[np.uint8]:
    values = np.asarray(image)
    if image.mode in ("1", "L", "P"):
        return values.astype(np.uint8, copy=False)
    if image.mode in ("LA", "PA"):
        return values[..., 0]
    # Many programs can save only RGB, so an image with three equal channels counts as gray.
    if image.mode in ("RGB", "RGBA") and (values[..., :3] == values[..., :1]).all():
        return values[..., 0]
    raise ImageError('has colors, but the class values are numbers; write each value as a color, such as "#ff0000"')


def _build_gray_mask(values: Values, has_orientation: bool) -> DecodedMask:
    return DecodedMask(values, GRAY if (values == 0).any() else (), has_orientation)


def _read_palette(image: Image.Image, values: NDArray[np.uint8]) -> Palette:
    colors = np.zeros((256, 3), np.int64)
    listed = np.frombuffer(bytes(image.getpalette("RGB") or ()), np.uint8).reshape(-1, 3)
    colors[: len(listed)] = listed
    used = np.flatnonzero(np.bincount(values.ravel(), minlength=256))
    return tuple((int(index), int(colors[index] @ (1 << 16, 1 << 8, 1))) for index in used)


def _narrow(values: NDArray[Any], max_value: int) -> Values:
    """Convert values to uint8 or int32. Raise `ImageError` for fractions and for values outside 0 to `max_value`."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "f" and not (np.isfinite(values) & (values == np.rint(values))).all():
        raise ImageError(f"has fractional pixel values ({values.dtype}); save the mask with 8 bits")
    low, high = values.min().item(), values.max().item()  # Python numbers, because float16 cannot hold 65,535
    if low < 0 or high > max_value:
        raise ImageError(
            f"has values from {low:.0f} to {high:.0f} ({values.dtype}), but only 0 to {max_value} are allowed; save "
            f"the mask with 8 or 16 bits"
        )
    return values.astype(np.int32)
