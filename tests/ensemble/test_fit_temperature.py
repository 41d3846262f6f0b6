"""Fit a temperature: laws of its minimum on drawn logits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import optimize
from torch import Tensor

from pipeline.analysis.temperature import INVERSES, MAX_TEMPERATURE, MIN_TEMPERATURE, find_temperature
from pipeline.ensemble.fit_temperature import sum_derivatives

NUM_PIXELS = 2000


def draw_pixels(seed: int, num_classes: int, temperature: float, num_pixels: int = NUM_PIXELS) -> tuple[Tensor, Tensor]:
    """Draw logits of any scale, and classes from their probabilities at a temperature."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, random.uniform(1, 4), (num_classes, num_pixels))
    noise = random.gumbel(size=logits.shape)  # the largest of logits and Gumbel noise is a draw from their softmax
    truth = (logits / temperature + noise).argmax(axis=0)
    return torch.from_numpy(logits).float(), torch.from_numpy(truth)


def fit(logits: Tensor, truth: Tensor) -> float | None:
    return find_temperature(sum_derivatives(logits, truth).numpy())


def compute_loss(logits: Tensor, truth: Tensor, temperature: float) -> float:
    return F.cross_entropy((logits.double() / temperature).T, truth).item()


seeds = st.integers(0, 2**32 - 1)
classes = st.sampled_from([2, 3, 20])
temperatures = st.floats(0.5, 2)


@given(seeds, classes, temperatures)
def test_temperature_is_the_minimum_of_the_loss(seed: int, num_classes: int, temperature: float) -> None:
    logits, truth = draw_pixels(seed, num_classes, temperature)
    found = fit(logits, truth)
    assert found is not None
    exact = optimize.minimize_scalar(
        lambda inverse: compute_loss(logits, truth, 1 / inverse),
        bounds=(1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE),
        options={"xatol": 1e-7},
    )
    assert found == pytest.approx(1 / exact.x, abs=1e-3)
    assert compute_loss(logits, truth, found) == pytest.approx(exact.fun, abs=1e-6)
    assert compute_loss(logits, truth, found) <= compute_loss(logits, truth, 1) + 1e-6


@given(seeds, classes, st.floats(0.6, 1.6))
def test_temperature_of_scaled_logits_is_scaled(seed: int, num_classes: int, factor: float) -> None:
    logits, truth = draw_pixels(seed, num_classes, 1)
    first, second = fit(logits, truth), fit(logits * factor, truth)
    assert first is not None
    assert second == pytest.approx(first * factor, abs=2e-3)


@given(seeds, classes, st.floats(-50, 50))
def test_constant_added_to_the_logits_of_a_pixel_has_no_effect(seed: int, num_classes: int, shift: float) -> None:
    logits, truth = draw_pixels(seed, num_classes, 1)
    shifts = shift * torch.linspace(0, 1, NUM_PIXELS)
    assert fit(logits + shifts, truth) == pytest.approx(fit(logits, truth), abs=1e-3)


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.5])
def test_temperature_of_the_drawn_classes_is_recovered(temperature: float) -> None:
    """The classes of 200,000 pixels determine it within about 0.01."""
    assert fit(*draw_pixels(0, 3, temperature, 200_000)) == pytest.approx(temperature, abs=0.02)


@given(seeds, classes)
def test_correct_and_reversed_predictions_have_no_temperature(seed: int, num_classes: int) -> None:
    logits, _ = draw_pixels(seed, num_classes, 1)
    assume((logits.max(dim=0).values > logits.min(dim=0).values).all())
    assert fit(logits, logits.argmax(dim=0)) is None  # any lower temperature has a lower loss
    assert fit(logits, logits.argmin(dim=0)) is None


def test_extreme_logits_have_finite_derivatives() -> None:
    logits = torch.tensor([[0.0, -1e4, 0.0], [-1e4, 0.0, -math.log(2)]])
    found = sum_derivatives(logits, torch.tensor([0, 0, 1]))
    assert found.dtype == torch.float64
    assert found.shape == INVERSES.shape
    assert torch.isfinite(found).all()
