"""Measure what each part of the U-Net paper's training is worth on made membranes and nuclei.

    python -m benchmarks.paper_parts [membranes] [nuclei]

Each data set has 30 training, 20 validation and 40 test images of 128 px, in gray.

membranes: cells that fill the image, separated by dark membranes that are 3 px wide and fade in places, with dark spots
inside the cells, like slices from an electron microscope.
nuclei: bright ellipses on a dark background that lie alone or touch. A line of background separates those that touch,
as in the paper.

The U-Net of `params/paper.yaml`, with 8 channels, is trained with all variants of that file and three seeds for 40
epochs. The learning rate is the one of 1e-2 and 1e-3 at which the first seed has the higher mean IoU on validation. Two
more settings replace the zeros with which the convolutions of the variant `paper` pad their input:

mirrored: each convolution pads by reflection.
unpadded: the image is surrounded by its reflection, which the loss ignores. It is so wide that no pixel of the image
depends on padding, so the result equals that of the paper's convolutions without padding.

Prints the scores of the test images as differences from `paper` with the same seed: mean, lowest and highest. The
scores are mean IoU and object F1, the harmonic mean of the fractions of true and of predicted objects (connected
regions) that overlap with a counterpart at an IoU above 0.5. The last column is the CPU time of a training run in
seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn

from benchmarks.networks import ROOT
from pipeline.analysis.scores import compute_mean_iou
from pipeline.artifacts.prepared_data import SegmentationClass, Split
from pipeline.imaging import IGNORE
from pipeline.inference.prediction import predict_split
from pipeline.models.factory import build_network
from pipeline.models.precision import resolve_precision
from pipeline.params import Params
from pipeline.params.model import UNetModel
from pipeline.runtime.operating_system import disable_malloc_trim
from pipeline.study.compose import compose, find_preset
from pipeline.train.loop import EvalSplits, train

SIDE = 128  # px
COUNTS = {"train": 30, "validation": 20, "test": 40}  # images
SEEDS = (0, 1, 2)
EPOCHS, BASE_CHANNELS = 40, 8
LEARNING_RATES = (1e-2, 1e-3)
OBJECT, BETWEEN = 0, 1
CLASSES = (SegmentationClass("object", "#0072b2", True), SegmentationClass("between", "#000000", False))
NUM_CLASSES = len(CLASSES)
PAPER = "paper"
MIRRORED, UNPADDED = "mirrored", "unpadded"
MARGIN = 96  # px; 92 are between an output pixel of the paper's network and the edge of its input
MIN_AREA = 12  # px; smaller predicted regions are noise, smaller true ones are not counted

Mask = NDArray[np.uint8]
Floats = NDArray[np.float64]
Sample = tuple[Mask, Mask]


def draw_membranes(random: np.random.Generator) -> Sample:
    """Draw cells separated by membranes: the image, H x W x 1, and its mask."""
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    # Smooth displacements turn the straight sides of Voronoi cells into curves.
    shift = [ndimage.gaussian_filter(random.normal(size=(SIDE, SIDE)), 10) * 60 for _ in range(2)]
    centers = random.uniform(-8, SIDE + 8, (int(random.integers(26, 40)), 2))
    distances = np.hypot(
        rows[..., None] + shift[0][..., None] - centers[:, 0], columns[..., None] + shift[1][..., None] - centers[:, 1]
    )
    cell = distances.argmin(axis=2)
    edge = ndimage.maximum_filter(cell, 2) != ndimage.minimum_filter(cell, 2)
    to_border = ndimage.distance_transform_edt(~edge)
    brightness = 165 + random.normal(0, 12, len(centers))[cell]
    # Membranes are dark, and fade where the section cuts them at an angle.
    fading = ndimage.gaussian_filter(random.normal(size=(SIDE, SIDE)), 6) * 30
    depth = np.clip(95 - 45 * np.maximum(fading, 0), 15, None)
    image = brightness - depth * np.exp(-((to_border / 1.3) ** 2))
    for _ in range(int(random.integers(15, 30))):  # organelles
        row, column = random.uniform(0, SIDE, 2)
        spot = _measure_ellipse(rows - row, columns - column, random.uniform(1.5, 5, 2), random.uniform(0, np.pi))
        image -= random.uniform(30, 80) * np.exp(-(spot**4))
    return _finish(image, random, noise=14), np.where(to_border < 1.3, BETWEEN, OBJECT).astype(np.uint8)


def draw_nuclei(random: np.random.Generator) -> Sample:
    """Draw nuclei, some of which touch: the image, H x W x 1, and its mask."""
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    image = 25 + ndimage.gaussian_filter(random.normal(size=(SIDE, SIDE)), 12) * 60
    owner = np.zeros((SIDE, SIDE), np.int64)
    row = column = SIDE / 2
    for number in range(1, int(random.integers(18, 30))):
        if random.random() < 0.5 or number == 1:
            row, column = random.uniform(0, SIDE, 2)
        else:  # next to the last one
            angle = random.uniform(0, 2 * np.pi)
            row, column = row + 13 * np.sin(angle), column + 13 * np.cos(angle)
        nucleus = _measure_ellipse(rows - row, columns - column, random.uniform(5, 9, 2), random.uniform(0, np.pi))
        inside = (nucleus < 1) & (owner == 0)
        owner[inside] = number
        image[inside] = random.uniform(70, 190)
    # Pixels of a nucleus next to another one become background.
    neighbors = ndimage.maximum_filter(owner, 3)
    lowest = ndimage.minimum_filter(np.where(owner == 0, owner.max() + 1, owner), 3)
    touching = (owner > 0) & (neighbors > 0) & (lowest != neighbors)
    mask = np.where((owner > 0) & ~touching, OBJECT, BETWEEN).astype(np.uint8)
    return _finish(ndimage.gaussian_filter(image, 1.2), random, noise=10), mask


def _measure_ellipse(rows: Floats, columns: Floats, radii: Floats, angle: float) -> Floats:
    """Measure the distance from an ellipse's center, 1 on its outline. Rows and columns are relative to the center."""
    along = rows * np.cos(angle) + columns * np.sin(angle)
    across = columns * np.cos(angle) - rows * np.sin(angle)
    distance: Floats = np.hypot(along / radii[0], across / radii[1])
    return distance


