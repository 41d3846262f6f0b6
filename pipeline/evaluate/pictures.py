"""One picture a run, for browsing: image, truth and prediction, side by side."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageColor

from pipeline import runs
from pipeline.evaluate.seen import Seen
from pipeline.imaging.to_rgb import in_colour
from pipeline.runs import IGNORE, SegmentationClass

IGNORED = (128, 128, 128)


def overview(seen: dict[str, Seen], classes: tuple[SegmentationClass, ...]) -> Image.Image:
    """The showcase and validation's first image, a row each: image, truth, prediction."""
    palette = np.full((256, 3), IGNORED, dtype=np.uint8)
    for index, item in enumerate(classes):
        palette[index] = ImageColor.getrgb(item.colour)[:3]
    rows = []
    for name in (runs.SHOWCASE, "validation"):
        split = seen[name].split
        if len(split):
            guess = seen[name].prediction.masks[0]
            truth = split.masks[0]
            # Where nothing is known of the truth, the prediction is not judged either.
            shown = np.where(truth == IGNORE, np.uint8(IGNORE), guess)
            rows.append(np.concatenate([in_colour(split.images[0]), palette[truth], palette[shown]], axis=1))
    return Image.fromarray(np.concatenate(rows, axis=0))
