"""Suggest names and colors of classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from scipy.spatial.distance import cdist

# Palette of Okabe and Ito (2008), which is safe for readers with color vision deficiency. The background is blue.
OKABE_ITO = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#56b4e9", "#d55e00")

_STEP = 0x11  # distance between the channel levels of candidate colors
_LIGHTNESS = (20, 95)  # CIELAB L* of candidates that are visible on dark and light images
_MIN_DISTANCE = 15.0  # minimum CIELAB distance between colors of the palette above and colors already taken

Lab = NDArray[np.float64]


def suggest_colors(count: int, taken: Sequence[str] = ()) -> list[str]:
    """Suggest colors that differ from each other and from colors already taken.

    The palette of Okabe and Ito comes first. Each further color is the candidate with the largest CIELAB distance from
    all previous ones (as in Glasbey et al., Color Research & Application 32, 2007), so that the first colors do not
    depend on the number of classes.

    Args:
        count: Number of colors.
        taken: Colors of other classes, as #rrggbb.
    """
    candidates, labs = _build_candidates()
    distances = cdist(to_lab(OKABE_ITO), to_lab(taken)).min(axis=1, initial=np.inf)
    fit = [color for color, distance in zip(OKABE_ITO, distances, strict=True) if distance >= _MIN_DISTANCE]
    proposed = fit[:count]
    nearest = cdist(labs, to_lab([*taken, *proposed])).min(axis=1, initial=np.inf)
    while len(proposed) < count:
        place = int(nearest.argmax())
        proposed.append(candidates[place])
        nearest = np.minimum(nearest, cdist(labs, labs[[place]])[:, 0])
    return proposed


def to_lab(colors: Sequence[str]) -> Lab:
    """Convert colors (#rrggbb) to CIELAB, N x 3. a* and b* are whole numbers, shifted by 128."""
    pixels = b"".join(bytes.fromhex(color[1:]) for color in colors)
    image = Image.frombytes("RGB", (len(colors), 1), pixels)
    converted = ImageCms.applyTransform(image, _build_lab_transform())
    assert converted is not None
    lightness, *others = (np.asarray(band)[0] for band in converted.split())
    return np.stack([lightness / 2.55, *(band.astype(np.float64) for band in others)], axis=1)


@cache
def _build_lab_transform() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")


@cache
def _build_candidates() -> tuple[list[str], Lab]:
    levels = range(0, 256, _STEP)
    colors = [f"#{red:02x}{green:02x}{blue:02x}" for red in levels for green in levels for blue in levels]
    labs = to_lab(colors)
    kept = (labs[:, 0] >= _LIGHTNESS[0]) & (labs[:, 0] <= _LIGHTNESS[1])
    return [color for color, is_kept in zip(colors, kept, strict=True) if is_kept], labs[kept]


def make_class_names(wanted: Sequence[str]) -> list[str]:
    """Convert names to class names: replace invalid characters with _, and number repeated names."""
    names: list[str] = []
    for name in wanted:
        plain = re.sub(r"[^\w -]", "_", name).strip(" -") or "class"
        numbered = (plain, *(f"{plain}_{number}" for number in range(2, len(wanted) + 2)))
        names.append(next(one for one in numbered if one not in names))
    return names
