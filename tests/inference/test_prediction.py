"""Losses and confusion matrices of predictions, compared with cases by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pipeline.artifacts.prepared_data import Split
from pipeline.imaging import IGNORE
from pipeline.inference.prediction import MAX_BATCH_PIXELS, MAX_BATCH_SIZE, compute_batch_size, predict_split
from pipeline.models.losses import cross_entropy


class ConstantPrediction(nn.Module):
    """Predict the same probabilities for every pixel."""

    def __init__(self, probabilities: list[float]) -> None:
        super().__init__()
        self.logits = torch.log(torch.tensor(probabilities))[None, :, None, None]

    def forward(self, images: Tensor) -> Tensor:
        return self.logits.expand(len(images), -1, *images.shape[-2:])


def make_split(masks: np.ndarray) -> Split:
    images = np.zeros((*masks.shape, 3), dtype=np.uint8)
    return Split.of(images, masks.astype(np.uint8))


def test_predict_split_loss_is_the_mean_over_evaluated_pixels() -> None:
    masks = np.full((2, 4, 4), IGNORE)
    masks[0, 0, :3] = [0, 0, 1]  # three evaluated pixels
    masks[1, 0, 0] = 1  # one evaluated pixel
    prediction = predict_split(ConstantPrediction([0.7, 0.3]), make_split(masks), num_classes=2, precision="float32")
    first, second = -np.log([0.7, 0.7, 0.3]).mean(), -np.log(0.3)
    assert prediction.pixels.tolist() == [3, 1]
    np.testing.assert_allclose(prediction.losses, [first, second], rtol=1e-6)
    assert prediction.loss == pytest.approx((3 * first + second) / 4)
    assert prediction.confusion[0].tolist() == [[2, 0], [1, 0]]
    assert prediction.confusion[1].tolist() == [[0, 0], [1, 0]]


def test_predict_split_loss_is_the_cross_entropy() -> None:
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 2, (3, 4, 4))
    prediction = predict_split(ConstantPrediction([0.6, 0.4]), make_split(masks), num_classes=2, precision="float32")
    logits = ConstantPrediction([0.6, 0.4])(torch.zeros(3, 3, 4, 4))
    assert prediction.loss == pytest.approx(float(cross_entropy(logits, torch.from_numpy(masks))), rel=1e-6)


def test_predict_split_with_an_ignored_image_skips_it_in_the_loss() -> None:
    masks = np.full((2, 2, 2), IGNORE)
    masks[0] = 0
    prediction = predict_split(ConstantPrediction([0.5, 0.5]), make_split(masks), num_classes=2, precision="float32")
    assert prediction.loss == pytest.approx(np.log(2))
    assert np.isnan(prediction.losses[1])
    assert prediction.pixels.tolist() == [4, 0]


def test_predict_split_without_evaluated_pixels_has_no_loss() -> None:
    prediction = predict_split(
        ConstantPrediction([0.5, 0.5]), make_split(np.full((2, 2, 2), IGNORE)), num_classes=2, precision="float32"
    )
    assert np.isnan(prediction.loss)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_batch_size_bounds_the_pixels_of_a_batch(height: int, width: int) -> None:
    size = compute_batch_size(height, width)
    assert size == 1 or size * height * width <= MAX_BATCH_PIXELS
    assert size == MAX_BATCH_SIZE or (size + 1) * height * width > MAX_BATCH_PIXELS


def test_batch_size_of_usual_images_is_fixed() -> None:
    assert [compute_batch_size(size, size) for size in (32, 96, 128, 160, 256, 512, 2048)] == [32, 32, 32, 32, 32, 8, 1]


def test_predict_split_of_several_batches_keeps_the_order() -> None:
    count = MAX_BATCH_SIZE + 3
    masks = (np.arange(count) % 2)[:, None, None] * np.ones((1, 2, 2), dtype=int)
    prediction = predict_split(ConstantPrediction([0.9, 0.1]), make_split(masks), num_classes=2, precision="float32")
    assert len(prediction.losses) == count
    assert (prediction.losses[::2] < 0.2).all()
    assert (prediction.losses[1::2] > 2).all()


def test_cross_entropy_without_evaluated_pixels_is_0_without_gradient() -> None:
    logits = torch.zeros(1, 2, 3, 3, requires_grad=True)
    loss = cross_entropy(logits, torch.full((1, 3, 3), IGNORE))
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_predict_split_restores_the_mode_of_the_network() -> None:
    network = ConstantPrediction([0.5, 0.5]).train()
    predict_split(network, make_split(np.zeros((1, 2, 2), dtype=int)), num_classes=2, precision="float32")
    assert network.training


def test_predict_split_of_16_bits_has_the_same_input_range() -> None:
    class Mean(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            mean = images.mean(dim=1, keepdim=True)
            return torch.cat([mean, 1 - mean], dim=1)

    masks = np.zeros((1, 2, 2), dtype=np.uint8)
    eight = Split.of(np.full((1, 2, 2, 1), 51, dtype=np.uint8), masks)
    sixteen = Split.of(np.full((1, 2, 2, 1), 51 * 257, dtype=np.uint16), masks)
    losses = [predict_split(Mean(), split, num_classes=2, precision="float32").loss for split in (eight, sixteen)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
