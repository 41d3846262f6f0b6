"""ConfidenceCollector: sums by confidence and class equal those of a loop over pixels."""

from __future__ import annotations

import numpy as np
import pytest
from torch import Tensor, nn

from pipeline.analysis.calibration import NUM_BINS
from pipeline.artifacts.prepared_data import Split
from pipeline.imaging import IGNORE
from pipeline.inference.confidence import ConfidenceCollector
from pipeline.inference.prediction import MAX_BATCH_SIZE, predict_split

NUM_CLASSES = 3


class CenteredImage(nn.Module):
    """Use the centered channels of the image as logits."""

    def forward(self, images: Tensor) -> Tensor:
        return 6 * (images - 0.5)


@pytest.mark.parametrize("ignored", [0.0, 0.3, 1.0])
def test_confidence_collector_sums_evaluated_pixels(ignored: float) -> None:
    random = np.random.default_rng(0)
    count = MAX_BATCH_SIZE + 2  # two batches
    images = random.integers(0, 256, (count, 4, 5, NUM_CLASSES), dtype=np.uint8)
    masks = random.integers(0, NUM_CLASSES, (count, 4, 5)).astype(np.uint8)
    masks[random.random(masks.shape) < ignored] = IGNORE
    collector = ConfidenceCollector(NUM_CLASSES)
    split = Split.of(images, masks)
    prediction = predict_split(CenteredImage(), split, NUM_CLASSES, "float32", collector)
    stats = collector.stats()

    bins, by_class = np.zeros((count, 3, NUM_BINS)), np.zeros((count, 2, NUM_CLASSES))
    logits = 6 * (images.astype(np.float64) / 255 - 0.5)
    probs = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    for (image, row, column), truth in np.ndenumerate(masks):
        if truth == IGNORE:
            continue
        pixel_probs = probs[image, row, column]
        bin_index = int(pixel_probs.max() * NUM_BINS)
        bins[image, :, bin_index] += 1, pixel_probs.argmax() == truth, pixel_probs.max()
        by_class[image, :, truth] += 1, -np.log(pixel_probs[truth])
    np.testing.assert_allclose(stats.bins, bins, rtol=1e-5)
    np.testing.assert_allclose(stats.class_pixels, by_class[:, 0])
    np.testing.assert_allclose(stats.class_losses, by_class[:, 1], rtol=1e-5)
    # The evaluation loss of the same pixels.
    evaluated = prediction.pixels > 0
    sums = (prediction.losses * prediction.pixels)[evaluated]
    np.testing.assert_allclose(sums, by_class[evaluated, 1].sum(axis=1), rtol=1e-5)
    assert np.isnan(prediction.losses[~evaluated]).all()
    np.testing.assert_array_equal(prediction.pixels, bins[:, 0].sum(axis=1))