def _finish(image: Floats, random: np.random.Generator, noise: float) -> Mask:
    noisy = image + random.normal(0, noise, image.shape)
    return noisy.clip(0, 255).astype(np.uint8)[..., None]


DATA: dict[str, Callable[[np.random.Generator], Sample]] = {"membranes": draw_membranes, "nuclei": draw_nuclei}


def make_splits(draw: Callable[[np.random.Generator], Sample], margin: int = 0) -> dict[str, Split]:
    """Make the splits of a data set, always the same, with an ignored reflection around each image."""
    random = np.random.default_rng(0)
    sides = ((0, 0), (margin, margin), (margin, margin))
    splits = {}
    for name, count in COUNTS.items():
        images, masks = zip(*(draw(random) for _ in range(count)), strict=True)
        splits[name] = Split.of(
            np.pad(np.stack(images), (*sides, (0, 0)), mode="reflect"),
            np.pad(np.stack(masks), sides, constant_values=IGNORE),
        )
    return splits


def count_objects(truth: Mask, prediction: Mask) -> tuple[int, int, int]:
    """Count the matched, true and predicted objects of an image."""
    regions = []
    for mask in (truth, prediction):
        labels, count = ndimage.label(mask == OBJECT)
        areas = np.bincount(labels.ravel(), minlength=count + 1)
        regions.append((labels, areas, [number for number in range(1, count + 1) if areas[number] >= MIN_AREA]))
    (true, true_areas, true_numbers), (found, found_areas, found_numbers) = regions
    matched = 0
    for number in true_numbers:
        overlaps = np.bincount(found[true == number], minlength=len(found_areas))[1:]
        if len(overlaps):
            best = int(overlaps.argmax()) + 1
            intersection = overlaps[best - 1]
            # Above one half, at most one region matches.
            matched += bool(intersection > 0.5 * (true_areas[number] + found_areas[best] - intersection))
    return matched, len(true_numbers), len(found_numbers)


