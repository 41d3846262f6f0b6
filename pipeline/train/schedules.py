"""The learning rate from step to step: a factor on each group's own rate."""

from __future__ import annotations

import math
from functools import partial

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from pipeline.params.train import Constant, Cosine, OneCycle, Schedule


def build_schedule(optimiser: Optimizer, chosen: Schedule, steps: int) -> LRScheduler:
    """The schedule of a training of so many steps.

    All step after each of them, but `ReduceLROnPlateau`: it steps after each epoch, and is told the loss.
    """
    if isinstance(chosen, Constant):
        return LambdaLR(optimiser, lambda _: 1.0)
    if isinstance(chosen, Cosine):
        return LambdaLR(optimiser, partial(cosine, steps=steps, warm_up=round(chosen.warm_up * steps)))
    if isinstance(chosen, OneCycle):
        return OneCycleLR(
            optimiser,
            max_lr=[group["lr"] for group in optimiser.param_groups],
            total_steps=steps,
            pct_start=chosen.warm_up,
            # Momentum goes the other way, from 0.95 to 0.85 and back, where the optimiser has one.
            cycle_momentum="betas" in optimiser.defaults or bool(optimiser.defaults.get("momentum")),
        )
    return ReduceLROnPlateau(optimiser, factor=chosen.factor, patience=chosen.patience)


def cosine(step: int, steps: int, warm_up: int) -> float:
    """The factor at a step, counted from 0: a line up to 1 in `warm_up` steps, half a cosine down towards 0."""
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    return (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up))) / 2
