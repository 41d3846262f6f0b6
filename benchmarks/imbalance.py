"""Compare training losses and pixel weights on synthetic images with rare classes: scores, and cost per step.

    python -m benchmarks.imbalance [scores] [cost]

scores: Train a U-Net with 8 channels with each setting and three seeds for 12 epochs; all other parameters are those of
`params.yaml`. There are 200 training, 60 validation and 150 test images of 96 px, with six classes of objects on a
textured background. Three classes have large objects (striped fields, lakes, houses). Three are rare, each with less
than 1% of the pixels: discs and crosses, which differ only in shape, and thin rings. Squares in the colors of the rare
objects belong to the background, and colors vary from object to object. The scores on the test images are printed as
differences from plain cross-entropy with the same seed: mean, minimum and maximum. At the end, the setting is chosen
that has the highest IoU of the three rarest classes on the validation images, among the settings whose mean IoU is at
most 0.005 below that of plain cross-entropy.

cost: Measure the CPU time of a training step with each setting, relative to plain cross-entropy, and the CPU time of
computing the boundary weights of all training images.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.networks import create_cell
from pipeline.analysis.scores import compute_class_iou, compute_mean_iou
from pipeline.artifacts.prepared_data import SegmentationClass, Split
from pipeline.data.boundary_weights import compute_boundary_weights
from pipeline.inference.prediction import Prediction, predict_split
from pipeline.models.factory import build_network
from pipeline.models.precision import resolve_precision
from pipeline.params.model import UNetModel
from pipeline.params.train import BoundaryWeight, Train
from pipeline.runtime.operating_system import disable_malloc_trim
from pipeline.train.loop import Epoch, EvalSplits, train

SIDE = 96  # px, side of the images
NAMES = ("background", "field", "lake", "house", "disc", "cross", "ring")
CLASSES = tuple(SegmentationClass(name, "#000000", foreground=name != "background") for name in NAMES)
FOREGROUND = range(1, len(CLASSES))
NUM_RAREST = 3
COUNTS = {"train": 200, "validation": 60, "test": 150}  # number of images
SEEDS = (0, 1, 2)
LEARNING_RATE, EPOCHS = 1e-2, 12
MAX_LOSS = 0.005  # maximum decrease of the mean IoU by the chosen setting
PLAIN = "cross_entropy"
SETTINGS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "inverse": {"class_weights": "inverse"},
    "median_frequency": {"class_weights": "median_frequency"},
    "dice": {"loss": "dice"},
    "cross_entropy_dice": {"loss": "cross_entropy_dice"},
    "focal": {"loss": "focal"},
    "tversky": {"loss": "tversky"},
    "lovasz": {"loss": "lovasz"},
    "cross_entropy_lovasz": {"loss": "cross_entropy_lovasz"},
    "boundary": {"boundary_weight": BoundaryWeight(w0=10.0, sigma=5.0)},
}
COST_ROUNDS = 5

Pixels = NDArray[np.float64]
Inside = NDArray[np.bool_]


def draw_sample(random: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw an image (SIDE x SIDE x 3) with its mask (SIDE x SIDE)."""
    image = ndimage.zoom(random.uniform(60, 150, (8, 8, 3)), (SIDE // 8, SIDE // 8, 1), order=1)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    rows, columns = np.mgrid[:SIDE, :SIDE]

    def paint(inside: Inside, color: tuple[int, int, int], index: int) -> None:
        image[inside] = np.array(color) + random.normal(0, 12, 3)
        mask[inside] = index

    def place() -> tuple[Pixels, Pixels]:
        """Return the row and column of each pixel relative to a random center."""
        row, column = random.uniform(6, SIDE - 6, 2)
        return rows - row, columns - column

    for _ in range(random.integers(0, 2)):
        (y, x), (height, width) = place(), random.uniform(12, 24, 2)
        field = (abs(y) < height) & (abs(x) < width)
        paint(field, (120, 140, 70), 1)
        image[field & ((rows + columns) // 3 % 2 == 0)] += 25
    for _ in range(random.integers(0, 2)):
        (y, x), (height, width) = place(), random.uniform(10, 20, 2)
        paint((y / height) ** 2 + (x / width) ** 2 < 1, (70, 95, 150), 2)
    for _ in range(random.integers(1, 4)):
        (y, x), (height, width) = place(), random.uniform(4, 8, 2)
        paint((abs(y) < height) & (abs(x) < width), (160, 95, 85), 3)
    red, white = (170, 110, 80), (165, 160, 155)
    for color in (red, white):
        for _ in range(random.integers(1, 4)):
            (y, x), side = place(), random.uniform(1.5, 3.5)
            paint((abs(y) < side) & (abs(x) < side), color, 0)
    for _ in range(random.integers(0, 3)):
        y, x = place()
        paint(y**2 + x**2 < random.uniform(2, 4) ** 2, red, 4)
    for _ in range(random.integers(0, 3)):
        (y, x), length = place(), random.uniform(3, 5)
        paint((np.minimum(abs(y), abs(x)) < 1) & (np.maximum(abs(y), abs(x)) < length), red, 5)
    for _ in range(random.integers(0, 2)):
        (y, x), radius = place(), random.uniform(3, 5)
        paint(abs(np.hypot(y, x) - radius) < 1, white, 6)
    return (image + random.normal(0, 12, image.shape)).clip(0, 255).astype(np.uint8), mask


def make_splits() -> dict[str, Split]:
    """Draw the splits with a fixed seed."""
    random = np.random.default_rng(0)
    splits = {}
    for name, count in COUNTS.items():
        images, masks = zip(*(draw_sample(random) for _ in range(count)), strict=True)
        splits[name] = Split.of(np.stack(images), np.stack(masks))
    return splits


def start_training(splits: dict[str, Split], setting: str, seed: int, epochs: int) -> Iterator[Epoch]:
    """Start a training that yields its epochs."""
    cell = create_cell("unet16", batch_size=4)
    settings: Train = cell.train.model_copy(update={"epochs": epochs, **SETTINGS[setting]})
    cell = cell.model_copy(update={"train": settings, "learning_rate": LEARNING_RATE, "seed": seed})
    assert isinstance(cell.model, UNetModel)
    model = cell.model.model_copy(update={"base_channels": 8})
    torch.manual_seed(seed)
    network = build_network(model, 3, len(CLASSES))
    watched = splits["validation"].take(np.arange(1))
    eval_splits = EvalSplits(watched, watched, watched)
    return train(network, cell, splits["train"], eval_splits, CLASSES, resolve_precision("auto"))


def score(prediction: Prediction, rarest: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean IoU, the mean IoU of the rarest classes, and the evaluation loss."""
    confusion = prediction.confusion.sum(axis=0)
    rare = compute_class_iou(confusion)[rarest].mean()
    return np.array([compute_mean_iou(confusion), rare, prediction.loss], np.float64)


def compare_scores() -> None:
    """Print the scores of all settings, and the setting that is chosen."""
    splits = make_splits()
    pixels = np.bincount(np.concatenate([mask.ravel() for mask in splits["train"].masks]), minlength=len(CLASSES))
    rarest = np.argsort(pixels)[:NUM_RAREST]
    print(
        "shares: " + ", ".join(f"{name} {share:.2%}" for name, share in zip(NAMES, pixels / pixels.sum(), strict=True))
    )
    print(f"{'':<20}{'mean IoU':>26}{'rarest three':>26}{'evaluation loss':>26}", flush=True)
    scores: dict[str, dict[str, list[NDArray[np.float64]]]] = {}
    for setting in SETTINGS:
        scores[setting] = {"validation": [], "test": []}
        for seed in SEEDS:
            (*_, last) = start_training(splits, setting, seed, EPOCHS)
            for split, measured in scores[setting].items():
                prediction = predict_split(last.network, splits[split], len(CLASSES), "float32")
                measured.append(score(prediction, rarest))
        values = np.array(scores[setting]["test"])
        if setting == PLAIN:
            cells = [f"{column.mean():.3f} ({column.min():.3f} to {column.max():.3f})" for column in values.T]
        else:
            differences = values - np.array(scores[PLAIN]["test"])
            cells = [f"{column.mean():+.3f} ({column.min():+.3f} to {column.max():+.3f})" for column in differences.T]
        print(f"{setting:<20}" + "".join(f"{cell:>26}" for cell in cells), flush=True)
    means = {setting: np.mean(measured["validation"], axis=0) for setting, measured in scores.items()}
    allowed = [setting for setting in SETTINGS if means[setting][0] >= means[PLAIN][0] - MAX_LOSS]
    print(f"chosen on validation: {max(allowed, key=lambda setting: means[setting][1])}")


def compare_cost() -> None:
    """Print the CPU time of a step with each setting, relative to plain cross-entropy."""
    splits = make_splits()
    trainings = {setting: start_training(splits, setting, 0, epochs=10_000) for setting in SETTINGS}
    seconds: dict[str, list[float]] = {setting: [] for setting in SETTINGS}
    for number in range(COST_ROUNDS + 1):
        for setting, training in trainings.items():
            start = time.process_time()
            next(training)
            if number:  # the first round is warm-up, and computes boundary weights
                seconds[setting].append(time.process_time() - start)
    for setting, measured in seconds.items():
        ratios = [one / plain for one, plain in zip(measured, seconds[PLAIN], strict=True)]
        print(f"{setting:<20}{statistics.median(ratios):>8.2f}")
    start = time.process_time()
    for mask in splits["train"].masks:
        compute_boundary_weights(mask, FOREGROUND, SETTINGS["boundary"]["boundary_weight"])
    once = (time.process_time() - start) / statistics.median(seconds[PLAIN])
    print(f"computing all boundary weights, once per training: {once:.0%} of the time of an epoch")


def main() -> None:
    """Run the selected comparisons, or all by default."""
    comparisons = {"scores": compare_scores, "cost": compare_cost}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparisons", nargs="*", choices=[[], *comparisons])
    disable_malloc_trim()
    torch.set_num_threads(1)
    for name in parser.parse_args().comparisons or comparisons:
        comparisons[name]()


if __name__ == "__main__":
    main()
