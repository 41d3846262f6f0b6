"""Decode untrusted files in known formats that contain one image each, and turn the images upright."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ExifTags import Base as Tag

from .errors import ImageError
from .extra_bands import (
    count_bands,
    describe_extra_band,
    describe_invisible,
    drop_last_band,
    has_extra_band,
    is_invisible,
)
from .resize import Resizing
from .tiff import MAX_PAGES, SLICES_KEY, HeaderReader, count_tiff_channels, describe_channels, read_channels

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")

# Pillow detects formats by content. Without this list, it would run a PostScript interpreter on PostScript files.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
_STACKS = ("PNG", "WEBP", "GIF")  # may contain several images; a second one in a JPEG is a camera's preview
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # first bytes of a TIFF; + is BigTIFF
_WHITE_IS_ZERO, _SEPARATE_PLANES, _SIGNED = 0, 2, 2  # values of TIFF tags


def read_image(content: bytes, channels: int | None = None) -> NDArray[Any]:
    """Decode an image, and turn it upright by its EXIF orientation.

    Transparent parts become black, because the colors under them are arbitrary. A last band that is not transparency
    (see `extra_bands`) is never multiplied into the others.

    Args:
        content: Content of the file.
        channels: Number of channels of the result.

            - None: 3, or 1 for 16-bit gray.
            - 1: gray. Colors are converted with the weights of ITU-R 601.
            - 3: colors, or the three channels of a TIFF. A fourth band that is not transparency is dropped.
            - Other numbers: all bands of the file, or all samples, planes or pages of a TIFF.

    Returns:
        The image, H x W x channels, as uint8. 16-bit gray is uint16, and so is a 16-bit TIFF if `channels` is given.
        Pillow reduces other colors with more than 8 bits to 8.

    Raises:
        ImageError: The content is not a complete image, has 32-bit pixels or a different number of channels, or has a
            last band that is not transparency while `channels` is None.
    """
    return np.asarray(_read(content, channels))


def read_fitted(content: bytes, channels: int | None, resizing: Resizing) -> tuple[NDArray[Any], int, int]:
    """Decode an image as `read_image` does and resize it as `Resizing.fit_image` does, but with less memory.

    Returns:
        The prepared image (H x W x C), and the height and width of the original image in px.

    Raises:
        ImageError: See `read_image`.
    """
    image = _read(content, channels)
    if not isinstance(image, Image.Image):
        return resizing.fit_image(image), *image.shape[:2]
    height, width = resizing.compute_inner_size((image.height, image.width))
    inner = image.resize((width, height), Image.Resampling.LANCZOS)
    return resizing.pad_image(np.asarray(inner)), image.height, image.width


def read_for_network(content: bytes, channels: int, bits: int) -> NDArray[Any]:
    """Decode an image for a network trained on images with this number of channels and bits per channel.

    Networks trained on gray or 8-bit RGB images accept both. The result is then the same as that of
    `read_image` without `channels`.

    Raises:
        ImageError: See `read_image`.
    """
    if channels == 1 or (channels, bits) == (3, 8):
        with contextlib.suppress(ImageError):
            return read_image(content)
    return read_image(content, channels)


def to_gray(image: NDArray[Any]) -> NDArray[Any]:
    """Convert RGB (H x W x 3) to gray (H x W x 1) with the weights of ITU-R 601. Return other images unchanged."""
    return np.asarray(Image.fromarray(image).convert("L"))[..., None] if image.shape[-1] == 3 else image


def is_tiff(path: Path) -> bool:
    """Return whether a file is a TIFF, judging by its first bytes. Raise `OSError` if it cannot be read."""
    with path.open("rb") as file:
        return file.read(4) in TIFF_MAGIC


def count_channels(content: bytes) -> int:
    """Count the channels that a file stores. Raise `ImageError` if it cannot be decoded."""
    return count_tiff_channels(content) if content.startswith(TIFF_MAGIC) else len(decode(content).getbands())


def decode(content: bytes, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """Decode a file that contains one image, and turn the image upright.

    Raises:
        ImageError: The file is in another format, is broken or too large, or contains several images.
    """
    reader = HeaderReader(io.BytesIO(content))
    try:
        # Pillow warns about unusual metadata and large images. It raises an error if an image could fill the memory.
        with warnings.catch_warnings(action="ignore"), Image.open(cast("BinaryIO", reader), formats=formats) as file:
            num_images = _count_images(file)
            _check_values(file)
            if num_images > 1:
                count = f"more than {MAX_PAGES}" if num_images > MAX_PAGES else num_images
                raise ImageError(f"contains {count} images; save one per file, or set {SLICES_KEY}")
            reader.remove_limit()
            ImageOps.exif_transpose(file, in_place=True)  # in place, to avoid a copy
            file.load()
            return file
    except ImageError:
        raise
    except Exception as error:  # broken files can raise any exception: OSError, SyntaxError, struct.error
        raise ImageError(_describe_error(error, formats)) from None


def read_deep(image: Image.Image) -> NDArray[np.uint16]:
    """Convert a 16-bit gray image to an array (H x W) in which white is the highest value.

    Pillow inverts TIFFs that store white as 0 only if they have up to 8 bits.
    """
    values: NDArray[np.uint16] = np.asarray(image).astype(np.uint16)  # astype: the file may be big-endian
    is_white_zero = getattr(image, "tag_v2", {}).get(Tag.PhotometricInterpretation) == _WHITE_IS_ZERO
    return ~values if is_white_zero else values


def _read(content: bytes, channels: int | None) -> Image.Image | NDArray[Any]:
    """Decode an image as `read_image` does, but return RGB as a Pillow image."""
    if channels not in (None, 1, 3):
        return _read_channels(content, channels)
    if channels == 3 and content.startswith(TIFF_MAGIC):
        with contextlib.suppress(ImageError):  # Pillow also reads palettes, CMYK, and JPEG in a TIFF
            return _read_channels(content, channels)
    try:
        image = decode(content)
    except ImageError as error:
        if (gray := _read_gray_tiff(content, channels)) is not None:
            return gray
        reason = describe_channels(content, channels) if content.startswith(TIFF_MAGIC) else None
        raise ImageError(reason or str(error)) from None
    if image.mode.startswith("I;16"):
        if channels == 3:
            raise ImageError("is 16-bit gray, which has 1 channel, but 3 are expected")
        return read_deep(image)[..., None]
    if image.mode in ("I", "F"):
        raise ImageError("has 32-bit pixels; save it with 8 bits per channel, or as 16-bit gray")
    if has_extra_band(image):
        if channels is None:
            raise ImageError(describe_extra_band(image))
        image = _read_tiff_colors(content, image) or drop_last_band(image)
    elif is_invisible(image):
        if channels is None:
            raise ImageError(describe_invisible(image))
        image = drop_last_band(image)
    elif image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image.convert("RGBA"))
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    return np.asarray(rgb.convert("L"))[..., None] if channels == 1 else rgb


def _read_channels(content: bytes, channels: int) -> NDArray[Any]:
    """Decode all bands of an image, or all samples, planes or pages of a TIFF; their number must be `channels`."""
    if content.startswith(TIFF_MAGIC):
        return read_channels(content, channels)
    image = decode(content)
    bands = len(image.getbands())
    if bands == channels and image.mode in ("RGBA", "LA"):
        return np.asarray(image)
    hint = "; only TIFFs can have so many" if channels > 4 else ""
    raise ImageError(f"has {bands} channel{'s' * (bands > 1)}, but {channels} are expected{hint}")


def _read_gray_tiff(content: bytes, channels: int | None) -> Image.Image | NDArray[Any] | None:
    """Decode a gray TIFF that Pillow cannot read, such as big-endian 16 bits with white as 0.

    Return None for other files.
    """
    if not content.startswith(TIFF_MAGIC) or channels == 3:
        return None
    with contextlib.suppress(ImageError):
        gray = _read_channels(content, 1)
        is_deep = gray.dtype == np.uint16
        return gray if is_deep or channels == 1 else Image.fromarray(gray[..., 0]).convert("RGB")
    return None


def _read_tiff_colors(content: bytes, image: Image.Image) -> Image.Image | None:
    """Read the colors of a TIFF as stored. Pillow divides them by a last band that is marked as premultiplied."""
    if not content.startswith(TIFF_MAGIC) or image.mode != "RGBA":
        return None
    with contextlib.suppress(ImageError):
        bands = _read_channels(content, count_bands(image))
        return Image.fromarray(np.ascontiguousarray(bands[..., :3])) if bands.dtype == np.uint8 else None
    return None


def _count_images(file: Image.Image) -> int:
    """Count the images in a file. Stop after `MAX_PAGES` pages of a TIFF, whose chain of pages may be circular."""
    if file.format != "TIFF":
        return getattr(file, "n_frames", 1) if file.format in _STACKS else 1
    for count in range(1, MAX_PAGES + 1):
        try:
            file.seek(count)
        except EOFError:
            file.seek(0)
            return count
    return MAX_PAGES + 1


def _check_values(file: Image.Image) -> None:
    """Raise `ImageError` for a TIFF that Pillow would decode incorrectly."""
    tags = getattr(file, "tag_v2", {})
    bits, formats = tags.get(Tag.BitsPerSample, ()), tags.get(Tag.SampleFormat, ())
    if tags.get(Tag.PlanarConfiguration) == _SEPARATE_PLANES and len(bits) > 1 and max(bits) > 8:
        raise ImageError("has 16-bit colors in separate planes; save them interleaved")
    if _SIGNED in formats and max(bits, default=8) <= 8:
        raise ImageError("has pixels of type int8; save it as uint8 or uint16")


def _describe_error(error: Exception, formats: tuple[str, ...]) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"is too large to be decoded (at most {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels)"
    if isinstance(error, UnidentifiedImageError):
        return f"is not in one of the formats {', '.join(formats)}"
    return f"is not a complete image ({error or type(error).__name__})"
