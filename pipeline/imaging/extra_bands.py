"""Recognize a last band that is not transparency: near infrared, depth or other data that programs flag as alpha.

Pillow multiplies such a band into the colors, or drops it. Served models carry this file, because they read images.
"""

from __future__ import annotations

from PIL import Image

_SAMPLES = 277  # TIFF tag SamplesPerPixel

# Share of an alpha band's pixels that may be half transparent: those of the bundled cut-outs' soft edges are up to 0.21
# of an image, and a band of other data (near infrared, depth) that a program flagged as alpha has values in between
# nearly everywhere.
MAX_HALF_TRANSPARENT = 0.25


def has_extra_band(picture: Image.Image) -> bool:
    """Return whether the last band of a decoded image is other data than transparency."""
    if _has_unnamed_band(picture):
        return True
    if picture.mode not in ("RGBA", "LA"):
        return False
    levels = picture.getchannel("A").histogram()
    return sum(levels[1:255]) > MAX_HALF_TRANSPARENT * sum(levels)


def _has_unnamed_band(picture: Image.Image) -> bool:
    """Return whether an image has a band of unknown meaning, which Pillow drops silently if it is a TIFF's."""
    return picture.mode == "RGBX" or count_bands(picture) > len(picture.getbands())


def count_bands(picture: Image.Image) -> int:
    """Count the bands that the file stores."""
    samples: int = getattr(picture, "tag_v2", {}).get(_SAMPLES, 0)
    return max(samples, len(picture.getbands()))


def _count_known_bands(picture: Image.Image) -> int:
    """Count the channels that are left without the last band."""
    return 1 if picture.mode in ("1", "L", "LA") else 3


def ask_about_extra_band(picture: Image.Image) -> str:
    """Say, in words that follow a file's name, that `data.channels` must decide about the last band."""
    bands, known = count_bands(picture), _count_known_bands(picture)
    more = bands - known
    which = "the last one is" if more == 1 else f"the last {more} are"
    what = "of unknown meaning" if _has_unnamed_band(picture) else "not transparency (its values are not 0 or 255)"
    return (
        f"has {bands} bands; {which} {what}; set data.channels: {bands} to learn from all of them, or data.channels: "
        f"{known} to leave {'it' if more == 1 else 'them'} out"
    )


def without_last_band(picture: Image.Image) -> Image.Image:
    """Leave out the last band, without multiplying it into the others."""
    if picture.mode not in ("RGBA", "RGBX", "LA"):
        return picture  # Pillow dropped it
    bands = picture.split()[:-1]
    return Image.merge("RGB", bands) if len(bands) == 3 else bands[0]


def is_invisible(picture: Image.Image) -> bool:
    """Return whether every pixel is fully transparent: the image would be black."""
    return picture.mode in ("RGBA", "LA") and picture.getchannel("A").getextrema() == (0, 0)


def ask_about_invisible(picture: Image.Image) -> str:
    """Say, in words that follow a file's name, that `data.channels` must decide about a band that hides everything."""
    return (
        f"is transparent everywhere; set data.channels: {_count_known_bands(picture)} to leave its last band out, or "
        f"data.channels: {count_bands(picture)} if that band holds other data"
    )
