"""Device and floating-point precision of networks."""

from __future__ import annotations

import platform
from contextlib import AbstractContextManager
from typing import Literal

import torch
from torch import nn

from pipeline.artifacts.run_folder import Precision


def select_device() -> torch.device:
    """Return the current CUDA device, or the CPU if there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def describe_processor() -> str:
    """Return the name of the current CUDA device, or of the CPU if there is none."""
    if select_device().type == "cuda":
        return torch.cuda.get_device_name()
    return str(torch.cpu.get_capabilities().get("cpu_name", platform.processor()))


def get_device(network: nn.Module) -> torch.device:
    """Return the device of a network's weights; the CPU for a network without weights."""
    return next((weight.device for weight in network.parameters()), torch.device("cpu"))


def resolve_precision(requested: Literal["auto", "float32", "bfloat16"]) -> Precision:
    """Resolve `auto` to bfloat16 if the hardware supports bfloat16 matrix products, otherwise to float32.

    Emulated bfloat16 is slower than float32 and differs in the last digits.
    """
    if requested != "auto":
        return requested
    if select_device().type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    units = torch.cpu.get_capabilities()
    return "bfloat16" if units.get("amx_bf16") or units.get("avx512_bf16") else "float32"


def autocast_context(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which convolutions run in `precision`; weights, optimizer and losses stay float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")
