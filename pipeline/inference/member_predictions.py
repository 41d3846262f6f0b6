"""Predict images with an ensemble and with each of its members in one pass."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from pipeline.artifacts.prepared_data import Split
from pipeline.artifacts.run_folder import Precision
from pipeline.data.batch_loader import BatchLoader
from pipeline.imaging.windows import WindowedImage
from pipeline.inference.prediction import compute_batch_size, predict_logit_strips, predict_logits
from pipeline.inference.tiles import Tiles
from pipeline.models.ensemble import Ensemble, MemberOutputs
from pipeline.models.precision import get_device
from pipeline.runtime.shutdown import check_signals


def predict_member_batches(
    ensemble: Ensemble, split: Split, num_classes: int, precision: Precision
) -> Iterator[tuple[Tensor, Tensor]]:
    """Predict a split in batches, without augmentation; all images must have the same size.

    Yields:
        Log-probabilities of the ensemble, of its members' mean and of each member, N x (2 + members) x classes x H x
        W, and the ground truth N x H x W.
    """
    outputs, batches = MemberOutputs(ensemble).eval(), BatchLoader(split, get_device(ensemble))
    size = _compute_batch_size(ensemble, split.size)
    for start in range(0, len(split), size):
        check_signals()
        images, truth, _ = batches.take(np.arange(start, min(start + size, len(split))))
        logits = predict_logits(outputs, images, precision)
        yield logits.reshape(len(logits), -1, num_classes, *logits.shape[2:]).log_softmax(dim=2), truth


def predict_member_strips(
    ensemble: Ensemble, image: WindowedImage, tiles: Tiles, num_classes: int, precision: Precision
) -> Iterator[tuple[slice, Tensor]]:
    """Predict an image (H x W x C) of any size tile by tile, as `predict_strips` does.

    Yields:
        Rows of the image, and the log-probabilities of the ensemble, of its members' mean and of each member, (2 +
        members) x classes x rows x W.
    """
    outputs, num_logits = MemberOutputs(ensemble).eval(), (2 + len(ensemble.members)) * num_classes
    size = _compute_batch_size(ensemble, tiles.size)
    for rows, logits in predict_logit_strips(outputs, image, tiles, num_logits, size, precision):
        yield rows, logits.reshape(-1, num_classes, *logits.shape[1:]).log_softmax(dim=1)


def _compute_batch_size(ensemble: Ensemble, size: tuple[int, int]) -> int:
    """Compute a batch size at which the outputs of all members take no more memory than those of one network."""
    return max(1, compute_batch_size(*size) // (2 + len(ensemble.members)))
