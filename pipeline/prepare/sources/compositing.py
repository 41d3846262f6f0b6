"""Composite animals onto backgrounds, and draw the masks from their alpha channels.

Colors are floats from 0 to 1. Colors of animals are premultiplied by alpha, so that colors of transparent pixels do not
bleed into the contour when resampled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pipeline.params.data.composites import Composition

Floats = NDArray[np.float32]

ANIMAL, BACKGROUND, BORDER = range(3)
DEFAULT_COMPOSITION = Composition()

MAX_ROTATION = 20.0  # degrees


@dataclass(frozen=True, eq=False)
class Layer:
    """An animal on an empty canvas."""

    color: Floats  # H x W x 3, premultiplied
    alpha: Floats  # H x W


def fit_crop(source: Image.Image, size: tuple[int, int]) -> tuple[float, float]:
    """Compute the width and height of the largest crop of an image that has the aspect ratio of `size` (H, W)."""
    height, width = size
    if source.width * height <= source.height * width:
        return source.width, source.width * height / width
    return source.height * width / height, source.height


def crop_background(
    source: Image.Image, size: tuple[int, int], rng: np.random.Generator, composition: Composition = DEFAULT_COMPOSITION
) -> Floats:
    """Crop a random part of an RGB image, resize it to `size` (H, W), flip it randomly and vary its lighting."""
    share = rng.uniform(*composition.crop)
    width, height = (share * side for side in fit_crop(source, size))
    left, top = rng.random() * (source.width - width), rng.random() * (source.height - height)
    part = source.resize(size[::-1], Image.Resampling.LANCZOS, box=(left, top, left + width, top + height))
    if rng.random() < 0.5:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return vary_lighting(_to_floats(part), np.ones(size, np.float32), rng, 0.1)


def pose_animal(
    animal: Image.Image, size: tuple[int, int], rng: np.random.Generator, composition: Composition = DEFAULT_COMPOSITION
) -> Layer:
    """Flip, rotate and scale an animal (mode RGBa), place it on the canvas and vary its lighting."""
    pose = animal.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else animal
    pose = pose.rotate(rng.uniform(-MAX_ROTATION, MAX_ROTATION), Image.Resampling.BICUBIC, expand=True)
    pose = pose.crop(pose.getchannel("a").getbbox())
    pose = resize_animal(pose, rng.uniform(*composition.scale) * min(size) / max(pose.size))
    where = rng.random((2, 2)).mean(axis=0)  # more often near the center
    alpha = np.asarray(pose.getchannel("a"), np.float32)
    # Parts may be outside the image, as long as enough of the animal is visible. This may be impossible for an animal
    # that is larger than the image.
    for quarters in (4, 3, 2, 1, 0):
        overflow = composition.max_overflow * quarters / 4
        left, top = (
            round(-overflow * side + share * (full - side + 2 * overflow * side))
            for share, side, full in zip(where, pose.size, size[::-1], strict=True)
        )
        inside = alpha[max(-top, 0) : size[0] - top, max(-left, 0) : size[1] - left]
        if inside.sum() >= composition.min_visible_fraction * alpha.sum():
            break
    layer = place(pose, size, left, top)
    return Layer(vary_lighting(layer.color, layer.alpha, rng, 0.15), layer.alpha)


def place(animal: Image.Image, size: tuple[int, int], left: int, top: int) -> Layer:
    """Place an animal (mode RGBa) on a canvas of `size` (height and width, px). Parts outside are cropped."""
    canvas = Image.new("RGBa", size[::-1])
    canvas.paste(animal, (left, top))
    pixels = _to_floats(canvas)
    # Resampling may produce premultiplied colors above alpha.
    return Layer(np.minimum(pixels[..., :3], pixels[..., 3:]), pixels[..., 3])


def resize_animal(animal: Image.Image, factor: float) -> Image.Image:
    """Scale an animal (mode RGBa) by a factor."""
    width, height = (max(1, round(side * factor)) for side in animal.size)
    return animal.resize((width, height), Image.Resampling.LANCZOS)


def vary_lighting(color: Floats, alpha: Floats, rng: np.random.Generator, strength: float) -> Floats:
    """Vary the brightness and contrast of premultiplied colors and, by a quarter of `strength`, their tint."""
    contrast = 1 + rng.uniform(-strength, strength)
    brightness = rng.uniform(-strength, strength) / 2
    gain = contrast * (1 + rng.uniform(-strength, strength, 3) / 4)
    lit = color * gain + alpha[..., None] * (0.5 - 0.5 * contrast + brightness)
    return np.clip(lit, 0, alpha[..., None]).astype(np.float32)


def blur(scene: Floats, deviation: float) -> Floats:
    """Blur a background with a Gaussian filter. The standard deviation is in px."""
    image = Image.fromarray(np.rint(255 * scene).astype(np.uint8))
    return _to_floats(image.filter(ImageFilter.GaussianBlur(deviation)))


def compose(
    background: Floats, layers: list[Layer], border: float = DEFAULT_COMPOSITION.border
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Composite layers onto a background, with the last one in front.

    Returns:
        The image, H x W x 3, and its mask, H x W.
    """
    color, uncovered = background, np.ones(background.shape[:2], np.float32)
    for layer in layers:
        color = layer.color + color * (1 - layer.alpha[..., None])
        uncovered = uncovered * (1 - layer.alpha)
    image = np.rint(255 * np.clip(color, 0, 1)).astype(np.uint8)
    return image, draw_mask(1 - uncovered > 0.5, border)


def tint(image: NDArray[np.uint8], factors: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Multiply each channel of an image (H x W x 3) by its factor."""
    return np.rint(np.clip(image * factors, 0, 255)).astype(np.uint8)


def draw_mask(animal: NDArray[np.bool_], border: float = DEFAULT_COMPOSITION.border) -> NDArray[np.uint8]:
    """Draw a mask of animal, background and border from the pixels that show an animal (H x W).

    The border is a band around the contour. Its width is a fraction of the shorter side, but at least one pixel. The
    edge of the image does not count as a contour.
    """
    # The contour is between two pixels, so it is half a pixel away from their centers.
    reach = max(border * min(animal.shape) / 2 + 0.5, 1.01)
    band = _dilate(animal, reach) & _dilate(~animal, reach)
    return np.where(band, BORDER, np.where(animal, ANIMAL, BACKGROUND)).astype(np.uint8)


def _dilate(region: NDArray[np.bool_], reach: float) -> NDArray[np.bool_]:
    """Dilate a region to all pixels whose center is closer than `reach` px to the center of one of its pixels.

    The disc is divided into columns, each of which is a window of cumulative sums, so the time is proportional to the
    reach rather than to its square.
    """
    height, width = region.shape
    sums = np.zeros((height + 1, width), np.int32)
    np.cumsum(region, axis=0, out=sums[1:])
    rows = np.arange(height)
    near = np.zeros_like(region)
    for aside in range(math.ceil(reach)):
        half = math.ceil(math.sqrt(reach**2 - aside**2)) - 1
        column = sums[np.minimum(rows + half + 1, height)] > sums[np.maximum(rows - half, 0)]
        near[:, aside:] |= column[:, : width - aside]
        near[:, : width - aside] |= column[:, aside:]
    return near


def _to_floats(image: Image.Image) -> Floats:
    return np.asarray(image, np.float32) / np.float32(255)
