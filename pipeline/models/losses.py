"""Losses over pixels, ignored ones excluded."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pipeline.runs import IGNORE


def cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """Mean negative log-likelihood of the true class, nats a pixel; the objective, and on a whole set the yardstick.

    Args:
        logits: N x classes x H x W, of any float type; the softmax and its logarithm are taken in float32.
        masks: N x H x W, int64, class index or `IGNORE`; 0 where no pixel counts.
    """
    counted = (masks != IGNORE).sum().clamp(min=1)
    return F.cross_entropy(logits.float(), masks, ignore_index=IGNORE, reduction="sum") / counted


def image_cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """The same for each image: N sums over its pixels, in nats; divide by its number of counted pixels for the mean."""
    losses = F.cross_entropy(logits.float(), masks, ignore_index=IGNORE, reduction="none")
    return losses.sum(dim=(1, 2))
