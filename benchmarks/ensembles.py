"""Compare ways to combine the runs of the best setting of a trained project, on the same images.

    python -m benchmarks.ensembles [FOLDER]

FOLDER contains `params.yaml`, and the results of `make report` with at least two seeds. The rows are

- members: mean and standard deviation over the runs;
- flips: the same, with probabilities averaged over each image and its horizontal flip;
- ensemble, and ensemble with flips: the mean of the probabilities of all runs;
- temperature: the same with the temperature that the stage `ensemble` fits on the validation images, only for test;
  with flips also with a temperature that is fitted with flips;
- soup: one network with the mean weights of all runs (Wortsman et al., Model soups, ICML 2022), also with the
  statistics of its normalization layers recomputed on the training images (as in Izmailov et al., Averaging weights
  leads to wider optima and better generalization, UAI 2018).

Each row has the loss in nats per pixel, the mean IoU, the expected calibration error, and the CPU time of a prediction
relative to one network. The next lines have the rank correlations of the uncertainty of an image and its loss. With
cross-validation, only the test images are new to all runs, so the table for validation is left out.

The last table shows how many images a temperature needs: it is fitted on random test images, and scored on the others.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy import interpolate
from torch import nn

from pipeline.analysis.group_labels import create_labels
from pipeline.analysis.scores import compute_mean_iou
from pipeline.analysis.temperature import INVERSES, find_temperature
from pipeline.analysis.uncertainty import correlate_ranks
from pipeline.artifacts.prepared_data import Split
from pipeline.artifacts.project import Project
from pipeline.data.batch_loader import BatchLoader
from pipeline.ensemble.collect_predictions import collect_predictions
from pipeline.ensemble.fit_temperature import collect_derivatives, fit_temperature
from pipeline.inference.confidence import ConfidenceCollector
from pipeline.inference.prediction import predict_split
from pipeline.inference.trained_run import TrainedRun, find_members
from pipeline.models.ensemble import Ensemble
from pipeline.models.precision import get_device
from pipeline.params.file import read_params
from pipeline.runtime.operating_system import disable_malloc_trim

BATCH = 16  # images per batch when statistics are recomputed
NUM_IMAGES = (3, 5, 10, 20, 30, 60)  # on which a temperature is fitted
NUM_DRAWS = 1000


@dataclass(frozen=True)
class Row:
    """Scores on a split."""

    loss: float
    mean_iou: float
    calibration_error: float
    seconds: float  # CPU time


def score(run: TrainedRun, network: nn.Module, split: Split) -> Row:
    """Predict a split with a network instead of the run's, and score it."""
    classes = len(run.data.classes)
    collector = ConfidenceCollector(classes)
    start = time.process_time()
    found = predict_split(network, split, classes, run.precision, collector, run.tiles)
    seconds = time.process_time() - start
    error = collector.stats().sum_bins().expected_calibration_error
    return Row(found.loss, float(compute_mean_iou(found.confusion.sum(axis=0))), error, seconds)


def average_weights(networks: Sequence[nn.Module]) -> nn.Module:
    """Create a network with the mean weights and statistics of several networks."""
    soup = copy.deepcopy(networks[0])
    states = [network.state_dict() for network in networks]
    mean = {
        name: torch.stack([state[name] for state in states]).mean(dim=0) if value.is_floating_point() else value
        for name, value in states[0].items()
    }
    soup.load_state_dict(mean)
    return soup


