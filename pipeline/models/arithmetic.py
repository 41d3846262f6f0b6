"""Where a network is run, and in which arithmetic that place is fast."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

import torch
from torch import nn

from pipeline.runs import Precision


def compute_device() -> torch.device:
    """The GPU that CUDA has chosen, the processor where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_of(network: nn.Module) -> torch.device:
    """Where a network's weights lie, and its images must; one without weights is the processor's."""
    return next((weight.device for weight in network.parameters()), torch.device("cpu"))


def resolve_precision(asked: Literal["auto", "float32", "bfloat16"]) -> Precision:
    """What `auto` means here: bfloat16 where matrices of it are multiplied in hardware, else float32.

    Emulated bfloat16 is slower than float32, and differs in the last digits without any gain.
    """
    if asked != "auto":
        return asked
    if compute_device().type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    units = torch.cpu.get_capabilities()
    return "bfloat16" if units.get("amx_bf16") or units.get("avx512_bf16") else "float32"


def arithmetic(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """A context in which convolutions run in `precision`; weights, optimiser and losses stay float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")
