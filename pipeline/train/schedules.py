"""The learning rate from step to step: a factor on each group's own rate."""

from __future__ import annotations

import math
from functools import partial

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from pipeline.params.train import Constant, Cosine, LrSchedulerSettings, OneCycle


def build_schedule(optimiser: Optimizer, chosen: LrSchedulerSettings, steps: int) -> LRScheduler:
    """The schedule of a training of so many steps.

    All step after each of them, but `ReduceLROnPlateau`: it steps after each epoch, and is told the loss. A one-cycle
    of less than three steps, too short to rise and to fall, stays at the rate.
    """
    if isinstance(chosen, Constant) or (isinstance(chosen, OneCycle) and steps < 3):
        return LambdaLR(optimiser, lambda _: 1.0)
    if isinstance(chosen, Cosine):
        # The last step at the latest is at the full rate.
        return LambdaLR(optimiser, partial(cosine, steps=steps, warm_up=min(round(chosen.warm_up * steps), steps - 1)))
    if isinstance(chosen, OneCycle):
        return OneCycleLR(
            optimiser,
            max_lr=[group["lr"] for group in optimiser.param_groups],
            total_steps=steps,
            # torch's rise takes `pct_start * steps - 1` steps, which it divides by: one at least.
            pct_start=max(chosen.warm_up, 2 / steps),
            # Momentum, or Adam's first beta, goes the other way, from 0.95 to 0.85 and back, whatever it was set to.
            cycle_momentum="betas" in optimiser.defaults or bool(optimiser.defaults.get("momentum")),
        )
    # eps: torch would leave a rate as it is that falls by less than 1e-8, the encoder's before the others'.
    return ReduceLROnPlateau(optimiser, factor=chosen.factor, patience=chosen.patience, eps=0)


def cosine(step: int, steps: int, warm_up: int) -> float:
    """The factor at a step, counted from 0: a line up to 1 in `warm_up` steps, half a cosine down towards 0."""
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    return (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up))) / 2
