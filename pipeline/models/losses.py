"""Losses over pixels, without the ignored ones: the evaluation loss, and what training may minimize instead."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.imaging import IGNORE
from pipeline.params.train import LossName

Loss = Callable[[Tensor, Tensor], Tensor]  # logits N x classes x H x W and masks N x H x W to a scalar


def cross_entropy(logits: Tensor, masks: Tensor, smoothing: float = 0.0) -> Tensor:
    """Compute the mean negative log-likelihood of the true class; without smoothing, this is the evaluation loss.

    Args:
        logits: N x classes x H x W, of any float type; the log-softmax is computed in float32.
        masks: N x H x W, int64, class index or `IGNORE`.
        smoothing: Share of each pixel's target that is spread evenly over all classes (Szegedy et al. 2016), so that
            confidence beyond 1 - smoothing is not rewarded.

    Returns:
        Nats per evaluated pixel; 0 without evaluated pixels.
    """
    evaluated = (masks != IGNORE).sum().clamp(min=1)
    losses = F.cross_entropy(logits.float(), masks, ignore_index=IGNORE, reduction="sum", label_smoothing=smoothing)
    return losses / evaluated


def focal(logits: Tensor, masks: Tensor) -> Tensor:
    """Compute the focal loss with gamma 2: cross-entropy weighted by (1 - p of the true class)² (Lin et al. 2017).

    Probabilities are the softmax's, as in the evaluation loss. Shapes as in `cross_entropy`.
    """
    losses = F.cross_entropy(logits.float(), masks, ignore_index=IGNORE, reduction="none")
    weights = (1 - torch.exp(-losses)).square()  # 0 for ignored pixels, whose loss is 0
    return (weights * losses).sum() / (masks != IGNORE).sum().clamp(min=1)


def create_loss(name: LossName, smoothing: float = 0.0) -> Loss:
    """Create the loss that training minimizes; runs are compared by the evaluation loss, whatever it is.

    Dice is segmentation-models-pytorch's, imported here because that takes seconds. Its focal loss is not used: it
    applies a sigmoid to each class, where prediction and evaluation use the softmax.
    """
    smoothed = partial(cross_entropy, smoothing=smoothing)
    if name == "cross_entropy":
        return smoothed
    if name == "focal":
        return focal
    from segmentation_models_pytorch.losses import MULTICLASS_MODE, DiceLoss

    # 1 - mean over classes of 2 sum(p t) / (sum(p) + sum(t)), the batch taken as one image (Drozdzal et al. 2016);
    # classes missing from the batch add 0.
    dice_loss = DiceLoss(MULTICLASS_MODE, ignore_index=IGNORE)

    def dice(logits: Tensor, masks: Tensor) -> Tensor:
        loss: Tensor = dice_loss(logits.float(), masks)
        return loss

    return dice if name == "dice" else lambda logits, masks: smoothed(logits, masks) + dice(logits, masks)
