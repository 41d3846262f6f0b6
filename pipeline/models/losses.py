"""Losses over pixels, ignored ones excluded: the yardstick, and what may be optimised instead of it."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from pipeline.params.train import Objective
from pipeline.runs import IGNORE

Loss = Callable[[Tensor, Tensor], Tensor]  # logits N x classes x H x W and masks N x H x W to a number


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


def objective(name: Objective) -> Loss:
    """The loss that training minimises; whichever it is, runs are compared by the yardstick.

    Dice (Milletari et al. 2016) is 1 - the classes' mean Dice coefficient over the batch; focal (Lin et al. 2017)
    weighs pixels by the square of what is missing to certainty. Both are segmentation-models-pytorch's, imported only
    here, since that takes seconds.
    """
    if name == "cross_entropy":
        return cross_entropy
    from segmentation_models_pytorch.losses import MULTICLASS_MODE, DiceLoss, FocalLoss

    dice = DiceLoss(MULTICLASS_MODE, ignore_index=IGNORE)
    focal = FocalLoss(MULTICLASS_MODE, ignore_index=IGNORE)
    losses: dict[Objective, Loss] = {
        "dice": lambda logits, masks: dice(logits.float(), masks),
        "cross_entropy_dice": lambda logits, masks: cross_entropy(logits, masks) + dice(logits.float(), masks),
        "focal": lambda logits, masks: focal(logits.float(), masks),
    }
    return losses[name]
