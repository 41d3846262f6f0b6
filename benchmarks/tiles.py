"""Measure training on patches and prediction in tiles: accuracy, speed and memory.

    python -m benchmarks.tiles [agreement] [speed] [loading] [objects] [membranes] [file]

All images are synthetic.

agreement: Compare tiled predictions with predictions of the whole image, for three images of 1,024 px (1,600 px for
lite0, whose receptive field is larger). The networks are trained for a few steps on patches of other images. Prints the
largest difference of log-probabilities if tiles overlap by the receptive field and are cropped, and the share of pixels
with equal classes if tiles have the default overlap.

speed: Predict an image of 4,096 px in tiles. Prints the rate relative to that of the network alone.

loading: Train on patches of memory-mapped images of 5,000 px. Prints the share of a training step that is spent on
loading patches.

objects: Find squares of 3 px in images of 1,024 px. Prints the share found by a U-Net trained on images resized to
128 px, and by a U-Net trained on as many patches of 128 px in the original resolution.

membranes: Segment membranes between cells in slices of 512 px, 20 for training and 10 for testing. Prints the IoU of
the membranes and the peak memory of a U-Net trained on two whole slices per step, and of a U-Net trained on the same
number of pixels in patches of 256 px, two per step. Memory is printed with and without that of libraries and images.

file: Segment a TIFF of 20,000 px (or `--side`), compressed with Deflate in tiles of 512 px, as `pipeline predict` does.
Prints the rate relative to that of the network alone.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from multiprocessing import Queue
from pathlib import Path

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from rich.console import Console
from scipy import ndimage
from scipy.spatial import cKDTree
from torch import nn

from benchmarks.networks import NETWORKS, create_cell
from pipeline.artifacts.image_stack import ImageStack
from pipeline.artifacts.prepared_data import Dataset, SegmentationClass, Split
from pipeline.artifacts.run_folder import RunRecord
from pipeline.data.patch_loader import PatchLoader
from pipeline.imaging import IGNORE
from pipeline.imaging.mask_to_classes import MaskEncoding
from pipeline.imaging.resize import FixedSize, NativeSize
from pipeline.inference.prediction import predict_logits, predict_split, predict_strips
from pipeline.inference.preprocessing import Preprocessing
from pipeline.inference.tiles import Tiles
from pipeline.inference.trained_run import TrainedRun
from pipeline.models.factory import build_network
from pipeline.models.precision import resolve_precision
from pipeline.predict.formats.mask_format import WriterSettings
from pipeline.predict.formats.table import create_writers
from pipeline.predict.predict_images import predict_images
from pipeline.predict.result_writer import OutputFiles
from pipeline.runtime.operating_system import disable_malloc_trim
from pipeline.train.loop import EvalSplits, train
from pipeline.train.trainer import Trainer

CLASSES = (SegmentationClass("field", "#000000", False), SegmentationClass("object", "#0072b2", True))
NUM_CLASSES = len(CLASSES)
PATCH = 256  # px, side of patches and tiles
MULTIPLE = 32  # px, size multiple of all networks here
OVERLAP = 0.5  # the default of evaluation.tile_overlap
# MARGINS: px; at least the radius of the receptive field, 95 px for unet16 and about 520 px for lite0.
# SIDES: px, sides of the images; larger than a tile with two margins.
MARGINS, SIDES = {"unet16": 128, "lite0": 544}, {"unet16": 1024, "lite0": 1600}


def draw_image(seed: int, side: int, object_side: int, count: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw bright squares on a smooth random background, and their mask."""
    random = np.random.default_rng(seed)
    coarse = random.integers(20, 170, (side // 32, side // 32, 3)).astype(np.float32)
    image = ndimage.zoom(coarse, (32, 32, 1), order=1)[:side, :side] + random.normal(0, 8, (side, side, 3))
    mask = np.zeros((side, side), np.uint8)
    for top, left in random.integers(0, side - object_side, (count, 2)):
        mask[top : top + object_side, left : left + object_side] = 1
    image[mask == 1] = 230
    return image.clip(0, 255).astype(np.uint8), mask


def make_split(seeds: Sequence[int], side: int, object_side: int, count: int) -> Split:
    """Draw a split with one image per seed."""
    pairs = [draw_image(seed, side, object_side, count) for seed in seeds]
    images, masks = (ImageStack.of(arrays) for arrays in zip(*pairs, strict=True))
    return Split(images, masks, tuple(map(str, seeds)))


def train_network(
    name: str, split: Split, patch: int | None, epochs: int, patches: int | None = None, batch_size: int = 4
) -> nn.Module:
    """Train a network on patches, or on whole images if `patch` is None; return it with the averaged weights."""
    cell = create_cell(name)
    settings = cell.train.model_copy(
        update={
            "patch_size": patch,
            "patches_per_epoch": patches,
            "epochs": epochs,
            "batch_size": batch_size,
            "loss": "cross_entropy_dice",  # cross-entropy alone learns rare classes slowly
        }
    )
    torch.manual_seed(0)
    network = build_network(cell.model, 3, NUM_CLASSES)
    watched = split.take(np.arange(1))
    trained = network
    cell = cell.model_copy(update={"train": settings, "learning_rate": 3e-3})
    eval_splits = EvalSplits(watched, watched, watched)
    for epoch in train(network, cell, split, eval_splits, CLASSES, resolve_precision("auto")):
        trained = epoch.network
    return trained.eval()


def predict_tiled(network: nn.Module, image: NDArray[np.uint8], tiles: Tiles) -> torch.Tensor:
    """Predict log-probabilities in tiles, classes x H x W, in float32."""
    strips = predict_strips(network, image, tiles, NUM_CLASSES, "float32")
    return torch.cat([log_probs for _, log_probs in strips], dim=1)


def measure_agreement() -> None:
    """Print the agreement of tiled predictions with predictions of the whole image."""
    training = make_split(range(4), 512, 24, 12)
    print(f"{'':<10}{'largest difference, cropped':>30}{'equal labels, default overlap':>32}")
    for name in ("unet16", "lite0"):
        network = train_network(name, training, PATCH, epochs=6, patches=40)
        side = 2 * MARGINS[name] + PATCH
        cropped = Tiles((side, side), MULTIPLE, 2 * MARGINS[name] / side, "crop")
        differences, equal = [], []
        for seed in range(100, 103):
            image, _ = draw_image(seed, SIDES[name], 24, 40)
            inputs = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
            whole = predict_logits(network, inputs, "float32")[0].log_softmax(dim=0)
            differences.append(float((predict_tiled(network, image, cropped) - whole).abs().max()))
            blended = predict_tiled(network, image, Tiles((PATCH, PATCH), MULTIPLE, OVERLAP))
            equal.append(float((blended.argmax(dim=0) == whole.argmax(dim=0)).float().mean()))
        print(f"{name:<10}{max(differences):>30.1e}{min(equal):>32.3%}", flush=True)


def measure_speed(side: int = 4096) -> None:
    """Print seconds, memory and rates for one large image."""
    network = build_network(NETWORKS["unet16"], 3, NUM_CLASSES).to(memory_format=torch.channels_last).eval()
    precision = resolve_precision("auto")
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    batch = torch.rand(32, 3, PATCH, PATCH).contiguous(memory_format=torch.channels_last)
    predict_logits(network, batch, precision)  # warm-up
    start = time.perf_counter()
    predict_logits(network, batch, precision)
    alone = batch.numel() / 3 / (time.perf_counter() - start)
    for blend, overlap in (("gaussian", 0.0), ("gaussian", OVERLAP)):
        tiles = Tiles((PATCH, PATCH), MULTIPLE, overlap, blend)
        start = time.perf_counter()
        for _, log_probs in predict_strips(network, image, tiles, NUM_CLASSES, precision):
            log_probs.argmax(dim=0)
        seconds = time.perf_counter() - start
        predicted = len(tiles.cover(image.shape)) * PATCH**2
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(
            f"{side} x {side} px, overlap {overlap}: {seconds:.1f} s, {predicted / PATCH**2 / seconds:.1f} tiles/s, "
            f"{predicted / seconds / alone:.0%} of the network's own rate, peak {peak:.1f} GB",
            flush=True,
        )


def measure_loading(side: int = 5000, steps: int = 10) -> None:
    """Print the share of a training step of a U-Net that is spent on loading and cutting patches."""
    cell = create_cell("unet16")
    settings = cell.train.model_copy(update={"patch_size": PATCH, "batch_size": 4})
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/images.npy", random.integers(0, 256, (4, side, side, 3), np.uint8))
        np.save(f"{folder}/masks.npy", (random.random((4, side, side)) < 0.01).astype(np.uint8))
        split = Split.of(*(np.load(f"{folder}/{name}.npy", mmap_mode="r") for name in ("images", "masks")))
        loader = PatchLoader(split, torch.device("cpu"), settings, [1])
        order = loader.draw(4 * steps, torch.Generator().manual_seed(0))
        start = time.perf_counter()
        batches = [loader.take(order[4 * step : 4 * step + 4]) for step in range(steps)]
        loading = time.perf_counter() - start
    network = build_network(cell.model, 3, NUM_CLASSES).to(memory_format=torch.channels_last)
    trainer = Trainer(network, settings, 1e-3, resolve_precision("auto"))
    start = time.perf_counter()
    for batch in batches:
        trainer.accumulate_gradients(batch, torch.Generator(), loader.size)
        trainer.update_weights()
    training = time.perf_counter() - start
    print(f"patches of {side} px images: loading takes {loading / (loading + training):.1%} of a step")


def measure_file(side: int = 20_000) -> None:
    """Print seconds, memory and rates for segmenting a TIFF into another TIFF."""
    network = build_network(NETWORKS["unet16"], 3, NUM_CLASSES).to(memory_format=torch.channels_last).eval()
    precision = resolve_precision("auto")
    tiles = Tiles((PATCH, PATCH), MULTIPLE, OVERLAP)
    run = TrainedRun(
        record=RunRecord(0, "unet16", "", "finished", 1, 1, None, precision, 0, "", {}),
        data=Dataset("image_mask_folder", "made image", "", CLASSES, ""),
        network=network,
        preprocessing=Preprocessing(NativeSize(), 3, 8),
        tiles=tiles,
        encoding=MaskEncoding.from_values([(0,), (255,)], ()),
        num_train_images=0,
    )
    batch = torch.rand(32, 3, PATCH, PATCH).contiguous(memory_format=torch.channels_last)
    with tempfile.TemporaryDirectory() as folder:
        source = write_large_tiff(Path(folder) / "large.tif", side)
        alone = []
        for _ in range(3):
            start = time.perf_counter()
            for _ in range(4):
                predict_logits(network, batch, precision)
            alone.append(4 * len(batch) / (time.perf_counter() - start))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        start = time.perf_counter()
        out = Path(folder) / "out"
        files = OutputFiles(out, has_overlay=False, has_foreground=False)
        settings = WriterSettings(out, run.name, run.data.classes, run.encoding, background=None, pixel=None)
        predict_images(run, [source], files, create_writers(["png"], settings), Console(stderr=True))
        seconds = time.perf_counter() - start
        megabytes = source.stat().st_size / 1e6
    rate = len(tiles.cover((side, side))) / seconds
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{side} x {side} px TIFF of {megabytes:.0f} MB: {seconds:.0f} s, {rate:.1f} tiles/s, "
        f"{rate / max(alone):.0%} of the network's own rate, peak {peak:.1f} GB ({before:.1f} GB before)"
    )


def write_large_tiff(path: Path, side: int) -> Path:
    """Write a TIFF whose tiles all show the same image, so that it is never in memory as a whole."""
    tile = draw_image(0, 512, 24, 12)[0]

    def repeat() -> Iterator[NDArray[np.uint8]]:
        for _ in range(math.ceil(side / len(tile)) ** 2):
            yield tile

    size = {"shape": (side, side, 3), "tile": tile.shape[:2]}
    tifffile.imwrite(path, repeat(), dtype=np.uint8, photometric="rgb", compression="zlib", **size)
    return path


def draw_slice(seed: int, side: int = 512) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw gray cells with noise, dark spots and dark membranes between them, and the mask of the membranes."""
    random = np.random.default_rng(seed)
    places = np.stack(np.mgrid[:side, :side], axis=-1).reshape(-1, 2)
    wobble = np.stack([8 * ndimage.gaussian_filter(random.normal(0, 12, (side, side)), 12) for _ in range(2)], axis=-1)
    distances, cells = cKDTree(random.uniform(0, side, (150, 2))).query(places + wobble.reshape(-1, 2), k=2)
    membrane = (distances[:, 1] - distances[:, 0] < 4).reshape(side, side)
    shade = random.uniform(120, 190, 150)[cells[:, 0]].reshape(side, side)
    spots = ndimage.gaussian_filter(random.normal(0, 1, (side, side)), 2) > 0.22
    image = np.where(membrane | (spots & ~membrane), 70, shade)
    image = ndimage.gaussian_filter(image.astype(np.float32), 1) + random.normal(0, 18, (side, side))
    return image.clip(0, 255).astype(np.uint8)[..., None].repeat(3, axis=-1), membrane.astype(np.uint8)


def train_on_membranes(patch: int | None, result: Queue[tuple[float, float, float]]) -> None:
    """Train on patches, or on whole slices if `patch` is None, and put the results into the queue `result`.

    The results are the IoU of the membranes on the test slices, the peak memory before training in GB, and the peak
    memory after training in GB.
    """
    training, test = (
        Split(*(ImageStack.of(arrays) for arrays in zip(*map(draw_slice, seeds), strict=True)), tuple(map(str, seeds)))
        for seeds in (range(20), range(100, 110))
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    network = train_network("unet16", training, patch, epochs=20, patches=patch and 80, batch_size=2)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    tiles = None if patch is None else Tiles((patch, patch), MULTIPLE, OVERLAP)
    confusion = predict_split(network, test, NUM_CLASSES, "float32", tiles=tiles).confusion.sum(axis=0)
    result.put((confusion[1, 1] / (confusion.sum() - confusion[0, 0]), before, peak))


def measure_membranes() -> None:
    """Print IoU and memory of two trainings, each in its own process."""
    for patch in (None, PATCH):
        context = multiprocessing.get_context("spawn")
        result: Queue[tuple[float, float, float]] = context.Queue()
        process = context.Process(target=train_on_membranes, args=(patch, result))
        start = time.perf_counter()
        process.start()
        iou, before, peak = result.get()
        process.join()
        seconds = time.perf_counter() - start
        kind = "whole slices of 512 px" if patch is None else f"patches of {patch} px"
        memory = f"peak {peak:.2f} GB, {peak - before:.2f} GB more than before training"
        print(f"{kind}: membrane IoU {iou:.3f}, {memory}, {seconds:.0f} s", flush=True)


def measure_objects(epochs: int = 20) -> None:
    """Print the share of small squares that each of two networks finds."""
    training, test = make_split(range(8), 1024, 3, 12), make_split(range(50, 54), 1024, 3, 12)
    resizing = FixedSize((128, 128), "stretch")
    small = [
        Split.of(
            np.stack([resizing.fit_image(image) for image in split.images]),
            np.stack([resizing.fit_mask(mask, outside=IGNORE) for mask in split.masks]),
        )
        for split in (training, test)
    ]
    # Repeat images, so that there are as many per epoch as patches.
    resized = train_network("unet16", small[0].take(np.tile(np.arange(8), 16)), None, epochs)
    predicted = predict_split(resized, small[1], NUM_CLASSES, "float32").masks
    masks = [resizing.restore_mask(mask, (1024, 1024)) for mask in predicted]
    print(f"128 px: {find_share(test, masks):.0%} of the squares found", flush=True)
    native = train_network("unet16", training, 128, epochs, patches=128)
    tiles = Tiles((128, 128), MULTIPLE, OVERLAP)
    found = predict_split(native, test, NUM_CLASSES, "float32", tiles=tiles).masks
    print(f"native patches of 128 px: {find_share(test, list(found)):.0%} of the squares found")


def find_share(split: Split, predicted: Sequence[NDArray[np.uint8]]) -> float:
    """Compute the share of objects of which at least one pixel is predicted."""
    found = total = 0
    for mask, guess in zip(split.masks, predicted, strict=True):
        labels, count = ndimage.label(mask == 1, np.ones((3, 3)))
        hit = np.unique(labels[(guess == 1) & (labels > 0)])
        found, total = found + len(hit), total + count
    return found / total


PARTS = {
    "agreement": measure_agreement,
    "speed": measure_speed,
    "loading": measure_loading,
    "objects": measure_objects,
    "membranes": measure_membranes,
    "file": measure_file,
}


def main() -> None:
    """Run the selected parts, or all by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", type=int, help="side of the images of speed and file, px")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    disable_malloc_trim()
    for name in arguments.parts or PARTS:
        PARTS[name](*([arguments.side] if arguments.side and name in ("speed", "file") else []))


if __name__ == "__main__":
    main()
