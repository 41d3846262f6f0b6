"""An evaluation's sums by confidence and class, against counting pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from torch import Tensor, nn

from pipeline.analysis.calibration import NUM_BINS
from pipeline.artifacts.prepared_data import Split
from pipeline.evaluate.calibration import ConfidenceCollector
from pipeline.imaging import IGNORE
from pipeline.inference.prediction import MAX_BATCH_SIZE, predict_split

CLASSES = 3


class Linear(nn.Module):
    """Logits that are the image's channels, less their middle: as good as drawn."""

    def forward(self, images: Tensor) -> Tensor:
        return 6 * (images - 0.5)


@pytest.mark.parametrize("ignored", [0.0, 0.3, 1.0])
def test_confidence_collector_sums_evaluated_pixels(ignored: float) -> None:
    random = np.random.default_rng(0)
    count = MAX_BATCH_SIZE + 2  # two batches
    images = random.integers(0, 256, (count, 4, 5, CLASSES), dtype=np.uint8)
    masks = random.integers(0, CLASSES, (count, 4, 5)).astype(np.uint8)
    masks[random.random(masks.shape) < ignored] = IGNORE
    collector = ConfidenceCollector(CLASSES)
    split = Split(images, masks, tuple(map(str, range(count))))
    prediction = predict_split(Linear(), split, CLASSES, "float32", collector)
    found = collector.stats()

    bins, by_class = np.zeros((count, 3, NUM_BINS)), np.zeros((count, 2, CLASSES))
    logits = 6 * (images.astype(np.float64) / 255 - 0.5)
    odds = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    for (image, row, column), truth in np.ndenumerate(masks):
        if truth == IGNORE:
            continue
        likely = odds[image, row, column]
        level = int(likely.max() * NUM_BINS)
        bins[image, :, level] += 1, likely.argmax() == truth, likely.max()
        by_class[image, :, truth] += 1, -np.log(likely[truth])
    np.testing.assert_allclose(found.bins, bins, rtol=1e-5)
    np.testing.assert_allclose(found.class_pixels, by_class[:, 0])
    np.testing.assert_allclose(found.class_losses, by_class[:, 1], rtol=1e-5)
    # The yardstick of the same pixels.
    evaluated = prediction.pixels > 0
    sums = (prediction.losses * prediction.pixels)[evaluated]
    np.testing.assert_allclose(sums, by_class[evaluated, 1].sum(axis=1), rtol=1e-5)
    assert np.isnan(prediction.losses[~evaluated]).all()
    np.testing.assert_array_equal(prediction.pixels, bins[:, 0].sum(axis=1))
