"""Onset of overfitting: the epoch after which validation worsens while training still improves.

The lowest point of a noisy curve can be almost anywhere on a plateau, and early-stopping criteria react to a single bad
epoch. This module therefore fits a curve that has a level, a decay toward it, and a rise that begins at some epoch:

    loss(t) = level + height * exp(-t / time) + slope * max(0, t - knee),        height, slope >= 0

This is a broken stick (Hudson, Fitting segmented curves whose join points have to be estimated, Journal of the American
Statistical Association 61, 1966) plus a decay. The onset is the lowest point of the fitted curve: the knee if the rise
is steep, a later epoch if it is gentle. Its interval is computed from all fits, weighted by likelihood. The noise is
assumed to have the same variance in every epoch; the noise of neighboring epochs may be correlated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CONFIDENCE_LEVEL = 0.90
MIN_EPOCHS = 8  # five parameters and the noise are fitted
# Squared error that a rise must explain, divided by the noise variance. Curves without a rise reach CERTAIN_EVIDENCE in
# less than 1% of cases (benchmarks/onsets.py). Above DOUBTFUL_EVIDENCE a rise is neither certain nor ruled out.
CERTAIN_EVIDENCE, DOUBTFUL_EVIDENCE = 12.0, 6.0

_NUM_DRAWS = 2000
_MAX_POINTS = 120  # longer curves are averaged over windows of epochs
_NUM_DECAY_TIMES = 32  # number of decay times tried, from less than an epoch to twice the length of the curve
_SETTLED_FRACTION = 0.25  # the fit begins where the loss above the minimum has fallen to this fraction


@dataclass(frozen=True)
class Onset:
    """Epoch after which the validation loss rises."""

    index: int  # index of the epoch in the curve
    low: int  # first index of the interval at `CONFIDENCE_LEVEL`
    high: int  # last index of the interval
    rise: float  # rise of the fitted curve from its lowest point to its end, in the curve's unit
    lowest: float  # loss of the fitted curve at its lowest point


@dataclass(frozen=True)
class OnsetSearch:
    """Result of the search for an onset in a curve."""

    onset: Onset | None  # None if the curve has no onset, or is too short or too noisy
    # squared error that the rise explains, divided by the noise variance; None if the curve is too short
    evidence: float | None
    rise: float = 0.0  # rise of the best-fitting rising curve from its lowest point to its end, in the curve's unit
    lowest: float = math.nan  # loss of that curve at its lowest point; NaN without a rise

    @property
    def is_doubtful(self) -> bool:
        """Whether a rise is possible, but not certain."""
        return self.onset is None and self.evidence is not None and self.evidence > DOUBTFUL_EVIDENCE


@dataclass(frozen=True)
class _Fits:
    """Least-squares fits of F designs with K parameters each to one curve of E values."""

    errors: Floats  # F, sums of squared residuals
    parameters: Floats  # F x K
    covariances: Floats  # F x K x K, for noise of variance 1
    designs: Floats  # F x E x K

    def select(self, mask: npt.NDArray[np.bool_]) -> _Fits:
        return _Fits(self.errors[mask], self.parameters[mask], self.covariances[mask], self.designs[mask])

    def compute_curve(self, fit: int) -> Floats:
        return np.asarray(self.designs[fit] @ self.parameters[fit], dtype=np.float64)


def find_onset(val: Floats) -> OnsetSearch:
    """Search a validation curve for an onset of overfitting; `val` has one finite loss per epoch."""
    start = _find_settled_index(val)
    if len(val) - start < MIN_EPOCHS:
        return OnsetSearch(None, None)
    window = math.ceil((len(val) - start) / _MAX_POINTS)
    start += (len(val) - start) % window
    tail = val[start:].reshape(-1, window).mean(axis=1)
    falling, rising = _fit_candidates(tail)
    if not len(rising.errors):
        return OnsetSearch(None, 0.0)
    best = int(rising.errors.argmin())
    curve = rising.compute_curve(best)
    variance = _estimate_variance(tail - curve, float(np.square(tail).mean()))
    evidence = max(0.0, float(falling.errors.min() - rising.errors[best])) / variance
    if not _has_measured_rise(tail, int(curve.argmin())):
        return OnsetSearch(None, 0.0)
    low_point = float(curve.min())
    rise = float(curve[-1]) - low_point
    if evidence < CERTAIN_EVIDENCE:
        return OnsetSearch(None, evidence, rise, low_point)
    lowest = _draw_lowest_indices(rising, variance, np.random.default_rng(0))
    median = int(np.median(lowest))
    if not _has_measured_rise(tail, median):
        return OnsetSearch(None, 0.0)
    low, high = np.quantile(lowest, [(1 - CONFIDENCE_LEVEL) / 2, (1 + CONFIDENCE_LEVEL) / 2], method="nearest")
    onset = Onset(
        index=start + median * window + window // 2,
        low=start + int(low) * window,
        high=start + int(high + 1) * window - 1,
        rise=rise,
        lowest=low_point,
    )
    return OnsetSearch(onset, evidence, rise, low_point)


def _find_settled_index(val: Floats) -> int:
    """Find the end of the steep initial fall, which is not fitted because it is noisier."""
    limit = val.min() + _SETTLED_FRACTION * (val[0] - val.min())
    return min(int(np.argmax(val <= limit)), max(0, len(val) - MIN_EPOCHS))


def _fit_candidates(losses: Floats) -> tuple[_Fits, _Fits]:
    """Fit curves that only fall, and curves that also rise; fits whose height or slope is negative are left out."""
    index = np.arange(float(len(losses)))
    zero, level = np.zeros_like(index), np.ones_like(index)
    decays = [zero, *(np.exp(-index / time) for time in np.geomspace(0.7, 2.0 * len(losses), _NUM_DECAY_TIMES))]
    rises = [np.maximum(0.0, index - knee) for knee in range(len(losses) - 2)]
    falling = _fit(losses, [np.stack([level, decay], axis=1) for decay in decays])
    rising = _fit(losses, [np.stack([level, decay, rise], axis=1) for rise in rises for decay in decays])
    return (
        falling.select(falling.parameters[:, 1] >= 0),
        rising.select((rising.parameters[:, 1] >= 0) & (rising.parameters[:, 2] > 0)),
    )


def _fit(losses: Floats, designs: list[Floats]) -> _Fits:
    stacked = np.stack(designs)
    transposed = stacked.transpose(0, 2, 1)
    # The pseudo-inverse gives a column of zeros (no decay) the parameter 0.
    covariances = np.asarray(np.linalg.pinv(transposed @ stacked, hermitian=True), dtype=np.float64)
    parameters = np.einsum("fkl,fle,e->fk", covariances, transposed, losses, optimize=True)
    residuals = losses - np.einsum("fek,fk->fe", stacked, parameters)
    return _Fits(np.square(residuals).sum(axis=1), parameters, covariances, stacked)


def _has_measured_rise(losses: Floats, index: int) -> bool:
    """Return whether the measured losses after an index are higher than those around it.

    A fit alone may mistake a slowing fall for a decay plus a rise.
    """
    after = losses[index + 1 :]
    return bool(len(after)) and bool(after.mean() > losses[max(0, index - 1) : index + 2].mean())


def _estimate_variance(residuals: Floats, mean_square: float) -> float:
    """Estimate the variance of the noise from the residuals of the best fit.

    Autocorrelation increases the estimate, because each epoch then carries less information. For curves without noise,
    the estimate is at least a tiny fraction of the mean squared loss, `mean_square`.
    """
    autocorrelation = float((residuals[1:] * residuals[:-1]).sum() / max(np.square(residuals).sum(), 1e-300))
    rho = min(max(autocorrelation, 0.0), 0.9)
    return max(
        float(np.square(residuals).sum()) / (len(residuals) - 5) * (1 + rho) / (1 - rho), 1e-12 * mean_square + 1e-300
    )


def _draw_lowest_indices(fits: _Fits, variance: float, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw curves from all fits by likelihood and covariance, and return the index of each curve's lowest point."""
    likelihood = np.exp((fits.errors.min() - fits.errors) / (2 * variance))
    counts = generator.multinomial(_NUM_DRAWS, likelihood / likelihood.sum())
    indices = []
    for fit in np.flatnonzero(counts):
        covariance = fits.covariances[fit] * variance
        drawn = generator.multivariate_normal(fits.parameters[fit], covariance, counts[fit], method="eigh")
        drawn[:, 1:] = np.maximum(drawn[:, 1:], 0)
        curves = drawn @ fits.designs[fit].T
        # The last of several equal minima: without a decay, the curve is flat up to the knee.
        indices.append(curves.shape[1] - 1 - curves[:, ::-1].argmin(axis=1))
    return np.concatenate(indices)
