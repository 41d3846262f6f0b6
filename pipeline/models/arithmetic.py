"""Which arithmetic this processor is fast in, and how a network is run in it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

import torch

from pipeline.runs import Precision


def resolve_precision(asked: Literal["auto", "float32", "bfloat16"]) -> Precision:
    """What `auto` means here: bfloat16 where the processor multiplies matrices of it in hardware, else float32.

    Emulated bfloat16 is slower than float32, and differs in the last digits without any gain.
    """
    if asked != "auto":
        return asked
    units = torch.cpu.get_capabilities()
    return "bfloat16" if units.get("amx_bf16") or units.get("avx512_bf16") else "float32"


def arithmetic(precision: Precision) -> AbstractContextManager[object]:
    """A context in which convolutions run in `precision`; weights, optimiser and losses stay float32."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16")
