"""Where overfitting begins: the epoch after which validation worsens while training still improves.

The lowest point of a noisy curve lies almost anywhere on a plateau, and criteria such as `generalisation_loss` react to
a single bad epoch. So a curve is fitted: a level, a decay towards it, and a rise that begins at some epoch,

    loss(t) = level + height * exp(-t / time) + slope * max(0, t - knee),        height, slope >= 0,

a broken stick (Hudson, Fitting segmented curves whose join points have to be estimated, Journal of the American
Statistical Association 61, 1966) that leans on a decay. The onset is the lowest point of the fitted curve, which is the
knee where the rise is steep and lies behind it where it is gentle. How sure it is comes from all fits that the noise
allows, each weighted by its likelihood. The noise is taken to be as large in every epoch; it may carry over to the
next.

The references that early stopping knows are here too: Prechelt, Early stopping - but when?, Neural Networks: Tricks of
the Trade, 1998.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEVEL = 0.90
FEWEST_EPOCHS = 8  # five numbers and the noise are fitted
# A rise is believed when it explains this many times the noise's variance: without any rise that happens in less than
# one curve of a hundred (benchmarks/onsets.py). Above DOUBT it is neither believed nor ruled out.
CERTAIN, DOUBT = 12.0, 6.0

_DRAWS = 2000
_MOST = 120  # values that are fitted; of longer curves, means of as many epochs in a row as it takes
_TIMES = 32  # decay times that are tried, from less than an epoch to twice as many as there are
_SETTLED = 0.25  # of the way down from the first loss that is still above when the fit begins


@dataclass(frozen=True)
class Onset:
    """Where validation begins to worsen.

    Attributes:
        place: of the epoch after which it does, in the curve.
        low: first place of the interval at the level `LEVEL`.
        high: its last place.
        rise: of the fitted curve from there to its end, in the curve's unit.
    """

    place: int
    low: int
    high: int
    rise: float


@dataclass(frozen=True)
class Search:
    """What was found in a curve.

    Attributes:
        onset: None where the curve shows none, or where it is too short or too noisy to say.
        evidence: squared errors that the rise saves, in units of the noise's variance; None where nothing could be
            fitted.
        rise: of the curve that fits best among those that rise, from its lowest point to its end, in the curve's unit.
    """

    onset: Onset | None
    evidence: float | None
    rise: float = 0.0

    @property
    def doubtful(self) -> bool:
        """Whether there may be a rise, without enough evidence for one."""
        return self.onset is None and self.evidence is not None and self.evidence > DOUBT


@dataclass(frozen=True)
class _Fits:
    """Least-squares fits of one curve by several designs."""

    errors: Floats  # F, sums of squares
    values: Floats  # F x K
    spreads: Floats  # F x K x K, covariance of the values for noise of variance 1
    designs: Floats  # F x epochs x K

    def where(self, chosen: npt.NDArray[np.bool_]) -> _Fits:
        return _Fits(self.errors[chosen], self.values[chosen], self.spreads[chosen], self.designs[chosen])

    def curve(self, place: int) -> Floats:
        return np.asarray(self.designs[place] @ self.values[place], dtype=np.float64)


def find_onset(val: Floats, seed: int = 0) -> Search:
    """Look for an onset in a curve of finite losses on validation.

    Args:
        val: a loss an epoch.
        seed: of the draws from which the interval comes.
    """
    start = _settled(val)
    if len(val) - start < FEWEST_EPOCHS:
        return Search(None, None)
    width = math.ceil((len(val) - start) / _MOST)
    start += (len(val) - start) % width
    tail = val[start:].reshape(-1, width).mean(axis=1)
    place = np.arange(float(len(tail)))
    none, level = np.zeros_like(place), np.ones_like(place)
    decays = [np.exp(-place / time) for time in np.geomspace(0.7, 2.0 * len(tail), _TIMES)]
    rises = [np.maximum(0.0, place - knee) for knee in range(len(tail) - 2)]
    falling = _fit(tail, [np.stack([level, decay], axis=1) for decay in (none, *decays)])
    rising = _fit(tail, [np.stack([level, decay, rise], axis=1) for rise in rises for decay in (none, *decays)])
    falling = falling.where(falling.values[:, 1] >= 0)
    rising = rising.where((rising.values[:, 1] >= 0) & (rising.values[:, 2] > 0))
    if not len(rising.errors):
        return Search(None, 0.0)
    best = int(rising.errors.argmin())
    variance = _variance(tail - rising.curve(best), float(np.square(tail).mean()))
    evidence = max(0.0, float(falling.errors.min() - rising.errors[best])) / variance
    curve = rising.curve(best)
    if not _has_measured_rise(tail, int(curve.argmin())):
        return Search(None, 0.0)
    rise = float(curve[-1] - curve.min())
    if evidence < CERTAIN:
        return Search(None, evidence, rise)
    lowest = _lowest(rising, variance, np.random.default_rng(seed))
    if not _has_measured_rise(tail, int(np.median(lowest))):
        return Search(None, 0.0)
    low, high = np.quantile(lowest, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="nearest")
    most_likely = start + int(np.median(lowest)) * width + width // 2
    return Search(Onset(most_likely, start + int(low) * width, start + int(high + 1) * width - 1, rise), evidence, rise)


def _has_measured_rise(losses: Floats, place: int) -> bool:
    """Return whether the losses after a place are higher than around it, as a fit of a rise says.

    A fit may also take a fall that slows down for a decay and a rise.
    """
    after = losses[place + 1 :]
    return bool(len(after)) and bool(after.mean() > losses[max(0, place - 1) : place + 2].mean())


def _settled(val: Floats) -> int:
    """Where the first steep fall is over; the noise there is larger, and says nothing of an onset."""
    limit = val.min() + _SETTLED * (val[0] - val.min())
    return min(int(np.argmax(val <= limit)), max(0, len(val) - FEWEST_EPOCHS))


def _fit(losses: Floats, designs: list[Floats]) -> _Fits:
    stacked = np.stack(designs)
    turned = stacked.transpose(0, 2, 1)
    # The pseudo-inverse: a column of zeros, where there is no decay, gets the value 0.
    spreads = np.asarray(np.linalg.pinv(turned @ stacked, hermitian=True), dtype=np.float64)
    values = np.einsum("fkl,fle,e->fk", spreads, turned, losses, optimize=True)
    residuals = losses - np.einsum("fek,fk->fe", stacked, values)
    return _Fits(np.square(residuals).sum(axis=1), values, spreads, stacked)


def _variance(residuals: Floats, square: float) -> float:
    """Variance of the noise; larger where an epoch's carries over to the next, so that each says less."""
    carried = float((residuals[1:] * residuals[:-1]).sum() / max(np.square(residuals).sum(), 1e-300))
    rho = min(max(carried, 0.0), 0.9)
    # A curve without noise, such as one made by hand, has no variance to divide by: a millionth of the loss stands in.
    return max(
        float(np.square(residuals).sum()) / (len(residuals) - 5) * (1 + rho) / (1 - rho), 1e-12 * square + 1e-300
    )


