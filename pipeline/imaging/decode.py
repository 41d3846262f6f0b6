"""Decoding pictures of any origin, safely: only the formats that are meant, one picture a file, upright."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import PictureError
from .extra_bands import (
    ask_about_extra_band,
    ask_about_invisible,
    count_bands,
    has_extra_band,
    is_invisible,
    without_last_band,
)
from .header_reader import MAX_PAGES, HeaderReader

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")

# Pillow would also start a PostScript interpreter for a file that asks for one, whatever its ending says.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
_STACKS = ("PNG", "WEBP", "GIF")  # may hold several pictures; a second one in a JPEG is the camera's preview
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # first bytes of a TIFF; + is BigTIFF
_PLANES, _BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 284, 258, 262, 339  # TIFF tags
_WHITE_IS_ZERO, _SIGNED = 0, 2

Resize = Literal["squash", "pad"]


def read_image(content: bytes, channels: int | None = None) -> NDArray[Any]:
    """Decode an image, turned upright as its EXIF orientation says.

    Transparent parts become black: what colour a program left under them is chance. A last band that is not
    transparency (`MAX_HALF_TRANSPARENT`) is never multiplied into the others.

    Args:
        content: of the file.
        channels: how many the image is to have. None: 3, or 1 of 16-bit grey. 1: grey, of colours as ITU-R 601 weighs
            them. 3: colours, or the three channels of a TIFF; a fourth band that is not transparency is left out. Any
            other: the bands of the file; of a TIFF its samples, planes or pages.

    Returns:
        H x W x channels, uint8; uint16 of 16-bit grey, and of a TIFF of 16 bits whose channels are asked for. Other
        colours with more than 8 bits are cut to 8 by Pillow.

    Raises:
        PictureError: The content is no whole picture, has pixels of 32 bits or another number of channels; or, where
            `channels` is None, it has a fourth band that is not transparency.
    """
    return np.asarray(_picture(content, channels))


def read_fitted(content: bytes, channels: int | None, size: int, resize: Resize) -> tuple[NDArray[Any], int, int]:
    """`read_image`, then `fit_image`, without an array of the whole image in between.

    Returns:
        The image at size x size px, and the height and the width that it had, in px.

    Raises:
        PictureError: As `read_image` does.
    """
    picture = _picture(content, channels)
    if not isinstance(picture, Image.Image):
        return fit_image(picture, size, resize), *picture.shape[:2]
    inner = picture.resize(_inner((picture.height, picture.width), size, resize)[::-1], Image.Resampling.LANCZOS)
    return _reflected(np.asarray(inner), size), picture.height, picture.width


def _picture(content: bytes, channels: int | None) -> Image.Image | NDArray[Any]:
    """What `read_image` returns, as Pillow's RGB where it is that."""
    if channels not in (None, 1, 3):
        return _channels(content, channels)
    if channels == 3 and content.startswith(TIFF_MAGIC):
        with contextlib.suppress(PictureError):  # Pillow reads what tifffile does not: palettes, inks, JPEG in a TIFF
            return _channels(content, channels)
    try:
        picture = decode(content)
    except PictureError as error:
        if (gray := _gray_of_tiff(content, channels)) is not None:
            return gray
        raise PictureError(_said_of_channels(content, channels) or str(error)) from None
    if picture.mode.startswith("I;16"):
        if channels == 3:
            raise PictureError("is 16-bit grey, which has 1 channel, but 3 are expected")
        return _stored_deep(picture)[..., None]
    if picture.mode in ("I", "F"):
        raise PictureError("has pixels of 32 bits; save it with 8 bits a channel, or as 16-bit grey")
    if has_extra_band(picture):
        if channels is None:
            raise PictureError(ask_about_extra_band(picture))
        picture = _stored_colors(content, picture) or without_last_band(picture)
    elif is_invisible(picture):
        if channels is None:
            raise PictureError(ask_about_invisible(picture))
        picture = without_last_band(picture)
    elif picture.has_transparency_data:
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, (0, 0, 0, 255)), picture.convert("RGBA"))
    coloured = picture if picture.mode == "RGB" else picture.convert("RGB")
    return np.asarray(coloured.convert("L"))[..., None] if channels == 1 else coloured


