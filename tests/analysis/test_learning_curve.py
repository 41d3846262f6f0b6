"""Learning curves: exact power laws, laws of the fit, and losses that identify no power law."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.analysis.learning_curve import FACTOR, UnidentifiedError, fit_learning_curve

SIZES = (20, 40, 80, 160)
Losses = list[tuple[int, list[float]]]


def make_losses(
    sizes: Sequence[int], asymptote: float, slope: float, exponent: float, spread: Sequence[float] = (-0.01, 0.0, 0.01)
) -> Losses:
    """Make losses on a power law of the share of the most images; the seeds differ by factors of 1 + `spread`."""
    levels = [asymptote + slope * (size / sizes[-1]) ** -exponent for size in sizes]
    return [(size, [level * (1 + change) for change in spread]) for size, level in zip(sizes, levels, strict=True)]


@pytest.mark.parametrize(("asymptote", "slope", "exponent"), [(0.1, 0.2, 0.5), (0.0, 0.3, 0.3), (0.2, 0.1, 1.0)])
@pytest.mark.parametrize("sizes", [SIZES[1:], SIZES, (*SIZES, 320)])
def test_prediction_continues_an_exact_power_law(
    sizes: Sequence[int], asymptote: float, slope: float, exponent: float
) -> None:
    fit = fit_learning_curve(make_losses(sizes, asymptote, slope, exponent))
    expected = asymptote + slope * FACTOR**-exponent
    assert fit.prediction.images == 2 * sizes[-1]
    assert fit.prediction.loss == pytest.approx(expected, rel=0.01)
    assert fit.prediction.low < expected < fit.prediction.high
    assert fit.points[0].images == sizes[0]
    if len(sizes) > 3:
        assert fit.held_out is not None
        assert fit.held_out.images == sizes[-1]
        assert fit.held_out.low < asymptote + slope < fit.held_out.high
    else:
        assert fit.held_out is None


LAWS = st.tuples(st.floats(0, 1), st.floats(0.1, 1), st.floats(0.3, 1.5))
SPREADS = st.lists(st.floats(-0.05, 0.05), min_size=2, max_size=4).filter(
    lambda spread: max(spread) - min(spread) > 0.002
)


@given(LAWS, SPREADS)
@settings(max_examples=20)
def test_fitted_losses_fall_and_are_within_their_intervals(
    law: tuple[float, float, float], spread: list[float]
) -> None:
    try:
        fit = fit_learning_curve(make_losses(SIZES, *law, spread))
    except UnidentifiedError:
        assume(False)
    losses = [point.loss for point in fit.points]
    assert losses == sorted(losses, reverse=True)
    assert all(0 <= point.low <= point.loss <= point.high for point in fit.points)
    images = [point.images for point in fit.points]
    assert images == sorted({*images})


@given(LAWS, SPREADS, st.floats(0.01, 100))
@settings(max_examples=10)
def test_unit_of_the_loss_does_not_matter(law: tuple[float, float, float], spread: list[float], unit: float) -> None:
    losses = make_losses(SIZES, *law, spread)
    scaled = [(size, [unit * loss for loss in values]) for size, values in losses]
    found = []
    for one in (losses, scaled):
        try:
            found.append(fit_learning_curve(one).prediction)
        except UnidentifiedError:
            found.append(None)
    assert (found[0] is None) == (found[1] is None)
    if found[0] and found[1]:
        for name in ("loss", "low", "high"):
            assert getattr(found[1], name) == pytest.approx(unit * getattr(found[0], name), rel=1e-6)


def test_more_variation_between_seeds_widens_the_interval() -> None:
    narrow, wide = (
        fit_learning_curve(make_losses(SIZES, 0.1, 0.2, 0.5, (-spread, 0.0, spread))).prediction
        for spread in (0.01, 0.04)
    )
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_deviations_from_the_law_widen_the_interval() -> None:
    exact = make_losses(SIZES, 0.1, 0.2, 0.5)
    bent = [
        (size, [loss * factor for loss in values])
        for (size, values), factor in zip(exact, (1, 1.06, 0.95, 1), strict=True)
    ]
    widths = [one.high - one.low for one in (fit_learning_curve(losses).prediction for losses in (exact, bent))]
    assert widths[1] > 1.5 * widths[0]


def test_result_is_reproducible() -> None:
    losses = make_losses(SIZES, 0.1, 0.2, 0.5)
    assert fit_learning_curve(losses) == fit_learning_curve(losses)


@pytest.mark.parametrize(
    ("losses", "reason"),
    [
        ([(20, [0.5, 0.51]), (40, [0.4, 0.41])], "at least 3 training-set sizes"),
        ([(20, [0.5]), (40, [0.4]), (80, [0.35])], "one seed"),
        ([(20, [0.5, 0.51]), (40, [0.4, 0.41]), (80, [0.45, 0.46]), (160, [0.3, 0.31])], "rises from 40 to 80"),
        ([(20, [0.5, 0.51]), (40, [0.5, 0.51]), (80, [0.5, 0.51])], "not significantly lower than at 20"),
        ([(20, [0.4, 0.6]), (40, [0.35, 0.6]), (80, [0.3, 0.6])], "not significantly lower than at 20"),
        ([(20, [0.1, 0.1]), (40, [0.05, 0.06]), (80, [0.0, 0.0])], "a loss is 0"),
    ],
)
def test_losses_without_a_power_law_are_refused(losses: Losses, reason: str) -> None:
    with pytest.raises(UnidentifiedError, match=reason):
        fit_learning_curve(losses)


def test_equal_losses_of_all_seeds_are_fitted() -> None:
    fit = fit_learning_curve([(size, [loss] * 3) for size, loss in zip(SIZES, (0.5, 0.4, 0.35, 0.33), strict=True)])
    assert np.isfinite([fit.prediction.low, fit.prediction.high]).all()


def test_wrong_prediction_for_the_most_images_is_noticed() -> None:
    """Losses stop falling at the most images, which the smaller numbers cannot show."""
    fit = fit_learning_curve([*make_losses(SIZES[:3], 0.0, 0.4, 0.5), (160, [0.399, 0.4, 0.401])])
    assert fit.held_out is not None
    assert fit.held_out.high < 0.4