def _lowest(fits: _Fits, variance: float, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Lowest places of curves drawn from all fits: each by its likelihood, its values by their covariance."""
    likelihood = np.exp((fits.errors.min() - fits.errors) / (2 * variance))
    counts = generator.multinomial(_DRAWS, likelihood / likelihood.sum())
    places = []
    for fit in np.flatnonzero(counts):
        spread = fits.spreads[fit] * variance
        drawn = generator.multivariate_normal(fits.values[fit], spread, counts[fit], method="eigh")
        drawn[:, 1:] = np.maximum(drawn[:, 1:], 0)
        curves = drawn @ fits.designs[fit].T
        # The last of several: a level that nothing falls to is lowest up to the knee.
        places.append(curves.shape[1] - 1 - curves[:, ::-1].argmin(axis=1))
    return np.concatenate(places)


def generalisation_loss(val: Floats) -> Floats:
    """Prechelt's GL at every epoch: how much higher validation is than its best so far, in percent."""
    return np.asarray(100 * (val / np.minimum.accumulate(val) - 1), dtype=np.float64)


def progress_quotient(train: Floats, val: Floats, strip: int = 5) -> Floats:
    """Prechelt's PQ at every epoch: GL by training's progress (per mille) over the last `strip` epochs; NaN before."""
    quotient = np.full(len(val), np.nan)
    losses = generalisation_loss(val)
    for end in range(strip, len(val) + 1):
        window = train[end - strip : end]
        progress = 1000 * (window.sum() / (strip * window.min()) - 1)
        quotient[end - 1] = losses[end - 1] / progress if progress > 0 else np.inf
    return quotient


def rises_in_a_row(val: Floats, strip: int = 5) -> npt.NDArray[np.int64]:
    """Prechelt's UP at every epoch: how many strips of `strip` epochs in a row ended higher than the one before."""
    ups = np.zeros(len(val), dtype=np.int64)
    for end in range(2 * strip - 1, len(val)):
        if val[end] > val[end - strip]:
            ups[end] = ups[end - strip] + 1
    return ups
