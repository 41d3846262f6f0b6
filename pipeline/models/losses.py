"""Losses over pixels, ignored ones excluded: the yardstick, and what may be optimised instead of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.params.train import Objective
from pipeline.runs import IGNORE

Loss = Callable[[Tensor, Tensor], Tensor]  # logits N x classes x H x W and masks N x H x W to a number


def cross_entropy(logits: Tensor, masks: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean negative log-likelihood of the true class, nats a pixel; the objective, and on a whole set the yardstick.

    Args:
        logits: N x classes x H x W, of any float type; the softmax and its logarithm are taken in float32.
        masks: N x H x W, int64, class index or `IGNORE`; 0 where no pixel counts.
        smoothing: share of each pixel's truth that is spread evenly over all classes (Szegedy et al. 2016), so that
            certainty beyond 1 - smoothing is not rewarded; never of the yardstick.
    """
    counted = (masks != IGNORE).sum().clamp(min=1)
    losses = F.cross_entropy(logits.float(), masks, ignore_index=IGNORE, reduction="sum", label_smoothing=smoothing)
    return losses / counted


def focal(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy with each pixel weighed by the square of what its true class lacks to certainty (Lin et al. 2017).

    Their gamma is 2; the probabilities are the softmax's, as the yardstick's. Shapes as in `cross_entropy`.
    """
    losses = F.cross_entropy(logits.float(), masks, ignore_index=IGNORE, reduction="none")
    lacking = 1 - torch.exp(-losses)  # ignored pixels have a loss of 0, hence lack nothing
    return (lacking.square() * losses).sum() / (masks != IGNORE).sum().clamp(min=1)


def objective(name: Objective, smoothing: float = 0.0) -> Loss:
    """The loss that training minimises; whichever it is, runs are compared by the yardstick. `smoothing` as above.

    Dice is segmentation-models-pytorch's, imported only here since that takes seconds. Its focal loss sets each class
    against all others by a sigmoid, while prediction and yardstick take the softmax of all; hence ours.
    """
    smoothed = partial(cross_entropy, smoothing=smoothing)
    if name == "cross_entropy":
        return smoothed
    if name == "focal":
        return focal
    from segmentation_models_pytorch.losses import MULTICLASS_MODE, DiceLoss

    # 1 - the classes' mean Dice coefficient, 2 sum(p t) / (sum(p) + sum(t)), the batch counting as one image
    # (Drozdzal et al. 2016); a class that the batch has none of adds 0.
    by_class = DiceLoss(MULTICLASS_MODE, ignore_index=IGNORE)

    def dice(logits: Tensor, masks: Tensor) -> Tensor:
        loss: Tensor = by_class(logits.float(), masks)
        return loss

    return dice if name == "dice" else lambda logits, masks: smoothed(logits, masks) + dice(logits, masks)
