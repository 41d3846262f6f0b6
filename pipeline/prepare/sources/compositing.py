"""Animals pasted over photographs, and the mask that follows from their alpha.

Colours are floats from 0 to 1. Those of an animal are premultiplied by its alpha: resampled in this form, nothing of
the colour that lies hidden under transparent pixels bleeds into the contour.
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

MAX_ROTATION = 20.0  # degrees, either way


@dataclass(frozen=True, eq=False)
class Layer:
    """An animal on an empty canvas of the image's size."""

    colour: Floats  # H x W x 3, premultiplied
    alpha: Floats  # H x W


def crop_background(
    photograph: Image.Image, size: int, rng: np.random.Generator, composition: Composition = DEFAULT_COMPOSITION
) -> Floats:
    """A square part of an RGB photograph, mirrored by chance, in slightly other light: size x size x 3."""
    side = rng.uniform(*composition.crop) * min(photograph.size)
    left, top = rng.random() * (photograph.width - side), rng.random() * (photograph.height - side)
    part = photograph.resize((size, size), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
    if rng.random() < 0.5:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return vary_lighting(_floats(part), np.ones((size, size), np.float32), rng, 0.1)


def pose_animal(
    cutout: Image.Image, size: int, rng: np.random.Generator, composition: Composition = DEFAULT_COMPOSITION
) -> Layer:
    """A cut-out (mode RGBa, premultiplied), turned, scaled, mirrored, shaded and laid somewhere on the canvas."""
    pose = cutout.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else cutout
    pose = pose.rotate(rng.uniform(-MAX_ROTATION, MAX_ROTATION), Image.Resampling.BICUBIC, expand=True)
    pose = pose.crop(pose.getchannel("a").getbbox())
    pose = resize_animal(pose, rng.uniform(*composition.scale) * size / max(pose.size))
    where = rng.random((2, 2)).mean(axis=0)  # rather in the middle, where photographers put an animal
    alpha = np.asarray(pose.getchannel("a"), np.float32)
    # A spot with some of the animal outside is as good as any, as long as enough is left to see. An animal larger than
    # the image may leave less to see even where nothing need lie outside.
    for quarters in (4, 3, 2, 1, 0):
        overhang = composition.overhang * quarters / 4
        left, top = (
            round(-overhang * side + share * (size - side + 2 * overhang * side))
            for share, side in zip(where, pose.size, strict=True)
        )
        inside = alpha[max(-top, 0) : size - top, max(-left, 0) : size - left]
        if inside.sum() >= composition.visible * alpha.sum():
            break
    layer = place(pose, size, left, top)
    return Layer(vary_lighting(layer.colour, layer.alpha, rng, 0.15), layer.alpha)


def place(animal: Image.Image, size: int, left: int, top: int) -> Layer:
    """An animal (mode RGBa) as it is, on a canvas of size x size px; what lies outside is cut off."""
    canvas = Image.new("RGBa", (size, size))
    canvas.paste(animal, (left, top))
    pixels = _floats(canvas)
    # Resampling overshoots: premultiplied colours brighter than their alpha are no colours.
    return Layer(np.minimum(pixels[..., :3], pixels[..., 3:]), pixels[..., 3])


def resize_animal(animal: Image.Image, factor: float) -> Image.Image:
    """An animal (mode RGBa) scaled by a factor, either way without jagged edges."""
    width, height = (max(1, round(side * factor)) for side in animal.size)
    return animal.resize((width, height), Image.Resampling.LANCZOS)


def vary_lighting(colour: Floats, alpha: Floats, rng: np.random.Generator, strength: float) -> Floats:
    """Other brightness, contrast and, by a quarter of `strength`, tint; works on premultiplied colours as they are."""
    contrast = 1 + rng.uniform(-strength, strength)
    brightness = rng.uniform(-strength, strength) / 2
    gain = contrast * (1 + rng.uniform(-strength, strength, 3) / 4)
    lit = colour * gain + alpha[..., None] * (0.5 - 0.5 * contrast + brightness)
    return np.clip(lit, 0, alpha[..., None]).astype(np.float32)


def blur(scene: Floats, deviation: float) -> Floats:
    """A background out of focus: a Gaussian with this standard deviation, in px."""
    picture = Image.fromarray(np.rint(255 * scene).astype(np.uint8))
    return _floats(picture.filter(ImageFilter.GaussianBlur(deviation)))


def compose(
    background: Floats, layers: list[Layer], border: float = DEFAULT_COMPOSITION.border
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Layers over a background, the last one in front.

    Returns:
        The image, size x size x 3, and its mask, size x size.
    """
    colour, uncovered = background, np.ones(background.shape[:2], np.float32)
    for layer in layers:
        colour = layer.colour + colour * (1 - layer.alpha[..., None])
        uncovered = uncovered * (1 - layer.alpha)
    image = np.rint(255 * np.clip(colour, 0, 1)).astype(np.uint8)
    return image, draw_mask(1 - uncovered > 0.5, border)


def tint(image: NDArray[np.uint8], factors: NDArray[np.float64]) -> NDArray[np.uint8]:
    """An image in other light, as of a lamp: each colour by its factor."""
    return np.rint(np.clip(image * factors, 0, 255)).astype(np.uint8)


def draw_mask(animal: NDArray[np.bool_], border: float = DEFAULT_COMPOSITION.border) -> NDArray[np.uint8]:
    """Class indices of a square image from the pixels that show animal.

    The border is a band around the contour, as wide as this share of the side and never empty where there is a contour.
    The image's own edge is no contour.
    """
    # Between a pixel's centre and the contour lies half a pixel less than to the next pixel beyond it.
    reach = max(border * animal.shape[0] / 2 + 0.5, 1.01)
    band = _dilate(animal, reach) & _dilate(~animal, reach)
    return np.where(band, BORDER, np.where(animal, ANIMAL, BACKGROUND)).astype(np.uint8)


def _dilate(wanted: NDArray[np.bool_], reach: float) -> NDArray[np.bool_]:
    """The pixels whose centre is closer than `reach` px to the centre of a wanted one.

    A disc is a row of columns: each is a window of sums down the image, so the cost grows with the reach, not with its
    square.
    """
    height, width = wanted.shape
    sums = np.zeros((height + 1, width), np.int32)
    np.cumsum(wanted, axis=0, out=sums[1:])
    rows = np.arange(height)
    near = np.zeros_like(wanted)
    for aside in range(math.ceil(reach)):
        half = math.ceil(math.sqrt(reach**2 - aside**2)) - 1
        column = sums[np.minimum(rows + half + 1, height)] > sums[np.maximum(rows - half, 0)]
        near[:, aside:] |= column[:, : width - aside]
        near[:, : width - aside] |= column[:, aside:]
    return near


def _floats(picture: Image.Image) -> Floats:
    return np.asarray(picture, np.float32) / np.float32(255)