def _gray_of_tiff(content: bytes, channels: int | None) -> Image.Image | NDArray[Any] | None:
    """Decode a gray TIFF that Pillow does not read, such as big-endian 16 bits, white as zero; None for other files."""
    if not content.startswith(TIFF_MAGIC) or channels == 3:
        return None
    with contextlib.suppress(PictureError):
        gray = _channels(content, 1)
        is_deep = gray.dtype == np.uint16
        return gray if is_deep or channels == 1 else Image.fromarray(gray[..., 0]).convert("RGB")
    return None


def count_channels(content: bytes) -> int:
    """Count the bands that a file stores; raises `PictureError` where it cannot be read."""
    if content.startswith(TIFF_MAGIC):
        from .tiff import channels_of

        return channels_of(content)
    return len(decode(content).getbands())


def _stored_colors(content: bytes, picture: Image.Image) -> Image.Image | None:
    """Read the colors of a TIFF as stored: Pillow divides them by a band that is flagged as premultiplied alpha."""
    if not content.startswith(TIFF_MAGIC) or picture.mode != "RGBA":
        return None
    with contextlib.suppress(PictureError):
        bands = _channels(content, count_bands(picture))
        return Image.fromarray(np.ascontiguousarray(bands[..., :3])) if bands.dtype == np.uint8 else None
    return None


def _stored_deep(picture: Image.Image) -> NDArray[np.uint16]:
    """Read 16-bit gray with white as the highest value; Pillow inverts such TIFFs only up to 8 bits."""
    values: NDArray[np.uint16] = np.asarray(picture).astype(np.uint16)  # astype: the file may be big-endian
    return ~values if is_white_zero(picture) else values


def is_white_zero(picture: Image.Image) -> bool:
    """Return whether a TIFF's photometric interpretation is MINISWHITE."""
    return getattr(picture, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO


def read_like(content: bytes, channels: int, bits: int) -> NDArray[Any]:
    """Decode a picture from anywhere for a network that learned on images of so many channels and bits a channel.

    Where it learned on grey or RGB, both will do, and are returned as `read_image` has them.

    Raises:
        PictureError: As `read_image` does.
    """
    if channels == 1 or (channels, bits) == (3, 8):
        with contextlib.suppress(PictureError):
            return read_image(content)
    return read_image(content, channels)


def as_grey(image: NDArray[Any]) -> NDArray[Any]:
    """H x W x 1 of an image as `read_like` gives it for networks that learned on grey: RGB as ITU-R 601 weighs it."""
    return np.asarray(Image.fromarray(image).convert("L"))[..., None] if image.shape[-1] == 3 else image


def fit_image(image: NDArray[Any], size: int, resize: Resize) -> NDArray[Any]:
    """An image at size x size px: squashed, or whole in the middle with its reflection around it.

    H x W x C, uint8 or uint16, and so is the result. Resampled by Lanczos's filter, which averages where it shrinks.
    The reflection, whose pixels count nowhere, is for the network's sake: black bars would be an edge where the picture
    has none, and would darken what batch normalisation takes for the average image.
    """
    height, width = _inner(image.shape, size, resize)
    if image.dtype == np.uint8 and image.shape[-1] == 3:  # Pillow resamples all three at once
        inner = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))
    else:
        inner = np.stack([_resampled(image[..., place], height, width) for place in range(image.shape[-1])], axis=-1)
    return _reflected(inner, size)


def fit_mask(mask: NDArray[np.uint8], size: int, resize: Resize, outside: int) -> NDArray[np.uint8]:
    """A mask (H x W) at size x size px by its nearest pixels, as `fit_image` does; `outside` stands around it."""
    return frame_mask(resize_mask(mask, size, resize), size, outside)


def resize_mask(mask: NDArray[np.integer[Any]], size: int, resize: Resize) -> NDArray[Any]:
    """A mask (H x W, uint8 or int32) as large as it is to lie in a square of `size` px, by its nearest pixels."""
    height, width = _inner(mask.shape, size, resize)
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


def frame_mask(mask: NDArray[np.uint8], size: int, outside: int) -> NDArray[np.uint8]:
    """A mask (H x W) that `resize_mask` made, in the middle of its square; `outside` stands around it."""
    height, width = mask.shape
    return mask if height == width == size else np.pad(mask, _around(height, width, size), constant_values=outside)


def inner_part(shape: tuple[int, ...], size: int, resize: Resize) -> tuple[slice, slice]:
    """Rows and columns of the square in which the picture itself lies."""
    height, width = _inner(shape, size, resize)
    (top, _), (left, _) = _around(height, width, size)
    return slice(top, top + height), slice(left, left + width)


