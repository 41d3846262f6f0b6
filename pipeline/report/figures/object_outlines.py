"""Draw the outlines of objects over an image, in colors that show how ground truth and prediction correspond."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor
from scipy import ndimage
from skimage.segmentation import find_boundaries

from pipeline.analysis.objects import LabelImage, ObjectKind, ObjectMatches
from pipeline.report.figures import image_html
from pipeline.report.images import EmbeddedImage, Frame, ImageArray, LegendEntry

# Colors of Okabe and Ito, which color-blind readers can tell apart, and which differ from gray images. Missed objects
# are also dashed, and all outlines have a dark edge, so that they are visible over bright pixels.
MATCHED, MISSED, FALSE, MERGED, SPLIT = "#56b4e9", "#f0e442", "#d55e00", "#cc79a7", "#009e73"
TRUE_COLORS = {
    ObjectKind.UNMATCHED: MISSED,
    ObjectKind.MATCHED: MATCHED,
    ObjectKind.MERGED: MERGED,
    ObjectKind.SPLIT: SPLIT,
}
PREDICTED_COLORS = {**TRUE_COLORS, ObjectKind.UNMATCHED: FALSE}
LEGEND = (
    LegendEntry(MATCHED, "matched"),
    LegendEntry(MISSED, "missed (dashed)"),
    LegendEntry(FALSE, "false"),
    LegendEntry(MERGED, "merged"),
    LegendEntry(SPLIT, "split"),
)

DRAWN_SIZE = 640  # px, approximate longer side of the drawing; outlines would cover small objects at a smaller size
EDGE, WIDTH = 1, 4  # px, width of the dark edge and of the outline
DASH = 8  # px, length of a dash and of a gap


def draw_true_outlines(
    image: ImageArray, truth: LabelImage, matches: ObjectMatches, alt: str, frame: Frame
) -> EmbeddedImage:
    """Draw the outlines of the objects in the ground truth (H x W) over an image (H x W x C)."""
    kinds = _spread_kinds(truth, matches.true_numbers, matches.true_kinds)
    canvas, scale = _enlarge_image(image)
    for kind, color in TRUE_COLORS.items():
        _draw_outlines(canvas, np.where(kinds == kind, truth, 0), scale, color, is_dashed=color == MISSED)
    return image_html.encode_webp(Image.fromarray(canvas), alt, "", frame)


def draw_predicted_outlines(
    image: ImageArray, truth: LabelImage, prediction: LabelImage, matches: ObjectMatches, alt: str, frame: Frame
) -> EmbeddedImage:
    """Draw the outlines of the predicted objects and of the missed ones (H x W) over an image (H x W x C)."""
    missed = _spread_kinds(truth, matches.true_numbers, matches.true_kinds) == ObjectKind.UNMATCHED
    kinds = _spread_kinds(prediction, matches.predicted_numbers, matches.predicted_kinds)
    canvas, scale = _enlarge_image(image)
    for kind, color in PREDICTED_COLORS.items():
        _draw_outlines(canvas, np.where(kinds == kind, prediction, 0), scale, color)
    _draw_outlines(canvas, np.where(missed, truth, 0), scale, MISSED, is_dashed=True)
    return image_html.encode_webp(Image.fromarray(canvas), alt, "", frame)


def _spread_kinds(
    labels: LabelImage, numbers: npt.NDArray[np.int64], kinds: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return the kind of the object at each pixel; -1 for background."""
    by_number = np.full(max(int(labels.max(initial=0)), int(numbers.max(initial=0))) + 1, -1)
    by_number[numbers] = kinds
    return by_number[labels]


def _enlarge_image(image: ImageArray) -> tuple[npt.NDArray[np.uint8], int]:
    """Enlarge an image by a whole factor to about `DRAWN_SIZE`, and return it as RGB with the factor."""
    rgb = image_html.to_rgb(image)
    scale = max(1, round(DRAWN_SIZE / max(rgb.size)))
    return np.array(rgb.resize((rgb.width * scale, rgb.height * scale), Image.Resampling.LANCZOS)), scale


def _draw_outlines(
    canvas: npt.NDArray[np.uint8], labels: LabelImage, scale: int, color: str, *, is_dashed: bool = False
) -> None:
    """Draw the outlines of all objects just inside their edges."""
    if not labels.any():
        return
    large = labels.repeat(scale, axis=0).repeat(scale, axis=1)
    # The edge of the image counts as the edge of an object.
    outline = find_boundaries(np.pad(large, 1), connectivity=2, mode="inner")[1:-1, 1:-1]
    is_object = large > 0
    line = ndimage.binary_dilation(outline, np.ones((3, 3)), WIDTH - 1, mask=is_object)
    edge = ndimage.binary_dilation(line, np.ones((3, 3)), EDGE, mask=is_object) & ~line
    if is_dashed:
        rows, columns = np.indices(line.shape)
        gaps = (rows // DASH + columns // DASH) % 2 == 1
        edge, line = edge | (line & gaps), line & ~gaps
    canvas[edge] = canvas[edge] // 3
    canvas[line] = ImageColor.getrgb(color)
