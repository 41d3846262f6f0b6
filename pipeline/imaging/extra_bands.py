"""Recognize a last band that is marked as alpha but contains other data, such as near infrared or depth.

Pillow would multiply such a band into the colors, or drop it.
"""

from __future__ import annotations

from PIL import Image
from PIL.ExifTags import Base as Tag

# Maximum fraction of half-transparent pixels in an alpha band. In the bundled cut-outs, soft edges make up as much as
# 0.21 of an image. In a band of other data (near infrared, depth), nearly all pixels would be half transparent.
MAX_HALF_TRANSPARENT = 0.25


def has_extra_band(image: Image.Image) -> bool:
    """Return whether the last band of a decoded image contains data other than transparency."""
    if _has_unnamed_band(image):
        return True
    if image.mode not in ("RGBA", "LA"):
        return False
    levels = image.getchannel("A").histogram()
    return sum(levels[1:255]) > MAX_HALF_TRANSPARENT * sum(levels)


def _has_unnamed_band(image: Image.Image) -> bool:
    """Return whether an image has a band of unknown meaning. Pillow silently drops such bands of TIFFs."""
    return image.mode == "RGBX" or count_bands(image) > len(image.getbands())


def count_bands(image: Image.Image) -> int:
    """Count the bands that are stored in the file of an image."""
    samples: int = getattr(image, "tag_v2", {}).get(Tag.SamplesPerPixel, 0)
    return max(samples, len(image.getbands()))


def _count_known_bands(image: Image.Image) -> int:
    """Count the bands that remain without the last ones: 1 for gray images, 3 for others."""
    return 1 if image.mode in ("1", "L", "LA") else 3


def describe_extra_band(image: Image.Image) -> str:
    """Describe why the last band requires `data.channels`, as a phrase that follows the file name."""
    bands, known = count_bands(image), _count_known_bands(image)
    more = bands - known
    which = "the last one is" if more == 1 else f"the last {more} are"
    what = "of unknown meaning" if _has_unnamed_band(image) else "not transparency (its values are not 0 or 255)"
    return (
        f"has {bands} bands; {which} {what}; set data.channels: {bands} to learn from all of them, or data.channels: "
        f"{known} to leave {'it' if more == 1 else 'them'} out"
    )


def drop_last_band(image: Image.Image) -> Image.Image:
    """Remove the last band without multiplying it into the others."""
    if image.mode not in ("RGBA", "RGBX", "LA"):
        return image  # Pillow has already dropped the band
    bands = image.split()[:-1]
    return Image.merge("RGB", bands) if len(bands) == 3 else bands[0]


def is_invisible(image: Image.Image) -> bool:
    """Return whether every pixel is fully transparent, so that the image would become black."""
    return image.mode in ("RGBA", "LA") and image.getchannel("A").getextrema() == (0, 0)


def describe_invisible(image: Image.Image) -> str:
    """Describe why a fully transparent image requires `data.channels`, as a phrase that follows the file name."""
    return (
        f"is transparent everywhere; set data.channels: {_count_known_bands(image)} to leave its last band out, or "
        f"data.channels: {count_bands(image)} if that band contains other data"
    )
