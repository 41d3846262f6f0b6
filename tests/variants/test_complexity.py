"""Costs of networks small enough to be counted by hand, and how they grow."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models.factory import build_network
from pipeline.params.model import UNetModel
from pipeline.variants.complexity import measure_complexity


def test_a_convolution_counted_by_hand() -> None:
    """3 x 3 from one channel to two on 8 x 8 pixels, a bias each; a step keeps its image and its log-probabilities."""
    cost = measure_complexity(
        nn.Conv2d(1, 2, kernel_size=3, padding=1), channels=1, size=8, batch=5, precision="float32"
    )
    numbers, pixels = 2 * 9 + 2, 5 * 8 * 8
    assert cost.parameters == numbers
    assert cost.multiply_accumulates == 2 * 9 * 8 * 8
    log_probabilities, masks, one_number = 4 * 2 * pixels, 8 * pixels, 4
    assert 0 <= cost.training_bytes - 4 * 4 * numbers - 4 * pixels - log_probabilities - masks <= 16 * one_number


class Attention(nn.Module):
    """Each of 8 x 8 pixels looks at all others; one head of two channels, and no matrix of its own."""

    def forward(self, images: Tensor) -> Tensor:
        tokens = images.flatten(2).transpose(1, 2)
        attended = functional.scaled_dot_product_attention(tokens, tokens, tokens)
        return attended.transpose(1, 2).reshape(images.shape)


def test_attention_is_two_matrix_products() -> None:
    cost = measure_complexity(nn.Sequential(nn.Conv2d(1, 2, kernel_size=1), Attention()), 1, 8, 2, "float32")
    assert cost.multiply_accumulates == 2 * 64 + 2 * 64 * 64 * 2


class Twice(nn.Module):
    """Two layers that keep the same map."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(1, 2, kernel_size=1) for _ in range(layers)])

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([layer(images) for layer in self.layers]).sum(dim=0)


def test_a_map_that_two_layers_keep_counts_once() -> None:
    one, two = (measure_complexity(Twice(layers), 1, 32, 2, "float32") for layers in (1, 2))
    assert two.training_bytes - one.training_bytes == 4 * 4 * (two.parameters - one.parameters)


def test_what_does_not_train_costs_no_gradient() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, kernel_size=1).requires_grad_(False), nn.Conv2d(4, 2, kernel_size=1))
    assert measure_complexity(network, 1, 8, 2, "float32").parameters == 4 * 2 + 2


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_larger_batch_keeps_more_and_an_image_costs_the_same(precision: str) -> None:
    model = UNetModel(
        family="unet",
        base_channels=4,
        depth=2,
        upsampling="transpose",
        skip_connections="concat",
        norm="batch",
        dropout=0.0,
    )
    small, large = (measure_complexity(build_network(model, 3, 3), 3, 32, batch, precision) for batch in (4, 16))  # type: ignore[arg-type]
    assert large.training_bytes > 2 * small.training_bytes
    assert large.multiply_accumulates == small.multiply_accumulates
