"""The losses: by hand, beside a peer, and blind to ignored pixels."""

from __future__ import annotations

import math
import typing

import pytest
import torch
from torch import Tensor

from pipeline.imaging import IGNORE
from pipeline.models.losses import create_loss, cross_entropy, focal
from pipeline.params.train import LossName

NAMES: tuple[LossName, ...] = typing.get_args(LossName)
dice = create_loss("dice")
every_objective = pytest.mark.parametrize("name", NAMES)


def batch(ignored: float = 0.3, classes: int = 3) -> tuple[Tensor, Tensor]:
    """Logits 2 x classes x 6 x 5, a leaf that wants gradients, and masks 2 x 6 x 5 that hold every class."""
    random = torch.Generator().manual_seed(0)
    logits = torch.randn((2, classes, 6, 5), generator=random, requires_grad=True)
    masks = torch.randint(classes, (2, 6, 5), generator=random)
    masks[torch.rand(masks.shape, generator=random) < ignored] = IGNORE
    return logits, masks


def of_probabilities(*pixels: tuple[float, ...]) -> Tensor:
    """Logits 1 x classes x 1 x pixels whose softmax is what is given, a tuple a pixel."""
    return torch.tensor(pixels).log().T[None, :, None, :]


def test_cross_entropy_by_hand() -> None:
    logits, masks = of_probabilities((0.5, 0.5), (0.2, 0.8), (0.9, 0.1)), torch.tensor([[[0, 1, IGNORE]]])
    assert cross_entropy(logits, masks).item() == pytest.approx(-(math.log(0.5) + math.log(0.8)) / 2)


def test_dice_by_hand() -> None:
    logits, masks = of_probabilities((0.6, 0.4), (0.2, 0.8), (0.9, 0.1)), torch.tensor([[[0, 1, IGNORE]]])
    first, second = 2 * 0.6 / (0.8 + 1), 2 * 0.8 / (1.2 + 1)
    assert dice(logits, masks).item() == pytest.approx(1 - (first + second) / 2)


def test_focal_by_hand() -> None:
    logits, masks = of_probabilities((0.5, 0.5), (0.2, 0.8), (0.9, 0.1)), torch.tensor([[[0, 1, IGNORE]]])
    assert focal(logits, masks).item() == pytest.approx(-(0.25 * math.log(0.5) + 0.04 * math.log(0.8)) / 2)


def test_a_class_that_is_not_there_adds_nothing_to_dice() -> None:
    logits, masks = of_probabilities((0.7, 0.3, 1e-9), (0.2, 0.8, 1e-9)), torch.tensor([[[0, 1]]])
    assert dice(logits, masks).item() == pytest.approx(dice(logits[:, :2], masks).item() * 2 / 3, abs=1e-6)


def test_their_sum() -> None:
    logits, masks = batch()
    torch.testing.assert_close(
        create_loss("cross_entropy_dice")(logits, masks), cross_entropy(logits, masks) + dice(logits, masks)
    )


@every_objective
def test_a_perfect_prediction_costs_nothing(name: LossName) -> None:
    _, masks = batch(ignored=0.0)
    logits = 1e3 * torch.nn.functional.one_hot(masks, 3).movedim(-1, 1).float()
    assert float(create_loss(name)(logits, masks)) == pytest.approx(0, abs=1e-6)


@every_objective
@pytest.mark.parametrize("there", [0.0, 80.0, -1e4, 1e30])
def test_ignored_pixels_change_nothing(name: LossName, there: float) -> None:
    logits, masks = batch()
    ignored = (masks == IGNORE)[:, None].expand_as(logits)
    assert ignored.any()
    other = logits.detach().clone()
    other[:, :1][ignored[:, :1]] = there
    other.requires_grad_()
    losses = [create_loss(name)(each, masks) for each in (logits, other)]
    assert losses[0].item() == losses[1].item()
    gradients = [torch.autograd.grad(loss, each)[0] for loss, each in zip(losses, (logits, other), strict=True)]
    assert torch.equal(*gradients)
    assert not gradients[0][ignored].any()
    assert gradients[0][~ignored].all()


@every_objective
def test_where_no_pixel_counts_the_loss_is_0(name: LossName) -> None:
    logits, masks = batch(ignored=1.0)
    loss = create_loss(name)(logits, masks)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@every_objective
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e4])
def test_gradients_are_finite_in_bfloat16(name: LossName, size: float) -> None:
    values, masks = batch()
    logits = (values.detach() * size).bfloat16().requires_grad_()
    loss = create_loss(name)(logits, masks)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@every_objective
def test_steps_against_the_gradient_lead_down(name: LossName) -> None:
    logits, masks = batch()
    before = create_loss(name)(logits, masks)
    (gradient,) = torch.autograd.grad(before, logits)
    assert create_loss(name)(logits - gradient, masks).item() < before.item()


def test_smoothing_mixes_the_truth_with_all_classes() -> None:
    logits, masks = of_probabilities((0.5, 0.5), (0.2, 0.8), (0.9, 0.1)), torch.tensor([[[0, 1, IGNORE]]])
    first = -(0.95 * math.log(0.5) + 0.05 * math.log(0.5))
    second = -(0.95 * math.log(0.8) + 0.05 * math.log(0.2))
    assert create_loss("cross_entropy", 0.1)(logits, masks).item() == pytest.approx((first + second) / 2)
    assert cross_entropy(logits, masks).item() == pytest.approx(-(math.log(0.5) + math.log(0.8)) / 2)


def test_smoothed_certainty_is_worth_less_than_confidence() -> None:
    masks = torch.tensor([[[0]]])
    certain, confident = (
        create_loss("cross_entropy", 0.1)(of_probabilities((p, 1 - p)), masks) for p in (0.9999, 0.95)
    )
    assert confident < certain
