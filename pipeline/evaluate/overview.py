"""Draw an overview of a run to browse in MLflow: image, ground truth and prediction side by side."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageColor

from pipeline.artifacts.prepared_data import SHOWCASE, SegmentationClass
from pipeline.evaluate.predict_splits import SplitPrediction
from pipeline.imaging import IGNORE
from pipeline.imaging.to_rgb import to_rgb

IGNORED_COLOR = (128, 128, 128)


def draw_overview(splits: Mapping[str, SplitPrediction], classes: tuple[SegmentationClass, ...]) -> Image.Image:
    """Draw a row for the showcase and one for the first validation image."""
    palette = np.full((256, 3), IGNORED_COLOR, dtype=np.uint8)
    for index, item in enumerate(classes):
        palette[index] = ImageColor.getrgb(item.color)[:3]
    rows = []
    for name in (SHOWCASE, "validation"):
        split = splits[name].split
        if len(split):
            truth = split.masks[0]
            predicted = np.where(truth == IGNORE, np.uint8(IGNORE), splits[name].prediction.masks[0])
            rows.append(np.concatenate([to_rgb(split.images[0]), palette[truth], palette[predicted]], axis=1))
    return Image.fromarray(np.concatenate(rows, axis=0))
