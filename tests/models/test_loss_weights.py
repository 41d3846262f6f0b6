"""Weights of classes and pixels in the losses, and the losses of regions: laws, and values from the definitions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.data.class_weights import balance_classes
from pipeline.imaging import IGNORE
from pipeline.models import losses
from pipeline.models.losses import create_loss, cross_entropy
from pipeline.params.train import WEIGHTED_LOSSES, LossName

CLASSES = 4
seeds = st.integers(0, 2**32 - 1)
weighted_losses = st.sampled_from(WEIGHTED_LOSSES)
parametrize_weighted = pytest.mark.parametrize("name", WEIGHTED_LOSSES)


def create_batch(seed: int, ignored: float = 0.3) -> tuple[Tensor, Tensor, Tensor]:
    """Create logits 2 x 4 x 5 x 6, masks and boundary weights 2 x 5 x 6, and at least one evaluated pixel."""
    random = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn((2, CLASSES, 5, 6), generator=random)
    masks = torch.randint(CLASSES, (2, 5, 6), generator=random)
    masks[torch.rand(masks.shape, generator=random) < ignored] = IGNORE
    masks[0, 0, 0] = 1
    return logits, masks, 5 * torch.rand(masks.shape, generator=random)


def create_weights(seed: int) -> list[float]:
    return np.random.default_rng(seed).uniform(0.01, 20, CLASSES).tolist()


@given(weighted_losses, seeds, st.sampled_from([1.0, 1e-3, 50.0]))
def test_equal_class_weights_change_nothing(name: LossName, seed: int, weight: float) -> None:
    logits, masks, _ = create_batch(seed)
    weighted = create_loss(name, class_weights=[weight] * CLASSES)(logits, masks)
    torch.testing.assert_close(weighted, create_loss(name)(logits, masks))


@given(weighted_losses, seeds)
def test_boundary_weights_of_zero_change_nothing(name: LossName, seed: int) -> None:
    logits, masks, boundary = create_batch(seed)
    loss = create_loss(name, class_weights=create_weights(seed))
    torch.testing.assert_close(loss(logits, masks, 0 * boundary), loss(logits, masks))


@given(seeds, st.sampled_from([0.0, 0.1]))
def test_weighted_cross_entropy_is_that_of_torch(seed: int, smoothing: float) -> None:
    logits, masks, _ = create_batch(seed)
    weights = create_weights(seed)
    expected = F.cross_entropy(
        logits, masks, torch.tensor(weights), ignore_index=IGNORE, label_smoothing=smoothing, reduction="mean"
    )
    torch.testing.assert_close(create_loss("cross_entropy", smoothing, weights)(logits, masks), expected)


@given(seeds)
def test_boundary_weights_are_added_to_class_weights(seed: int) -> None:
    logits, masks, boundary = create_batch(seed)
    weights = create_weights(seed)
    losses = F.cross_entropy(logits, masks, ignore_index=IGNORE, reduction="none")
    evaluated = masks != IGNORE
    pixel_weights = torch.tensor(weights)[masks[evaluated]] + boundary[evaluated]
    expected = (pixel_weights * losses[evaluated]).sum() / pixel_weights.sum()
    torch.testing.assert_close(create_loss("cross_entropy", 0.0, weights)(logits, masks, boundary), expected)


@given(seeds)
def test_inverse_weights_equal_resampling_in_expectation(seed: int) -> None:
    """Drawing a class first, then one of its pixels, has the same mean loss as weighting all pixels."""
    logits, masks, _ = create_batch(seed)
    pixels = np.bincount(masks[masks != IGNORE], minlength=CLASSES).astype(np.float64)
    weights = balance_classes(pixels[None], "inverse").tolist()
    of_classes = [
        cross_entropy(logits, masks.where(masks == index, IGNORE)) for index in range(CLASSES) if pixels[index]
    ]
    resampled = torch.stack(of_classes).mean()
    torch.testing.assert_close(create_loss("cross_entropy", 0.0, weights)(logits, masks), resampled)


@given(weighted_losses, seeds, st.permutations(range(CLASSES)))
def test_permuted_classes_and_weights_have_the_same_loss(name: LossName, seed: int, order: list[int]) -> None:
    logits, masks, boundary = create_batch(seed)
    weights = create_weights(seed)
    places = torch.tensor([order.index(index) for index in range(CLASSES)])
    permuted = torch.where(masks == IGNORE, IGNORE, places[masks.where(masks != IGNORE, 0)])
    first = create_loss(name, class_weights=weights)(logits, masks, boundary)
    second = create_loss(name, class_weights=[weights[index] for index in order])(logits[:, order], permuted, boundary)
    torch.testing.assert_close(first, second)


@given(weighted_losses, seeds, st.sampled_from([0.0, 80.0, -1e4]))
def test_ignored_pixels_never_matter(name: LossName, seed: int, value: float) -> None:
    logits, masks, boundary = create_batch(seed)
    loss = create_loss(name, class_weights=create_weights(seed))
    ignored = masks == IGNORE
    others = logits.masked_fill(ignored[:, None], value).requires_grad_()
    changed = loss(others, masks, boundary.masked_fill(ignored, 7.0))
    torch.testing.assert_close(changed, loss(logits, masks, boundary))
    (gradient,) = torch.autograd.grad(changed, others)
    assert not gradient[ignored[:, None].expand_as(gradient)].any()


@parametrize_weighted
@pytest.mark.parametrize("smallest", [1e-6, 1.0])
def test_weights_far_below_1_keep_the_size_of_the_loss(name: LossName, smallest: float) -> None:
    logits, masks = torch.zeros(1, 2, 1, 3), torch.tensor([[[0, IGNORE, IGNORE]]])
    loss = create_loss(name, class_weights=[smallest, 1.0])(logits, masks)
    torch.testing.assert_close(loss, create_loss(name)(logits, masks))


@parametrize_weighted
@pytest.mark.parametrize("masks", [torch.full((2, 5, 6), IGNORE), torch.full((2, 5, 6), 2)], ids=["none", "one class"])
def test_weighted_losses_of_one_or_no_class_have_finite_gradients(name: LossName, masks: Tensor) -> None:
    logits, _, boundary = create_batch(0)
    logits.requires_grad_()
    smoothing = 0.0 if name == "focal" else 0.1
    loss = create_loss(name, smoothing, [1.0, 3.0, 0.0 if name == "focal" else 2.0, 5.0])(logits, masks, boundary)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()
    if (masks == IGNORE).all():
        assert loss.item() == 0
        assert not gradient.any()


@pytest.mark.parametrize("name", ["dice", "tversky", "lovasz"])
def test_region_losses_of_one_class_have_finite_gradients(name: LossName) -> None:
    logits = create_batch(0)[0].requires_grad_()
    (gradient,) = torch.autograd.grad(create_loss(name)(logits, torch.full((2, 5, 6), 2)), logits)
    assert torch.isfinite(gradient).all()
    assert gradient.any()


@given(seeds)
def test_tversky_with_equal_weights_is_dice(seed: int) -> None:
    logits, masks, _ = create_batch(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "TVERSKY_WEIGHTS", (0.5, 0.5))
        tversky = create_loss("tversky")(logits, masks)
    torch.testing.assert_close(tversky, create_loss("dice")(logits, masks))


def test_tversky_equals_the_value_by_hand() -> None:
    probs = torch.tensor([[0.6, 0.4], [0.2, 0.8], [0.9, 0.1]])
    logits, masks = probs.log().T[None, :, None, :], torch.tensor([[[0, 1, IGNORE]]])
    first = 0.6 / (0.6 + 0.3 * 0.2 + 0.7 * 0.4)
    second = 0.8 / (0.8 + 0.3 * 0.4 + 0.7 * 0.2)
    assert create_loss("tversky")(logits, masks).item() == pytest.approx(1 - (first + second) / 2)


def compute_lovasz(probs: Any, truth: Any) -> float:
    """Compute the Lovász-Softmax loss from the definition: pixels join the wrong ones in the order of their errors.

    Args:
        probs: Pixels x classes.
        truth: Class of each pixel.
    """
    values = []
    for index in set(truth.tolist()):
        of_class = {place for place, one in enumerate(truth.tolist()) if one == index}
        errors = {place: abs((place in of_class) - row[index]) for place, row in enumerate(probs.tolist())}
        value, wrong, before = 0.0, set(), 0.0
        for place in sorted(errors, key=lambda place: -errors[place]):
            wrong.add(place)
            jaccard_loss = len(wrong) / len(of_class | wrong)
            value, before = value + errors[place] * (jaccard_loss - before), jaccard_loss
        values.append(value)
    return math.fsum(values) / len(values)


@given(seeds, st.sampled_from([0.0, 0.3, 0.95]))
def test_lovasz_equals_its_definition(seed: int, ignored: float) -> None:
    logits, masks, _ = create_batch(seed, ignored)
    probs = logits.double().softmax(dim=1).movedim(1, -1)[masks != IGNORE].numpy()
    expected = compute_lovasz(probs, masks[masks != IGNORE].numpy())
    assert create_loss("lovasz")(logits, masks).item() == pytest.approx(expected, abs=1e-5)


@given(seeds)
def test_lovasz_of_certain_predictions_is_the_mean_of_1_minus_iou(seed: int) -> None:
    logits, masks, _ = create_batch(seed)
    predicted = logits.argmax(dim=1)
    certain = 1e3 * F.one_hot(predicted, CLASSES).movedim(-1, 1).float()
    evaluated = masks != IGNORE
    iou = [
        float(
            ((predicted == index) & (masks == index)).sum() / ((predicted == index) | (masks == index))[evaluated].sum()
        )
        for index in masks[evaluated].unique().tolist()
    ]
    assert create_loss("lovasz")(certain, masks).item() == pytest.approx(1 - np.mean(iou), abs=1e-5)
