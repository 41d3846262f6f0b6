"""Learning-rate schedulers."""

from __future__ import annotations

import math
from functools import partial

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from pipeline.params.train import Constant, Cosine, LrSchedulerSettings, OneCycle


def create_lr_scheduler(optimizer: Optimizer, settings: LrSchedulerSettings, steps: int) -> LRScheduler:
    """Create the learning-rate scheduler of a run.

    Args:
        optimizer: optimizer whose parameter groups have their peak learning rates.
        settings: the `train.lr_scheduler` section of the parameters.
        steps: number of optimizer steps in the whole run. A one-cycle schedule of fewer than three steps cannot
            rise and fall, so the learning rate stays constant.

    Returns:
        The scheduler. Call its `step` after every optimizer step or, for a `ReduceLROnPlateau`, after every epoch with
        the validation loss.
    """
    if isinstance(settings, Constant) or (isinstance(settings, OneCycle) and steps < 3):
        return LambdaLR(optimizer, lambda _: 1.0)
    if isinstance(settings, Cosine):
        # The full learning rate is reached in the last step at the latest.
        warmup_steps = min(round(settings.warmup_fraction * steps), steps - 1)
        return LambdaLR(optimizer, partial(compute_cosine_factor, steps=steps, warmup_steps=warmup_steps))
    if isinstance(settings, OneCycle):
        return OneCycleLR(
            optimizer,
            max_lr=[group["lr"] for group in optimizer.param_groups],
            total_steps=steps,
            # torch divides by the length of the rise, `pct_start * steps - 1`, which must not be 0.
            pct_start=max(settings.warmup_fraction, 2 / steps),
            # Momentum or Adam's first beta moves in the opposite direction, from 0.95 to 0.85 and back.
            cycle_momentum="betas" in optimizer.defaults or bool(optimizer.defaults.get("momentum")),
        )
    # eps: by default torch ignores reductions of less than 1e-8, which the encoder's learning rate reaches first.
    return ReduceLROnPlateau(optimizer, factor=settings.factor, patience=settings.patience, eps=0)


def compute_cosine_factor(step: int, steps: int, warmup_steps: int) -> float:
    """Compute the learning-rate factor at a step, counted from 0: a linear rise to 1, then half a cosine to 0."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return (1 + math.cos(math.pi * (step - warmup_steps) / max(1, steps - warmup_steps))) / 2
