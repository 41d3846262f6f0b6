"""The losses: values computed by hand, gradients, and ignored pixels."""

from __future__ import annotations

import math
import typing
from typing import Literal

import pytest
import torch
from segmentation_models_pytorch.losses import MULTICLASS_MODE, DiceLoss, TverskyLoss
from torch import Tensor, nn

from pipeline.imaging import IGNORE
from pipeline.models.losses import create_loss, cross_entropy, focal
from pipeline.params.train import LossName

NAMES: tuple[LossName, ...] = typing.get_args(LossName)
dice = create_loss("dice")
parametrize_losses = pytest.mark.parametrize("name", NAMES)


def create_batch(ignored: float = 0.3, classes: int = 3) -> tuple[Tensor, Tensor]:
    """Create logits of shape 2 x classes x 6 x 5, which require gradients, and masks of shape 2 x 6 x 5."""
    random = torch.Generator().manual_seed(0)
    logits = torch.randn((2, classes, 6, 5), generator=random, requires_grad=True)
    masks = torch.randint(classes, (2, 6, 5), generator=random)
    masks[torch.rand(masks.shape, generator=random) < ignored] = IGNORE
    return logits, masks


def create_logits(*pixels: tuple[float, ...]) -> Tensor:
    """Create logits of shape 1 x classes x 1 x pixels from one tuple of probabilities per pixel."""
    return torch.tensor(pixels).log().T[None, :, None, :]


def test_cross_entropy_equals_the_value_by_hand() -> None:
    logits, masks = create_logits((0.5, 0.5), (0.2, 0.8), (0.9, 0.1)), torch.tensor([[[0, 1, IGNORE]]])
    assert cross_entropy(logits, masks).item() == pytest.approx(-(math.log(0.5) + math.log(0.8)) / 2)


def test_dice_equals_the_value_by_hand() -> None:
    logits, masks = create_logits((0.6, 0.4), (0.2, 0.8), (0.9, 0.1)), torch.tensor([[[0, 1, IGNORE]]])
    first, second = 2 * 0.6 / (0.8 + 1), 2 * 0.8 / (1.2 + 1)
    assert dice(logits, masks).item() == pytest.approx(1 - (first + second) / 2)


def test_focal_equals_the_value_by_hand() -> None:
    logits, masks = create_logits((0.5, 0.5), (0.2, 0.8), (0.9, 0.1)), torch.tensor([[[0, 1, IGNORE]]])
    assert focal(logits, masks).item() == pytest.approx(-(0.25 * math.log(0.5) + 0.04 * math.log(0.8)) / 2)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("dice", DiceLoss(MULTICLASS_MODE, ignore_index=IGNORE)),
        ("tversky", TverskyLoss(MULTICLASS_MODE, ignore_index=IGNORE, alpha=0.3, beta=0.7)),
    ],
)
def test_losses_of_regions_equal_those_of_the_library(name: LossName, reference: nn.Module) -> None:
    for classes in (2, 3, 7):
        ours, theirs = create_batch(classes=classes), create_batch(classes=classes)
        losses = create_loss(name)(*ours), reference(*theirs)
        assert losses[0].item() == pytest.approx(losses[1].item(), abs=1e-6)
        for loss in losses:
            loss.backward()
        assert ours[0].grad is not None
        assert theirs[0].grad is not None
        assert torch.allclose(ours[0].grad, theirs[0].grad, atol=1e-7)


def test_absent_class_adds_nothing_to_dice() -> None:
    logits, masks = create_logits((0.7, 0.3, 1e-9), (0.2, 0.8, 1e-9)), torch.tensor([[[0, 1]]])
    assert dice(logits, masks).item() == pytest.approx(dice(logits[:, :2], masks).item() * 2 / 3, abs=1e-6)


@pytest.mark.parametrize("other", ["dice", "lovasz"])
def test_combined_loss_is_the_sum_of_both(other: Literal["dice", "lovasz"]) -> None:
    logits, masks = create_batch()
    combined: LossName = "cross_entropy_dice" if other == "dice" else "cross_entropy_lovasz"
    expected = cross_entropy(logits, masks) + create_loss(other)(logits, masks)
    torch.testing.assert_close(create_loss(combined)(logits, masks), expected)


@parametrize_losses
def test_perfect_prediction_has_zero_loss(name: LossName) -> None:
    _, masks = create_batch(ignored=0.0)
    logits = 1e3 * torch.nn.functional.one_hot(masks, 3).movedim(-1, 1).float()
    assert float(create_loss(name)(logits, masks)) == pytest.approx(0, abs=1e-6)


@parametrize_losses
@pytest.mark.parametrize("value", [0.0, 80.0, -1e4, 1e30])
def test_ignored_pixels_change_nothing(name: LossName, value: float) -> None:
    logits, masks = create_batch()
    ignored = (masks == IGNORE)[:, None].expand_as(logits)
    assert ignored.any()
    other = logits.detach().clone()
    other[:, :1][ignored[:, :1]] = value
    other.requires_grad_()
    losses = [create_loss(name)(each, masks) for each in (logits, other)]
    assert losses[0].item() == losses[1].item()
    gradients = [torch.autograd.grad(loss, each)[0] for loss, each in zip(losses, (logits, other), strict=True)]
    assert torch.equal(*gradients)
    assert not gradients[0][ignored].any()
    assert gradients[0][~ignored].all()


@parametrize_losses
def test_loss_without_evaluated_pixels_is_zero(name: LossName) -> None:
    logits, masks = create_batch(ignored=1.0)
    loss = create_loss(name)(logits, masks)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@parametrize_losses
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e4])
def test_gradients_are_finite_in_bfloat16(name: LossName, size: float) -> None:
    values, masks = create_batch()
    logits = (values.detach() * size).bfloat16().requires_grad_()
    loss = create_loss(name)(logits, masks)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@parametrize_losses
def test_step_against_the_gradient_lowers_the_loss(name: LossName) -> None:
    logits, masks = create_batch()
    before = create_loss(name)(logits, masks)
    (gradient,) = torch.autograd.grad(before, logits)
    assert create_loss(name)(logits - gradient, masks).item() < before.item()


def test_label_smoothing_mixes_the_target_with_all_classes() -> None:
    logits, masks = create_logits((0.5, 0.5), (0.2, 0.8), (0.9, 0.1)), torch.tensor([[[0, 1, IGNORE]]])
    first = -(0.95 * math.log(0.5) + 0.05 * math.log(0.5))
    second = -(0.95 * math.log(0.8) + 0.05 * math.log(0.2))
    assert create_loss("cross_entropy", 0.1)(logits, masks).item() == pytest.approx((first + second) / 2)
    assert cross_entropy(logits, masks).item() == pytest.approx(-(math.log(0.5) + math.log(0.8)) / 2)


def test_label_smoothing_penalizes_certainty() -> None:
    masks = torch.tensor([[[0]]])
    certain, confident = (create_loss("cross_entropy", 0.1)(create_logits((p, 1 - p)), masks) for p in (0.9999, 0.95))
    assert confident < certain
