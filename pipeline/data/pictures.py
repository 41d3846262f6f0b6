"""Decoding pictures of any origin, safely: only the formats that are meant, one picture a file, upright."""

from __future__ import annotations

import io
import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")

# Pillow would also start a PostScript interpreter for a file that asks for one, whatever its ending says.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
_STACKS = ("PNG", "WEBP", "TIFF")  # may hold several pictures; a second one in a JPEG is the camera's preview

Resize = Literal["squash", "pad"]


class PictureError(Exception):
    """A picture cannot be used; the text says why, in words that follow the file's name."""


def read_image(content: bytes) -> NDArray[Any]:
    """Decode an image, turned upright as its EXIF orientation says.

    Transparent parts become black: what colour a program left under them is chance.

    Returns:
        H x W x 3, uint8; of 16-bit grey H x W x 1, uint16. Colours with more than 8 bits are cut to 8 by Pillow.

    Raises:
        PictureError: The content is no whole picture, or has pixels of 32 bits.
    """
    picture = _decoded(content)
    if picture.mode.startswith("I;16"):
        return np.asarray(picture).astype(np.uint16)[..., None]  # astype: the file may be big-endian
    if picture.mode in ("I", "F"):
        raise PictureError("has pixels of 32 bits; save it with 8 bits a channel, or as 16-bit grey")
    if picture.has_transparency_data:
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, (0, 0, 0, 255)), picture.convert("RGBA"))
    return np.asarray(picture.convert("RGB"))


def read_mask(content: bytes, colours: bool) -> NDArray[np.int32]:
    """Decode a mask, turned upright as its EXIF orientation says; transparency is ignored.

    Args:
        content: of the file.
        colours: whether classes are told apart by colour; else by grey value, or by index in a palette.

    Returns:
        H x W: a value a pixel, of colours 0xRRGGBB.

    Raises:
        PictureError: The content is no whole picture, or not of the kind asked for.
    """
    picture = _decoded(content)
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        values = np.asarray(picture)
        if colours:
            raise PictureError("is grey with more than 8 bits, but the values of the classes are colours")
        if picture.mode == "F" and not (np.isfinite(values) & (values == np.rint(values))).all():
            raise PictureError("has pixels with fractions; save the mask with 8 bits")
        if values.min() < 0 or values.max() > 65_535:
            raise PictureError("has values outside 0 to 65535; save the mask with 8 or 16 bits")
        return values.astype(np.int32)
    if colours:
        channels = np.asarray(picture.convert("RGB")).astype(np.int32)
        return channels[..., 0] << 16 | channels[..., 1] << 8 | channels[..., 2]
    values = np.asarray(picture).astype(np.int32)
    if picture.mode in ("1", "L", "P"):
        return values
    if picture.mode in ("LA", "PA"):
        return values[..., 0]
    # Many programs can save RGB only: grey in three equal channels is grey.
    if picture.mode in ("RGB", "RGBA") and (values[..., :3] == values[..., :1]).all():
        return values[..., 0]
    raise PictureError(
        'holds colours, but the values of the classes are numbers; write each value as a colour, such as "#ff0000"'
    )


def fit_image(image: NDArray[Any], size: int, resize: Resize) -> NDArray[Any]:
    """An image (H x W x C) at size x size px: squashed, or whole in the middle with its reflection around it.

    Resampled by Lanczos's filter, which averages where it shrinks. The reflection, whose pixels count nowhere, is for
    the network's sake: black bars would be an edge where the picture has none, and would darken what batch
    normalisation takes for the average image.
    """
    height, width = _inner(image.shape, size, resize)
    if image.dtype == np.uint16:  # as floats, which Pillow resamples without losing bits
        grey = Image.fromarray(image[..., 0].astype(np.float32)).resize((width, height), Image.Resampling.LANCZOS)
        inner = np.clip(np.rint(np.asarray(grey)), 0, 65_535).astype(np.uint16)[..., None]
    else:
        inner = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))
    return np.pad(inner, (*_around(height, width, size), (0, 0)), mode="reflect")


def fit_mask(mask: NDArray[np.uint8], size: int, resize: Resize, outside: int) -> NDArray[np.uint8]:
    """A mask (H x W) at size x size px by its nearest pixels, as `fit_image` does; `outside` stands around it."""
    height, width = _inner(mask.shape, size, resize)
    inner = np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
    return np.pad(inner, _around(height, width, size), constant_values=outside)


def inner_part(shape: tuple[int, ...], size: int, resize: Resize) -> tuple[slice, slice]:
    """Rows and columns of the square in which the picture itself lies."""
    height, width = _inner(shape, size, resize)
    (top, _), (left, _) = _around(height, width, size)
    return slice(top, top + height), slice(left, left + width)


def _inner(shape: tuple[int, ...], size: int, resize: Resize) -> tuple[int, int]:
    """Height and width of the picture inside the square."""
    if resize == "squash":
        return size, size
    height, width = (max(1, round(side * size / max(shape[:2]))) for side in shape[:2])
    return height, width


def _around(height: int, width: int, size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Pixels above and below, left and right of a picture in the middle of the square."""
    top, left = (size - height) // 2, (size - width) // 2
    return (top, size - height - top), (left, size - width - left)


def _decoded(content: bytes) -> Image.Image:
    try:
        # Pillow warns of odd metadata and of large pictures, and refuses those so large that they can only be meant to
        # fill the memory; a picture that decodes is good enough.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=_FORMATS) as file:
                pictures = getattr(file, "n_frames", 1) if file.format in _STACKS else 1
                if pictures == 1:
                    return ImageOps.exif_transpose(file)
    except Exception as error:  # a broken file makes decoders raise anything: OSError, SyntaxError, struct.error
        raise PictureError(_reason(error)) from None
    raise PictureError(f"holds {pictures} pictures; save one a file")


def _reason(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"is too large to be decoded (at most {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels)"
    if isinstance(error, UnidentifiedImageError):
        return f"is none of {', '.join(_FORMATS)}"
    return f"is no whole picture ({error or type(error).__name__})"
