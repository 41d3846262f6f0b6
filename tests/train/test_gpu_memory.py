"""A GPU with too little memory, imitated by networks that raise torch's error."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.errors import PipelineError
from pipeline.inference.prediction import predict_logits
from pipeline.params.file import read_params
from pipeline.train.train_cell import train_cell
from tests.conftest import write_custom, write_params

FOUND = "CUDA out of memory. Tried to allocate 2.00 GiB"
REST = ". GPU 0 has a total capacity of 8.00 GiB of which 1.00 GiB is free. See documentation for Memory Management."
SOURCE = f"""
import torch


class Large(torch.nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.head = torch.nn.Conv2d(channels, classes, 1)

    def forward(self, images):
        if torch.is_grad_enabled():  # not in the check of the network, which runs on the CPU
            raise torch.OutOfMemoryError("{FOUND}{REST}")
        return self.head(images)
"""


def test_training_step_that_does_not_fit_names_the_keys(project: Path) -> None:
    write_custom(project, large=SOURCE)
    model = {"family": "custom", "import_path": "custom.large:Large", "size_multiple": 1}
    variants = {"large": {"model": model}}
    params = read_params(write_params(project, {"variants": variants, "grid": {"variant": ["large"]}}))
    with pytest.raises(PipelineError) as error:
        train_cell(params.cell("large", 0.01, 0))
    keys = ("train.batch_size", "train.gradient_accumulation_steps", "data.image_size")
    for part in (*keys, FOUND, "CUDA_VISIBLE_DEVICES", "--workers 1"):
        assert part in str(error.value)
    assert REST not in str(error.value)


def test_prediction_that_does_not_fit_is_explained() -> None:
    class Large(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError(f"{FOUND}{REST}")

    with pytest.raises(PipelineError) as error:
        predict_logits(Large(), torch.zeros(2, 3, 8, 16), "float32")
    for part in (FOUND, "16 × 8 px", "CUDA_VISIBLE_DEVICES"):
        assert part in str(error.value)