@dataclass(frozen=True)
class Result:
    """Scores of a training run on two splits, and its CPU time."""

    validation_iou: float
    iou: float
    f1: float
    seconds: float


def train_variant(splits: dict[str, Split], params: Params, variant: str, learning_rate: float, seed: int) -> Result:
    """Train a variant and score it."""
    cell = params.cell(PAPER if variant in (MIRRORED, UNPADDED) else variant, learning_rate, seed)
    assert isinstance(cell.model, UNetModel)
    model = cell.model.model_copy(update={"base_channels": BASE_CHANNELS})
    cell = cell.model_copy(update={"train": cell.train.model_copy(update={"epochs": EPOCHS})})
    torch.manual_seed(seed)
    network = build_network(model, 1, NUM_CLASSES)
    if variant == MIRRORED:
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                layer.padding_mode = "reflect"
    watched = splits["train"].take(np.arange(1))
    start = time.process_time()
    eval_splits = EvalSplits(watched, watched, watched)
    *_, last = train(network, cell, splits["train"], eval_splits, CLASSES, resolve_precision("auto"))
    seconds = time.process_time() - start
    predicted = {
        name: predict_split(last.network, splits[name], NUM_CLASSES, "float32") for name in ("validation", "test")
    }
    validation_iou, iou = (float(compute_mean_iou(one.confusion.sum(axis=0))) for one in predicted.values())
    matched, true, found = np.sum(
        [
            count_objects(truth, np.where(truth == IGNORE, BETWEEN, mask))
            for truth, mask in zip(splits["test"].masks, predicted["test"].masks, strict=True)
        ],
        axis=0,
    )
    return Result(validation_iou, iou, 2 * matched / (true + found), seconds)


def train_seeds(splits: dict[str, Split], params: Params, variant: str) -> tuple[float, list[Result]]:
    """Train a variant with all seeds at the learning rate at which the first seed is best on validation."""
    first = {rate: train_variant(splits, params, variant, rate, SEEDS[0]) for rate in LEARNING_RATES}
    rate = max(LEARNING_RATES, key=lambda one: first[one].validation_iou)
    return rate, [first[rate], *(train_variant(splits, params, variant, rate, seed) for seed in SEEDS[1:])]


def compare(name: str) -> None:
    """Print the scores of all variants on a data set."""
    splits, surrounded = make_splits(DATA[name]), make_splits(DATA[name], MARGIN)
    params = compose(find_preset(PAPER, ROOT), ROOT).params
    print(f"{name}\n{'':<20}{'rate':>6}{'mean IoU':>27}{'object F1':>27}{'seconds':>9}", flush=True)
    baseline: NDArray[np.float64] | None = None
    for variant in (*params.grid.variant, MIRRORED, UNPADDED):
        rate, results = train_seeds(surrounded if variant == UNPADDED else splits, params, variant)
        scores = np.array([(one.iou, one.f1) for one in results])
        if baseline is None:
            baseline, sign, shown = scores, "", scores
        else:
            sign, shown = "+", scores - baseline
        cells = [f"{c.mean():{sign}.3f} ({c.min():{sign}.3f} to {c.max():{sign}.3f})" for c in shown.T]
        seconds = np.mean([one.seconds for one in results])
        print(f"{variant:<20}{rate:>6g}" + "".join(f"{cell:>27}" for cell in cells) + f"{seconds:>9.0f}", flush=True)


def main() -> None:
    """Run the selected data sets, by default all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", choices=[[], *DATA])
    disable_malloc_trim()
    torch.set_num_threads(1)
    for name in parser.parse_args().data or DATA:
        compare(name)


if __name__ == "__main__":
    main()
