"""State needed to resume a training bit for bit."""

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
from pipeline.params.custom_code import describe_error
from pipeline.runtime.work_lock import UNFINISHED


@dataclass(frozen=True)
class TrainState:
    """The parts of a training that have a state, with the interface of torch's modules."""

    network: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler
    ema: AveragedModel | None
    rng: torch.Generator  # of the samples' order and of augmentation

    def state_dict(self, key: str) -> dict[str, Any]:
        """Return the state of the run with this key; it shares memory with the training, so save it before a step."""
        return {
            "key": key,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "rng": self.rng.get_state(),
            "global_rng": _get_global_rng(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load a state into parts that were created with the same parameters.

        Raises:
            PipelineError: A part, such as a custom optimizer, cannot load it.
        """
        try:
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scheduler.load_state_dict(state["scheduler"])
            if self.ema is not None:
                self.ema.load_state_dict(state["ema"])
            self._check_layouts()
            self.rng.set_state(state["rng"])
            _set_global_rng(state["global_rng"])
        except Exception as error:
            raise PipelineError(
                f"The checkpoint cannot be loaded: {describe_error(error)}. To start this run from the beginning, "
                f"remove {UNFINISHED}/{state['key']}."
            ) from error

    def _check_layouts(self) -> None:
        """Assert equal memory layouts: a fused step over different ones is silently wrong (torch 2.14 on a CPU)."""
        for group in self.optimizer.param_groups:
            for weight in group["params"] if group.get("fused") else ():
                for name, moment in self.optimizer.state[weight].items():
                    if moment.shape == weight.shape:
                        assert moment.stride() == weight.stride(), f"{name}: {moment.stride()}, not {weight.stride()}"


def seed_everything(seed: int) -> None:
    """Seed the global generators, which dropout and custom code draw from.

    In a warm worker they would otherwise continue from the previous run.
    """
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


def _get_global_rng() -> dict[str, Any]:
    numpy = np.random.get_state(legacy=False)
    assert isinstance(numpy, dict)
    words = {**numpy["state"], "key": numpy["state"]["key"].tolist()}  # checkpoints cannot hold arrays of numpy
    gpu = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return {"torch": torch.get_rng_state(), "gpu": gpu, "python": random.getstate(), "numpy": {**numpy, "state": words}}


def _set_global_rng(states: Mapping[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    if states["gpu"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["gpu"])
    random.setstate(states["python"])
    words = {**states["numpy"]["state"], "key": np.array(states["numpy"]["state"]["key"], dtype=np.uint32)}
    np.random.set_state({**states["numpy"], "state": words})
