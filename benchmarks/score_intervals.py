"""Measure how often the 95% interval of a score covers the true score, on simulated masks.

    python -m benchmarks.score_intervals [--repetitions 1000]

Each image has a foreground whose share of the pixels is lognormal, and whose recall and precision vary between images
and, where images belong to groups, between groups. The true score of a pooled metric is the ratio of the expected sums,
and that of a metric by image is the expected value over images; both are computed from a million images.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from pipeline.analysis.metrics import ImageMetrics, tabulate_metrics
from pipeline.artifacts.evaluation_folder import SURFACE_SCORES, ClassPixels

PIXELS = 128 * 128
METRICS = ("accuracy", "mean_iou", "iou", "dice", "recall", "image_dice", "hd95")
FOREGROUND = "object"


@dataclass(frozen=True)
class Population:
    """Distribution of the images, and the number of images that are drawn from it."""

    name: str
    groups: tuple[int, ...]  # number of groups, by kind of group
    num_images: int
    spread: float  # sigma of the lognormal foreground share
    group_variance: float  # share of the variance that images of a group have in common


POPULATIONS = [
    Population("50 images, no groups", (50,), 50, 0.5, 0.0),
    Population("50 images, no groups, very different objects", (50,), 50, 1.0, 0.0),
    Population("200 images of 50 groups", (50,), 200, 0.5, 0.5),
    Population("200 images, 80 animals on 60 backgrounds", (80, 60), 200, 0.5, 0.5),
    Population("48 images, 17 animals on 10 backgrounds", (17, 10), 48, 0.5, 0.5),
]


def simulate_images(population: Population, num_images: int, rng: np.random.Generator) -> ImageMetrics:
    """Simulate the pixels of two classes and the surface distances of new images."""
    scale = num_images // population.num_images
    labels = tuple(np.arange(num_images) % (groups * scale) for groups in population.groups)
    labels = (labels[0], *(rng.permutation(kind) for kind in labels[1:]))

    def draw() -> np.ndarray:
        """Draw standard normal numbers, one per image, that are correlated within groups."""
        values = rng.normal(size=num_images) * np.sqrt(1 - population.group_variance)
        for kind in labels:
            own = rng.normal(size=int(kind.max()) + 1)
            values += (own * np.sqrt(population.group_variance / len(labels)))[kind]
        return values

    share = np.minimum(0.15 * np.exp(population.spread * draw()), 0.8)
    recall, precision = (1 / (1 + np.exp(-(level + 0.8 * draw()))) for level in (1.8, 1.5))
    truth = np.round(PIXELS * share)
    correct = np.round(truth * recall)
    predicted = np.round(np.minimum(correct / precision, PIXELS - truth + correct))
    counts = [np.stack([one, PIXELS - one], axis=1).astype(np.int64) for one in (truth, predicted)]
    background = PIXELS - truth - predicted + correct
    pixels = ClassPixels(*counts, np.stack([correct, background], axis=1).astype(np.int64))
    surfaces = np.full((num_images, 2, len(SURFACE_SCORES)), np.nan)
    surfaces[:, 0, SURFACE_SCORES.index("hd95")] = np.exp(1.5 + 0.7 * draw())
    return ImageMetrics(pixels, surfaces, labels)


def compute_true_scores(population: Population, rng: np.random.Generator) -> dict[str, float]:
    """Compute the scores of a million images."""
    images = simulate_images(population, population.num_images * (1_000_000 // population.num_images), rng)
    alone = ImageMetrics(images.pixels, images.surfaces, (np.zeros(len(images.pixels), np.int64),))  # no intervals
    return select_scores(alone)


def select_scores(images: ImageMetrics) -> dict[str, float]:
    """Return the value of each metric of the foreground, or over all classes."""
    rows = tabulate_metrics(images, (FOREGROUND, "background"))
    return {row.metric: row.value for row in rows if row.class_name in ("", FOREGROUND) and row.value is not None}


def main() -> None:
    """Print one row per population."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000)
    repetitions = parser.parse_args().repetitions
    print(f"{'':46}" + "".join(f"{name:>12}" for name in METRICS))
    for population in POPULATIONS:
        rng = np.random.default_rng(1)
        truth = compute_true_scores(population, rng)
        covered = dict.fromkeys(METRICS, 0)
        for _ in range(repetitions):
            images = simulate_images(population, population.num_images, rng)
            for row in tabulate_metrics(images, (FOREGROUND, "background")):
                if row.metric in METRICS and row.class_name in ("", FOREGROUND):
                    assert row.low is not None
                    assert row.high is not None
                    covered[row.metric] += row.low <= truth[row.metric] <= row.high
        print(f"{population.name:46}" + "".join(f"{covered[name] / repetitions:12.1%}" for name in METRICS), flush=True)


if __name__ == "__main__":
    main()
