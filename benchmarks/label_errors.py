"""Measure how well wrong masks are found, with known wrong masks in the training data.

    python -m benchmarks.label_errors [find] [cost] [--seeds 0 1 2] [--data animals shapes] [--photographs FOLDER]

find: 5% of the masks of 512 training and 128 validation images of 64 px are made wrong before the networks are
trained, in equal parts by each of these mistakes:

- shifted by 10 to 20% of the side in a random direction;
- eroded until 40 to 70% of the object's area remain;
- swapped: the mask of another image;
- exchanged: the largest foreground class becomes another foreground class and vice versa. With a single foreground
  class, foreground and background are exchanged.

Three seeds are trained, evaluated and compared as by `make report`. The AUROC says how often a wrong mask is ranked
above a right one, for `comparison/suspicious_masks.csv` and for cleanlab's label quality score (softmin, with its
default temperature) of the same networks' predictions: its mean over the networks, and its value for the networks' mean
probabilities. The last rows have the share of wrong masks among the first of the list, and the numbers of suspicious
and wrong masks, also without any wrong masks in the data.

Data sets: `animals` are the bundled composites (without border class), segmented by a network with a pretrained
encoder. `shapes` are drawn images with four classes, of which 15% are hard (blurred, with low contrast), segmented by
a U-Net that is trained from scratch. `photographs` are pairs from the folders `images` and `masks` of a folder with an
`index.csv` (column `name`); mask value 1 is the background, other values are the object.

cost: Measure the CPU time of collecting the contradictions while a split is predicted, as a fraction of the CPU time of
predicting it, with 10% wrong pixels.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from ruamel.yaml import YAML
from scipy import ndimage, stats

from benchmarks.networks import NETWORKS, create_random_split
from benchmarks.project import ROOT
from pipeline.analysis.label_errors import is_suspicious
from pipeline.artifacts.prepared_data import PreparedData, Split
from pipeline.artifacts.project import PREPARED, Project
from pipeline.compare.compare_runs import compare
from pipeline.evaluate.contradictions import ContradictionCollector
from pipeline.evaluate.evaluate_run import evaluate_run
from pipeline.inference.confidence import ConfidenceCollector
from pipeline.inference.prediction import PixelPredictions, predict_batches, predict_split
from pipeline.inference.trained_run import load_record
from pipeline.models.factory import build_network, load_trained_network
from pipeline.params.file import read_params
from pipeline.prepare.prepare_data import prepare
from pipeline.runtime.operating_system import disable_malloc_trim
from pipeline.train.train_cell import train_cell

SIDE = 64  # px
COUNTS = {"train": 512, "validation": 128, "test": 8}  # number of images
NUM_WRONG = {"train": 6, "validation": 2}  # number of wrong masks of each kind
MIN_FOREGROUND = 0.02  # fraction of a mask's pixels; smaller objects are not made wrong
KINDS = ("shifted", "eroded", "swapped", "exchanged")
SHAPES = ("background", "field", "lake", "house", "forest")
SHAPE_COLORS = {1: (120, 140, 70), 2: (80, 95, 140), 3: (150, 100, 90), 4: (75, 105, 70)}
HARD_PROB = 0.15
CLASS_COLORS = ("#0072b2", "#e69f00", "#f0e442", "#009e73", "#cc79a7")
PRETRAINED = {
    "model": {"family": "smp", "architecture": "Unet", "encoder": "tf_efficientnet_lite0", "pretrained": True},
    "train": {"encoder_lr_factor": 0.1, "epochs": 10},
}
SMALL_UNET = {"model": {"base_channels": 8}, "train": {"epochs": 25}}
SETTINGS: dict[str, tuple[dict[str, Any], float]] = {  # variant and learning rate, chosen on other corruption seeds
    "animals": (PRETRAINED, 2e-3),
    "shapes": (SMALL_UNET, 1e-3),
    "photographs": (PRETRAINED, 2e-3),
}
NUM_RUNS = 3
FIRST = (10, 20, 32)  # numbers of masks at the top of the list
SCORES = ("score", "lowest", "loss", "softmin", "softmin_of_mean")  # columns; the last two are cleanlab's
COST_ROUNDS, WRONG_FRACTION = 15, 0.1  # repetitions, and fraction of wrong pixels

Mask = NDArray[np.uint8]
ImageArray = NDArray[np.uint8]
Random = np.random.Generator


@dataclass(frozen=True)
class Data:
    """Images and masks by split, and the kinds of the wrong masks by split and index."""

    classes: tuple[str, ...]  # the first is the background
    images: dict[str, list[ImageArray]]
    masks: dict[str, list[Mask]]
    kinds: dict[tuple[str, int], str]


def draw_shapes(random: Random) -> tuple[ImageArray, Mask]:
    """Draw an image with 1 to 3 objects, and its mask."""
    image = ndimage.zoom(random.uniform(60, 150, (8, 8, 3)), (SIDE // 8, SIDE // 8, 1), order=1)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for _ in range(random.integers(1, 4)):
        y, x = rows - random.uniform(8, SIDE - 8), columns - random.uniform(8, SIDE - 8)
        height, width = random.uniform(8, 16, 2)
        index = int(random.integers(1, len(SHAPES)))
        if SHAPES[index] in ("lake", "forest"):
            inside = (y / height) ** 2 + (x / width) ** 2 < 1
        else:
            inside = (abs(y) < height) & (abs(x) < width)
        image[inside] = np.array(SHAPE_COLORS[index]) + random.normal(0, 15, 3)
        if SHAPES[index] == "field":
            image[inside & ((rows + columns) // 3 % 2 == 0)] += 25
        elif SHAPES[index] == "forest":
            image += inside[..., None] * random.normal(0, 25, image.shape)
        mask[inside] = index
    if random.random() < HARD_PROB:
        faded = image.mean() + (image - image.mean()) * random.uniform(0.3, 0.6)
        image = ndimage.gaussian_filter(faded, (1.2, 1.2, 0))
    return (image + random.normal(0, 12, image.shape)).clip(0, 255).astype(np.uint8), mask


def make_shapes(seed: int) -> Data:
    """Draw all images."""
    random = np.random.default_rng([seed, 1])
    pairs = {split: [draw_shapes(random) for _ in range(count)] for split, count in COUNTS.items()}
    return _collect(SHAPES, pairs)


def make_animals(seed: int) -> Data:
    """Compose animals over photographs."""
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    params["data"] |= {"path": str(ROOT / "data/sample"), "image_size": SIDE, "samples": COUNTS, "seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        yaml.dump(params, path)
        prepare(read_params(path), Path(folder) / PREPARED)
        prepared = PreparedData(Path(folder) / PREPARED)
        background = prepared.dataset.class_names.index("background")
        pairs = {}
        for name in COUNTS:
            split = prepared.open_split(name)
            masks = [(np.array(mask) != background).astype(np.uint8) for mask in split.masks]
            pairs[name] = list(zip(map(np.array, split.images), masks, strict=True))
        return _collect(("background", "animal"), pairs)


def make_photographs(seed: int, folder: Path) -> Data:
    """Read randomly selected photographs."""
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    selected = iter(np.random.default_rng([seed, 3]).permutation(names))
    pairs = {}
    for split, count in COUNTS.items():
        pairs[split] = [_read_pair(folder, str(next(selected))) for _ in range(count)]
    return _collect(("background", "object"), pairs)


def _read_pair(folder: Path, name: str) -> tuple[ImageArray, Mask]:
    with Image.open(next((folder / "images").glob(f"{name}.*"))) as image:
        pixels = np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX))
    with Image.open(folder / "masks" / f"{name}.png") as mask:
        return pixels, (np.asarray(mask.resize((SIDE, SIDE), Image.Resampling.NEAREST)) != 1).astype(np.uint8)


def _collect(classes: tuple[str, ...], pairs: dict[str, list[tuple[ImageArray, Mask]]]) -> Data:
    images, masks = ({split: [pair[i] for pair in found] for split, found in pairs.items()} for i in (0, 1))
    return Data(classes, images, masks, {})


def shift(mask: Mask, random: Random) -> Mask:
    """Shift a mask by 10 to 20% of its side."""
    angle, distance = random.uniform(0, 2 * np.pi), random.uniform(0.1, 0.2) * SIDE
    shifted: Mask = ndimage.shift(mask, (distance * np.sin(angle), distance * np.cos(angle)), order=0, cval=0)
    return shifted


def erode(mask: Mask, random: Random) -> Mask:
    """Remove the outermost pixels of the foreground until 40 to 70% of its area remain."""
    target = random.uniform(0.4, 0.7) * np.count_nonzero(mask)
    depth = ndimage.distance_transform_edt(np.pad(mask > 0, 1, constant_values=True))[1:-1, 1:-1]
    for level in np.unique(depth[depth > 0]):
        eroded = np.where(depth > level, mask, 0).astype(np.uint8)
        if np.count_nonzero(eroded) <= target:
            break
    return eroded


def exchange(mask: Mask, random: Random, num_classes: int) -> Mask:
    """Exchange the largest foreground class and another one; with one foreground class, it and the background."""
    largest = int(np.bincount(mask.ravel(), minlength=num_classes)[1:].argmax()) + 1
    others = [index for index in range(1, num_classes) if index != largest] or [0]
    other = int(random.choice(others))
    table = np.arange(num_classes, dtype=np.uint8)
    table[[largest, other]] = other, largest
    return table[mask]


def corrupt(data: Data, seed: int) -> Data:
    """Make 5% of the training and validation masks wrong."""
    random = np.random.default_rng([seed, 2])
    kinds: dict[tuple[str, int], str] = {}
    masks = {split: list(found) for split, found in data.masks.items()}
    for split, count in NUM_WRONG.items():
        right = data.masks[split]
        candidates = [index for index, mask in enumerate(right) if (mask > 0).mean() > MIN_FOREGROUND]
        selected = random.choice(candidates, count * len(KINDS), replace=False)
        for kind, index in zip(np.repeat(KINDS, count), selected, strict=True):
            others = [other for other in candidates if other != index]
            make: dict[str, Callable[[Mask], Mask]] = {
                "shifted": lambda mask: shift(mask, random),
                "eroded": lambda mask: erode(mask, random),
                "swapped": lambda _, split=split, others=others: data.masks[split][int(random.choice(others))],
                "exchanged": lambda mask: exchange(mask, random, len(data.classes)),
            }
            masks[split][index] = make[kind](right[index])
            kinds[split, int(index)] = str(kind)
    return replace(data, masks=masks, kinds=kinds)


def write_project(folder: Path, data: Data, variant: dict[str, Any], learning_rate: float) -> None:
    """Write images, masks and parameters."""
    for name in ("images", "masks"):
        (folder / "input" / name).mkdir(parents=True)
    with (folder / "input/index.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "split"])
        for split in COUNTS:
            for index, (image, mask) in enumerate(zip(data.images[split], data.masks[split], strict=True)):
                name = f"{split}-{index:04d}"
                Image.fromarray(image).save(folder / f"input/images/{name}.png")
                Image.fromarray(mask).save(folder / f"input/masks/{name}.png")
                writer.writerow([name, split])
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    split_file = {"file": "index.csv", "id": "name", "split": "split", "group": None}
    params["data"] = {
        "source": "image_mask_folder",
        "path": "input",
        "image_size": SIDE,
        "resize": "stretch",
        "classes": [
            {"name": name, "color": CLASS_COLORS[index], "foreground": index > 0, "mask_value": index}
            for index, name in enumerate(data.classes)
        ],
        "ignore_value": None,
        "splits": {"split_file": split_file, "validation": 0.2, "test": 0.2},
        "on_invalid": "error",
        "showcase_ids": None,
        "seed": 0,
        "max_train_images": None,
    }
    params["train"] |= {"batch_size": 8}
    params["variants"] = {"network": variant}
    params["grid"] = {"variant": ["network"], "learning_rate": [learning_rate], "seed": list(range(NUM_RUNS))}
    yaml.dump(params, folder / "params.yaml")
    for name in ("custom", "reports"):
        (folder / name).symlink_to(ROOT / name)


def train_and_compare() -> pd.DataFrame:
    """Run all stages in the current folder.

    Returns:
        The rows of `suspicious_masks.csv`, most suspicious first, with the columns `softmin` and `softmin_of_mean`:
        cleanlab's scores, negated so that high scores are suspicious.
    """
    from cleanlab.segmentation.rank import get_label_quality_scores  # only this measurement needs it

    params, project = read_params(Path("params.yaml")), Project()
    prepare(params, PREPARED)
    for cell in params.cells():
        train_cell(cell)
        evaluate_run(params, cell.name)
    compare(params)
    rows = []
    for name in NUM_WRONG:
        split, probs = project.prepared.open_split(name), []
        for cell in params.cells():
            record, dataset = load_record(cell.name, project)
            network = load_trained_network(project.run(cell.name), split.num_channels, len(dataset.classes))
            batches = [one.exp().cpu().numpy() for one, _ in predict_batches(network, split, record.precision)]
            probs.append(np.concatenate(batches))
        masks = np.stack([np.array(mask, dtype=np.int64) for mask in split.masks])
        alone = [get_label_quality_scores(masks, one, verbose=False)[0] for one in probs]
        of_mean, _ = get_label_quality_scores(masks, np.mean(probs, axis=0), verbose=False)
        rows.append(pd.DataFrame({"id": split.ids, "softmin": -np.mean(alone, axis=0), "softmin_of_mean": -of_mean}))
    ranked = project.comparison.suspicious_masks
    return ranked.merge(pd.concat(rows), on="id", validate="one_to_one")


def compute_auroc(scores: pd.Series[float], is_wrong: pd.Series[bool]) -> float:
    """Compute the probability that a wrong mask has a higher score than a right one."""
    num_wrong, num_right = int(is_wrong.sum()), int((~is_wrong).sum())
    ranks = stats.rankdata(scores)
    return float((ranks[is_wrong.to_numpy()].sum() - num_wrong * (num_wrong + 1) / 2) / (num_wrong * num_right))


def print_scores(title: str, table: pd.DataFrame, kinds: dict[tuple[str, int], str]) -> list[list[float]]:
    """Print and return the AUROC of each score, overall, by split and by kind of mistake."""
    by_id = {f"{split}-{index:04d}": kind for (split, index), kind in kinds.items()}
    kind = table["id"].map(by_id).fillna("")
    rows = []
    for name in SCORES:
        columns = [pd.Series(True, index=table.index)]
        columns += [table["split"] == split for split in NUM_WRONG]
        columns += [kind.isin(["", one]) for one in KINDS]
        rows.append([compute_auroc(table[name][one], kind[one] != "") for one in columns])
        print(f"{title:<16}{name:<18}" + "".join(f"{value:>12.3f}" for value in rows[-1]), flush=True)
    shares = ", ".join(f"{(kind.head(count) != '').mean():.0%} of the first {count}" for count in FIRST)
    print(f"{title:<16}wrong: {shares}; {describe_suspicious(table, kind)}", flush=True)
    return rows


def describe_suspicious(table: pd.DataFrame, kind: pd.Series[str]) -> str:
    """Count the suspicious masks, and the wrong ones among them."""
    chosen = is_suspicious(table)
    return f"{chosen.sum()} suspicious, {(kind[chosen] != '').sum()} of them and {(kind != '').sum()} in all wrong"


def measure_finding(names: list[str], seeds: list[int], photographs: Path | None) -> None:
    """Print the AUROC for each data set and seed, and the means over the seeds."""
    makers: dict[str, Callable[[int], Data]] = {"animals": make_animals, "shapes": make_shapes}
    if photographs is not None:
        makers["photographs"] = lambda seed: make_photographs(seed, photographs)
    print(f"{'':<34}" + "".join(f"{name:>12}" for name in ("overall", *NUM_WRONG, *KINDS)))
    for name in names:
        results = []
        for seed in seeds:
            right = makers[name](seed)
            for data in [corrupt(right, seed), *([right] if seed == seeds[0] else [])]:
                with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
                    write_project(Path(), data, *SETTINGS[name])
                    table = train_and_compare()
                if data.kinds:
                    results.append(print_scores(f"{name} {seed}", table, data.kinds))
                else:
                    text = describe_suspicious(table, pd.Series("", index=table.index))
                    print(f"{name} {seed}, all masks right: {text}", flush=True)
        for title, means in zip(SCORES, np.mean(results, axis=0), strict=True):
            print(f"{name + ' mean':<16}{title:<18}" + "".join(f"{value:>12.3f}" for value in means), flush=True)


def measure_cost() -> None:
    """Print the additional CPU time of collecting the contradictions."""
    for name in ("unet16", "lite0"):
        split, classes = create_random_split(64, size=128), 3
        network = build_network(NETWORKS[name], 3, classes)
        masks = np.stack(list(predict_split(network, split, classes, "float32").masks))
        wrong = np.random.default_rng(0).random(masks.shape) < WRONG_FRACTION
        split = Split.of(np.stack(list(split.images)), np.where(wrong, (masks + 1) % classes, masks).astype(np.uint8))
        seconds: dict[bool, list[float]] = {False: [], True: []}
        for number in range(COST_ROUNDS + 1):
            for is_checked, measured in seconds.items():
                collectors: list[Callable[[PixelPredictions], None]] = [ConfidenceCollector(classes)]
                if is_checked:
                    collectors.append(ContradictionCollector(classes))

                def observe(pixels: PixelPredictions, collectors: Any = collectors) -> None:
                    for collect in collectors:
                        collect(pixels)

                start = time.process_time()
                predict_split(network, split, classes, "float32", observe)
                if number:  # the first round is warm-up
                    measured.append(time.process_time() - start)
        ratios = [one / alone for one, alone in zip(seconds[True], seconds[False], strict=True)]
        print(f"{name}: {statistics.median(ratios) - 1:+.1%} of the time of predicting 64 images of 128 px")


def main() -> None:
    """Run the selected measurements, or all by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measurements", nargs="*", choices=[[], "find", "cost"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data", nargs="+", choices=list(SETTINGS), default=["animals", "shapes"])
    parser.add_argument("--photographs", type=Path)
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    disable_malloc_trim()
    if "find" in (args.measurements or ["find"]):
        measure_finding(args.data, args.seeds, args.photographs)
    if "cost" in (args.measurements or ["cost"]):
        measure_cost()


if __name__ == "__main__":
    main()
