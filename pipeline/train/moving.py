"""All that a training changes from step to step: with it put back, it goes on as if it had never stopped."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from pipeline.errors import PipelineError
from pipeline.params.import_path import in_words
from pipeline.runtime.work_lock import UNFINISHED


@dataclass(frozen=True)
class Moving:
    """The parts of a training that have a state."""

    network: nn.Module
    optimiser: Optimizer
    schedule: LRScheduler
    mean: AveragedModel | None  # of the weights
    random: torch.Generator  # of order and augmentation

    def state(self, key: str) -> dict[str, Any]:
        """What `restore` puts back, of the run with the key; it shares memory: write it before the next step."""
        return {
            "key": key,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "mean": None if self.mean is None else self.mean.state_dict(),
            "random": self.random.get_state(),
            "global": _global_states(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put a state back into parts that were made as those were that it came from.

        Raises `PipelineError` where a part, such as a user's own optimiser, does not take it.
        """
        try:
            self._restore(state)
        except Exception as error:
            raise PipelineError(
                f"What was trained so far cannot be taken up: {in_words(error)}. To begin anew, remove its "
                f"checkpoints, {UNFINISHED}/{state['key']}."
            ) from error

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        if self.mean is not None:
            self.mean.load_state_dict(state["mean"])
        self._check_layouts()
        self.random.set_state(state["random"])
        _restore_global_states(state["global"])

    def _check_layouts(self) -> None:
        """A fused step over tensors of two layouts is silently wrong (torch 2.14 on a CPU): rather none at all."""
        for group in self.optimiser.param_groups:
            for weight in group["params"] if group.get("fused") else ():
                for name, moment in self.optimiser.state[weight].items():
                    if moment.shape == weight.shape:
                        assert moment.stride() == weight.stride(), f"{name}: {moment.stride()}, not {weight.stride()}"


def seed_all(seed: int) -> None:
    """Seed the generators that a network or an optimiser may draw from without being asked: dropout, a user's own.

    In a warm worker they would otherwise go on from the cell before.
    """
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


def _global_states() -> dict[str, Any]:
    numpy = np.random.get_state(legacy=False)
    assert isinstance(numpy, dict)
    words = {**numpy["state"], "key": numpy["state"]["key"].tolist()}  # checkpoints hold no arrays but torch's
    gpu = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return {"torch": torch.get_rng_state(), "gpu": gpu, "python": random.getstate(), "numpy": {**numpy, "state": words}}


def _restore_global_states(states: Mapping[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    if states["gpu"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["gpu"])
    random.setstate(states["python"])
    words = {**states["numpy"]["state"], "key": np.array(states["numpy"]["state"]["key"], dtype=np.uint32)}
    np.random.set_state({**states["numpy"], "state": words})
