"""Measure how often the interval of the loss with twice as many images covers the true loss, by simulation.

    python -m benchmarks.learning_curves [--repetitions 300]

The true loss is a power law, and the losses of three seeds are normal around it. *Fitted*: share of the repetitions
with a prediction; the others are refused. *Covered*: share of the predictions whose interval covers the true loss.
*Agrees*: share of the checks in which the prediction from fewer images agrees with the loss at the most images.
*Resampled*: as covered, but with intervals from 100 resamples of the seeds, fitted by `scipy.optimize.curve_fit`.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import dataclass

import numpy as np
from scipy.optimize import OptimizeWarning, curve_fit

from pipeline.analysis.learning_curve import FACTOR, UnidentifiedError, fit_learning_curve

SEEDS = 3
RESAMPLES = 100
FEW, USUAL, MANY = (40, 80, 160), (20, 40, 80, 160), (20, 40, 80, 160, 320, 640)


@dataclass(frozen=True)
class Population:
    """Distribution of the losses at several numbers of images."""

    name: str
    sizes: tuple[int, ...]
    asymptote: float
    slope: float  # loss at the most images minus the asymptote
    exponent: float
    variation: tuple[float, float] = (0.04, 0.04)  # sd / loss between seeds, at the fewest and at the most images
    misfit: float = 0.0  # sd / loss of deviations from the law that all seeds share

    def compute_loss(self, sizes: np.ndarray) -> np.ndarray:
        """Compute the losses on the power law."""
        return self.asymptote + self.slope * (sizes / self.sizes[-1]) ** -self.exponent

    def draw(self, rng: np.random.Generator) -> list[tuple[int, np.ndarray]]:
        """Draw the losses of the seeds."""
        sizes = np.array(self.sizes, np.float64)
        means = self.compute_loss(sizes) * (1 + self.misfit * rng.normal(size=len(sizes)))
        variation = np.geomspace(*self.variation, len(sizes))
        draws = means[:, None] * (1 + variation[:, None] * rng.normal(size=(len(sizes), SEEDS)))
        return list(zip(self.sizes, draws, strict=True))


POPULATIONS = (
    Population("4 sizes, exponent 0.5", USUAL, 0.1, 0.1, 0.5),
    Population("4 sizes, exponent 1", USUAL, 0.1, 0.1, 1.0),
    Population("4 sizes, no asymptote", USUAL, 0.0, 0.2, 0.3),
    Population("4 sizes, nearly flat", USUAL, 0.2, 0.02, 0.5),
    Population("3 sizes, exponent 0.5", FEW, 0.1, 0.1, 0.5),
    Population("6 sizes, exponent 0.5", MANY, 0.1, 0.1, 0.5),
    Population("4 sizes, seeds vary by 10%", USUAL, 0.1, 0.1, 0.5, (0.1, 0.1)),
    Population("4 sizes, seeds vary by 18 to 4%", USUAL, 0.1, 0.1, 0.5, (0.18, 0.04)),
    Population("4 sizes, deviations of 3%", USUAL, 0.1, 0.1, 0.5, misfit=0.03),
    Population("6 sizes, deviations of 3%", MANY, 0.1, 0.1, 0.5, misfit=0.03),
)


def resample(losses: list[tuple[int, np.ndarray]], target: float, rng: np.random.Generator) -> tuple[float, float]:
    """Compute the 95% interval of the loss at `target` images by resampling the seeds of each number of images."""
    sizes = np.array([size for size, _ in losses]) / losses[-1][0]
    errors = [float(values.mean()) for _, values in losses]

    def law(size: np.ndarray, asymptote: float, slope: float, exponent: float) -> np.ndarray:
        return asymptote + slope * size**-exponent

    found = []
    for _ in range(RESAMPLES):
        means = [rng.choice(values, len(values)).mean() for _, values in losses]
        start = (0.5 * means[-1], 0.5 * means[-1], 0.5)
        limits = ([0, 0, 0.05], [np.inf, np.inf, 3])
        try:
            best, _ = curve_fit(law, sizes, means, start, errors, bounds=limits, max_nfev=200)
        except RuntimeError:  # not converged
            continue
        found.append(law(np.array(target / losses[-1][0]), *best))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    """Print one row per population."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=300)
    parser.add_argument("--resampled", type=int, default=50, help="Repetitions with resampled seeds, which are slow.")
    args = parser.parse_args()
    warnings.simplefilter("ignore", OptimizeWarning)  # three points determine three parameters
    headings = ("fitted", "covered", "width", "agrees", "resampled", "width")
    print(f"{'':36}{'loss':>7}{'2 x':>7}" + "".join(f"{name:>11}" for name in headings))
    for population in POPULATIONS:
        rng = np.random.default_rng(1)
        target = FACTOR * population.sizes[-1]
        now, true = population.compute_loss(np.array([population.sizes[-1], target], np.float64))
        covered, widths, agrees, resampled, resampled_widths = [], [], [], [], []
        for repetition in range(args.repetitions):
            losses = population.draw(rng)
            if repetition < args.resampled:
                low, high = resample(losses, target, rng)
                resampled.append(low <= true <= high)
                resampled_widths.append(high - low)
            try:
                fit = fit_learning_curve(losses, seed=repetition)
            except UnidentifiedError:
                continue
            covered.append(fit.prediction.low <= true <= fit.prediction.high)
            widths.append(fit.prediction.high - fit.prediction.low)
            if fit.held_out:
                agrees.append(fit.held_out.low <= losses[-1][1].mean() <= fit.held_out.high)
        checked = f"{np.mean(agrees):11.1%}" if agrees else f"{'':11}"
        print(
            f"{population.name:36}{now:7.3f}{true:7.3f}{len(covered) / args.repetitions:11.0%}{np.mean(covered):11.1%}"
            f"{np.median(widths):11.3f}{checked}{np.mean(resampled):11.1%}{np.median(resampled_widths):11.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