def restore_mask(square: NDArray[np.uint8], shape: tuple[int, ...], resize: Resize) -> NDArray[np.uint8]:
    """Resize a mask that `fit_mask` made back to its own shape (H x W), by its nearest pixels."""
    inner = np.ascontiguousarray(square[inner_part(shape, len(square), resize)])
    return np.asarray(Image.fromarray(inner).resize((shape[1], shape[0]), Image.Resampling.NEAREST))


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


def _reflected(inner: NDArray[Any], size: int) -> NDArray[Any]:
    """A picture (H x W x C) in the middle of the square, with its reflection around it."""
    height, width = inner.shape[:2]
    return inner if height == width == size else np.pad(inner, (*_around(height, width, size), (0, 0)), mode="reflect")


def _resampled(channel: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """One channel (H x W) at another size."""
    if channel.dtype == np.uint8:
        return np.asarray(Image.fromarray(channel).resize((width, height), Image.Resampling.LANCZOS))
    # As floats, which Pillow resamples without losing bits.
    resized = Image.fromarray(channel.astype(np.float32)).resize((width, height), Image.Resampling.LANCZOS)
    values: NDArray[Any] = np.clip(np.rint(np.asarray(resized)), 0, 65_535).astype(np.uint16)
    return values


def _channels(content: bytes, channels: int) -> NDArray[Any]:
    """Decode an image of so many channels: the bands of the file, of a TIFF its samples, planes or pages."""
    if content.startswith(TIFF_MAGIC):
        from .tiff import read_channels

        return read_channels(content, channels)
    picture = decode(content)
    bands = len(picture.getbands())
    if bands == channels and picture.mode in ("RGBA", "LA"):
        return np.asarray(picture)
    hint = "; only a TIFF has so many" if channels > 4 else ""
    raise PictureError(f"has {bands} channel{'s' * (bands > 1)}, but {channels} are expected{hint}")


def _said_of_channels(content: bytes, channels: int | None) -> str | None:
    """Why Pillow could not read a TIFF, where that is for its channels."""
    if not content.startswith(TIFF_MAGIC):
        return None
    from .tiff import said_of_channels

    return said_of_channels(content, channels)


def decode(content: bytes, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """Decode a file of one image, turned upright.

    Raises:
        PictureError: It is of another format, broken, too large, or holds several images.
    """
    reader = HeaderReader(content)
    try:
        # Pillow warns of odd metadata and of large pictures, and refuses those so large that they can only be meant to
        # fill the memory; a picture that decodes is good enough.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(reader, formats=formats) as file:
                pictures = _count_images(file)
                misread = _describe_misread(file)
                if pictures == 1 and not misread:
                    reader.remove_limit()
                    ImageOps.exif_transpose(file, in_place=True)  # which spares a copy
                    file.load()
                    return file
    except PictureError:
        raise
    except Exception as error:  # a broken file makes decoders raise anything: OSError, SyntaxError, struct.error
        raise PictureError(_reason(error, formats)) from None
    if misread:
        raise PictureError(misread)
    count = f"more than {MAX_PAGES}" if pictures > MAX_PAGES else pictures
    raise PictureError(f"holds {count} pictures; save one a file")


def _count_images(file: Image.Image) -> int:
    """Count the images of a file; of a TIFF at most one more than `MAX_PAGES`, since its pages may form a circle."""
    if file.format != "TIFF":
        return getattr(file, "n_frames", 1) if file.format in _STACKS else 1
    for count in range(1, MAX_PAGES + 1):
        try:
            file.seek(count)
        except EOFError:
            file.seek(0)
            return count
    return MAX_PAGES + 1


def _describe_misread(file: Image.Image) -> str:
    """Describe why Pillow would decode a TIFF to wrong values; empty if it decodes them right."""
    tags = getattr(file, "tag_v2", {})
    bits, formats = tags.get(_BITS, ()), tags.get(_SAMPLE_FORMAT, ())
    if tags.get(_PLANES) == 2 and len(bits) > 1 and max(bits) > 8:
        return "has colours of 16 bits as planes, one behind the other; save them pixel by pixel"
    if _SIGNED in formats and max(bits, default=8) <= 8:
        return "has pixels of int8; save it as uint8 or uint16"
    return ""


def _reason(error: Exception, formats: tuple[str, ...]) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"is too large to be decoded (at most {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels)"
    if isinstance(error, UnidentifiedImageError):
        return f"is none of {', '.join(formats)}"
    return f"is no whole picture ({error or type(error).__name__})"
