"""Losses over the pixels that are not ignored: the evaluation loss, and other losses that training may minimize."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.imaging import IGNORE
from pipeline.params.train import LossName

TVERSKY_WEIGHTS = (0.3, 0.7)  # alpha of false positives, beta of false negatives


class Loss(Protocol):
    """A loss that training minimizes."""

    def __call__(self, logits: Tensor, masks: Tensor, boundary: Tensor | None = None, /) -> Tensor:
        """Compute a scalar from logits N x classes x H x W, masks N x H x W and boundary weights N x H x W."""


def cross_entropy(
    logits: Tensor,
    masks: Tensor,
    boundary: Tensor | None = None,
    class_weights: Tensor | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """Compute the mean negative log-likelihood of the true class.

    With logits and masks as the only arguments, this is the evaluation loss.

    Args:
        logits: N x classes x H x W, of any float type; the log-softmax is computed in float32.
        masks: N x H x W, int64, class index or `IGNORE`.
        boundary: N x H x W, boundary weights that are added to the pixel weights.
        class_weights: Weight of each class's pixels; None for 1. As in torch, the class weights also apply to the part
            of the target that smoothing spreads over the classes.
        smoothing: Share of each pixel's target that is spread evenly over all classes (Szegedy et al. 2016), so that
            confidence beyond 1 - smoothing is not rewarded.

    Returns:
        Weighted mean over the evaluated pixels, in nats per pixel; 0 without evaluated pixels.
    """
    class_weights = None if class_weights is None else class_weights.to(logits.device, non_blocking=True)
    compute = partial(F.cross_entropy, logits.float(), masks, ignore_index=IGNORE, label_smoothing=smoothing)
    total = compute(weight=class_weights, reduction="sum")
    if boundary is not None:
        total = total + (boundary * compute(reduction="none")).sum()
    return _divide(total, _weigh_pixels(masks, boundary, class_weights).sum())


def focal(logits: Tensor, masks: Tensor, boundary: Tensor | None = None, class_weights: Tensor | None = None) -> Tensor:
    """Compute the focal loss with gamma 2: cross-entropy weighted by (1 - p of the true class)² (Lin et al. 2017).

    The probabilities come from a softmax, as in the evaluation loss. Class weights are the alpha of the paper. For the
    arguments, see `cross_entropy`. The weighted sum is divided by the sum of the pixel weights.
    """
    losses = F.cross_entropy(logits.float(), masks, ignore_index=IGNORE, reduction="none")
    focused = (1 - torch.exp(-losses)).square() * losses  # 0 for ignored pixels, whose loss is 0
    weights = _weigh_pixels(masks, boundary, class_weights)
    return _divide((weights * focused).sum(), weights.sum())


def _weigh_pixels(masks: Tensor, boundary: Tensor | None, class_weights: Tensor | None) -> Tensor:
    """Compute the weight of each pixel, N x H x W; 0 for ignored pixels."""
    evaluated = masks != IGNORE
    weights = evaluated
    if class_weights is not None:
        weights = class_weights.to(masks.device, non_blocking=True)[masks.where(evaluated, 0)] * evaluated
    return weights if boundary is None else weights + boundary * evaluated


def _divide(total: Tensor, weight: Tensor) -> Tensor:
    """Divide a weighted sum of losses by the sum of the weights; 0 without evaluated pixels."""
    return total / weight.masked_fill(weight == 0, 1)


def create_loss(name: LossName, smoothing: float = 0.0, class_weights: Sequence[float] | None = None) -> Loss:
    """Create the loss that training minimizes; runs are always compared by the evaluation loss."""
    weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
    mean = partial(focal if name == "focal" else partial(cross_entropy, smoothing=smoothing), class_weights=weights)
    if name in ("cross_entropy", "focal"):
        return mean
    region = _create_region_loss(name.removeprefix("cross_entropy_"))
    if name.startswith("cross_entropy_"):
        return lambda logits, masks, boundary=None: mean(logits, masks, boundary) + region(logits, masks)
    return lambda logits, masks, _=None: region(logits, masks)


def _create_region_loss(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Create a loss that measures the overlap of class regions, without pixel weights."""
    if name == "lovasz":
        return _create_lovasz()
    false_positives, false_negatives = TVERSKY_WEIGHTS if name == "tversky" else (0.5, 0.5)
    return partial(tversky, false_positives=false_positives, false_negatives=false_negatives)


def tversky(logits: Tensor, masks: Tensor, false_positives: float, false_negatives: float) -> Tensor:
    """Compute 1 - mean over classes of TP / (TP + a FP + b FN) for the batch as one image (Salehi et al. 2017).

    With a = b = 0.5, this is the Dice loss, 1 - 2 sum(p t) / (sum(p) + sum(t)) (Drozdzal et al. 2016). Classes that are
    missing from the batch add 0. segmentation-models-pytorch has the same losses, but takes seconds to import.

    Args:
        logits: N x classes x H x W.
        masks: N x H x W, class index or `IGNORE`.
        false_positives: Weight a of false positives.
        false_negatives: Weight b of false negatives.
    """
    classes = torch.arange(logits.shape[1], device=masks.device)[:, None, None]
    truth = (masks[:, None] == classes).float()
    probs = logits.float().softmax(dim=1) * (masks != IGNORE)[:, None]
    hits, predicted, actual = (values.sum((0, 2, 3)) for values in (probs * truth, probs, truth))
    scores = hits / (hits + false_positives * (predicted - hits) + false_negatives * (actual - hits)).clamp_min(1e-7)
    return ((1 - scores) * (actual > 0)).mean()


def _create_lovasz() -> Callable[[Tensor, Tensor], Tensor]:
    """Create the mean over the classes in the batch of the Lovász extension of 1 - IoU (Berman et al. 2018).

    It equals 1 - IoU if all probabilities are 0 or 1; the batch is treated as one image.
    """
    from segmentation_models_pytorch.losses import MULTICLASS_MODE, LovaszLoss

    compute = LovaszLoss(MULTICLASS_MODE, ignore_index=IGNORE)

    def lovasz(logits: Tensor, masks: Tensor) -> Tensor:
        if (masks == IGNORE).all():  # the library returns an empty tensor
            return (logits.float() * 0).sum()
        loss: Tensor = compute(logits.float(), masks)
        return loss

    return lovasz