def recompute_statistics(network: nn.Module, split: Split) -> nn.Module:
    """Copy a network and recompute the statistics of its batch normalization on images of equal size."""
    copied = copy.deepcopy(network)
    layers = [layer for layer in copied.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a cumulative mean
        layer.train()
    batches = BatchLoader(split, get_device(copied))
    with torch.inference_mode():
        for start in range(0, len(split), BATCH):
            copied(batches.take(np.arange(start, min(start + BATCH, len(split)))).images)
    return copied.eval()


def print_row(name: str, rows: Sequence[Row], seconds: float) -> None:
    """Print the mean of rows, and their standard deviation if there are several."""
    cells = []
    for field in ("loss", "mean_iou", "calibration_error"):
        values = [getattr(row, field) for row in rows]
        spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else " " * 9
        cells.append(f"{np.mean(values):.4f}{spread}")
    times = np.mean([row.seconds for row in rows]) / seconds
    print(f"{name:<42}" + "".join(f"{cell:>20}" for cell in cells) + f"{times:>9.1f}", flush=True)


def compare_networks(
    run: TrainedRun, split: Split, training: Split, scale: Callable[[nn.Module], Ensemble] | None
) -> None:
    """Print one row per way to combine the members of an ensemble; `scale` fits and applies a temperature, if any."""
    members, with_flips = [*run.ensemble.members], run.average_flips()
    soup = average_weights(members)
    rows: dict[str, Callable[[], list[nn.Module]]] = {
        "members": lambda: members,
        "members, flips": lambda: [*with_flips.ensemble.members],
        "ensemble": lambda: [run.network],
        "ensemble, flips": lambda: [with_flips.network],
        "soup": lambda: [soup],
    }
    if run.tiles is None:
        rows["soup, statistics recomputed"] = lambda: [recompute_statistics(soup, training)]
    if scale is not None:
        scaled = scale(run.network)
        flipped = run.with_temperature(scaled.temperature).average_flips().network
        rows["members, temperature"] = lambda: [scale(member) for member in members]
        rows["ensemble, temperature"] = lambda: [scaled]
        rows["ensemble, flips, temperature"] = lambda: [flipped]
        rows["ensemble, flips, temperature with flips"] = lambda: [scale(with_flips.network)]
    seconds = 0.0
    for name, create in rows.items():
        found = [score(run, network, split) for network in create()]
        seconds = seconds or float(np.mean([row.seconds for row in found]))  # the first row is one network
        print_row(name, found, seconds)


def print_number_of_images(run: TrainedRun, split: Split) -> None:
    """Print how temperatures that are fitted on random images of a split change the loss of its other images."""
    derivatives = collect_derivatives(run, split)
    pixels = run.predict_split(split).pixels
    random = np.random.default_rng(0)
    print(f"{'images':<10}{'raised the loss':>18}{'mean change':>16}")
    for count in NUM_IMAGES:
        changes = []
        for _ in range(NUM_DRAWS if count < len(split) else 0):
            order = random.permutation(len(split))
            others = interpolate.PchipInterpolator(INVERSES, derivatives[order[count:]].sum(axis=0))
            temperature = find_temperature(derivatives[order[:count]].sum(axis=0)) or 1.0
            changes.append(float(others.integrate(1, 1 / temperature)) / pixels[order[count:]].sum())
        if changes:
            print(f"{count:<10}{np.mean(np.array(changes) > 0):>18.0%}{np.mean(changes):>+16.4f}")


def main() -> None:
    """Print one table per split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path())
    project = Project(parser.parse_args().folder)
    disable_malloc_trim()
    run = TrainedRun.load_ensemble(read_params(project.root / "params.yaml"), find_members(project), project)
    names = ("validation", "test") if run.data.folds is None else ("test",)
    splits = {name: project.prepared.open_split(name) for name in ("train", *names)}
    samples = project.prepared.samples

    def scale(network: nn.Module) -> Ensemble:
        groups = create_labels(samples.loc[samples["split"] == "validation", "groups"])
        found = fit_temperature(replace(run, network=network), splits["validation"], groups)
        if found.reason:
            print(found.reason)
        return Ensemble([network], found.value).eval()

    for name in names:
        split = splits[name]
        headings = "".join(f"{heading:>20}" for heading in ("loss", "mean IoU", "calibration error"))
        print(f"{f'{name}, {len(split)} images':<42}{headings}{'time':>9}")
        compare_networks(run, split, splits["train"], scale if name == "test" and "validation" in splits else None)
        found = collect_predictions(run, split)
        losses = found.ensemble.prediction.losses
        entropy, disagreement = (correlate_ranks(one, losses) for one in (found.ensemble.entropy, found.disagreement))
        single = [correlate_ranks(one.entropy, one.prediction.losses) for one in found.members]
        print(f"rank correlation with the image's loss: entropy {entropy:.3f}, disagreement {disagreement:.3f}")
        print(f"the same for the entropy and loss of the members: {', '.join(f'{one:.3f}' for one in single)}\n")
    print_number_of_images(run, splits["test"])


if __name__ == "__main__":
    main()
