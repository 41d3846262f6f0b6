"""Complexity of networks: parameters, multiply-accumulates and memory, compared with counts by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models.factory import build_network
from pipeline.params.model import UNetModel
from pipeline.variants.complexity import measure_complexity


def test_complexity_of_a_convolution_equals_the_count_by_hand() -> None:
    """A 3 x 3 convolution from one to two channels with bias; a step stores the images and the log-probabilities."""
    cost = measure_complexity(
        nn.Conv2d(1, 2, kernel_size=3, padding=1), channels=1, size=(8, 8), batch=5, precision="float32"
    )
    num_parameters, pixels = 2 * 9 + 2, 5 * 8 * 8
    assert cost.parameters == num_parameters
    assert cost.multiply_accumulates == 2 * 9 * 8 * 8
    log_probabilities, masks, bytes_per_number = 4 * 2 * pixels, 8 * pixels, 4
    assert (
        0
        <= cost.training_bytes - 4 * 4 * num_parameters - 4 * pixels - log_probabilities - masks
        <= 16 * bytes_per_number
    )


class Attention(nn.Module):
    """Self-attention over 8 x 8 pixels with one head of two channels, without weights."""

    def forward(self, images: Tensor) -> Tensor:
        tokens = images.flatten(2).transpose(1, 2)
        attended = functional.scaled_dot_product_attention(tokens, tokens, tokens)
        return attended.transpose(1, 2).reshape(images.shape)


def test_attention_costs_two_matrix_products() -> None:
    cost = measure_complexity(nn.Sequential(nn.Conv2d(1, 2, kernel_size=1), Attention()), 1, (8, 8), 2, "float32")
    assert cost.multiply_accumulates == 2 * 64 + 2 * 64 * 64 * 2


class SharedInput(nn.Module):
    """Layers that store the same input for their backward pass."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(1, 2, kernel_size=1) for _ in range(layers)])

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([layer(images) for layer in self.layers]).sum(dim=0)


def test_map_stored_by_two_layers_counts_once() -> None:
    one, two = (measure_complexity(SharedInput(layers), 1, (32, 32), 2, "float32") for layers in (1, 2))
    assert two.training_bytes - one.training_bytes == 4 * 4 * (two.parameters - one.parameters)


def test_frozen_layer_has_no_trainable_parameters() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, kernel_size=1).requires_grad_(False), nn.Conv2d(4, 2, kernel_size=1))
    assert measure_complexity(network, 1, (8, 8), 2, "float32").parameters == 4 * 2 + 2


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_larger_batch_needs_more_memory_and_the_same_operations_per_image(precision: str) -> None:
    model = UNetModel(
        family="unet",
        base_channels=4,
        depth=2,
        upsampling="transpose",
        skip_connections="concat",
        norm="batch",
        dropout=0.0,
    )
    small, large = (measure_complexity(build_network(model, 3, 3), 3, (32, 32), batch, precision) for batch in (4, 16))  # type: ignore[arg-type]
    assert large.training_bytes > 2 * small.training_bytes
    assert large.multiply_accumulates == small.multiply_accumulates
