"""Run a network over images in batches. Training, evaluation, showcase and prediction all use this code."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.artifacts.image_stack import ImageStack
from pipeline.artifacts.prepared_data import Split
from pipeline.artifacts.run_folder import Precision
from pipeline.data.batch_loader import BatchLoader, to_device, to_network_input
from pipeline.imaging import IGNORE
from pipeline.imaging.windows import Window, WindowedImage, cut_window
from pipeline.inference.tiles import Tiles
from pipeline.models.ensemble import MemberOutputs
from pipeline.models.gpu_memory import explain_out_of_memory
from pipeline.models.precision import autocast_context, get_device
from pipeline.params import Cell
from pipeline.runtime.shutdown import check_signals
from pipeline.wording import format_size, pluralize

# Images per batch; independent of the training batch size, so that equal weights give bit-identical results.
MAX_BATCH_SIZE = 32
# Pixels per batch, which limits the memory for activations: batches of images larger than 256 x 256 px have fewer
# images, but at least one.
MAX_BATCH_PIXELS = MAX_BATCH_SIZE * 256**2


@dataclass(frozen=True)
class Prediction:
    """A network's prediction for N images and C classes."""

    losses: npt.NDArray[np.float64]  # N, mean cross-entropy of an image's evaluated pixels in nats; NaN without any
    pixels: npt.NDArray[np.int64]  # N, number of evaluated pixels, that is, pixels that are not ignored
    confusion: npt.NDArray[np.int64]  # N x C x C, number of pixels by ground truth (rows) and prediction (columns)
    masks: ImageStack[np.uint8]  # N masks of class indices

    @property
    def loss(self) -> float:
        """Mean cross-entropy over the evaluated pixels of all images, in nats; NaN without any."""
        total = int(self.pixels.sum())
        return float(np.where(self.pixels > 0, self.losses * self.pixels, 0).sum() / total) if total else math.nan

    def take(self, index: npt.NDArray[np.int64]) -> Prediction:
        """Select the prediction for some images by their indices."""
        return Prediction(self.losses[index], self.pixels[index], self.confusion[index], self.masks.take(index))


@dataclass(frozen=True)
class PixelPredictions:
    """Ground truth and predictions of a batch of images or of some rows of one image, N x H x W each."""

    first: int  # index of the first image in the split
    truth: Tensor  # int64, class index or `IGNORE`
    predicted: Tensor  # int64, index of the most probable class
    confidence: Tensor  # float32, probability of the most probable class
    losses: Tensor  # float32, cross-entropy in nats; 0 for ignored pixels


def predict_logits(network: nn.Module, images: Tensor, precision: Precision) -> Tensor:
    """Predict logits in evaluation mode: N x classes x H x W, float32.

    The images (N x channels x H x W, float) must be on the network's device. The network's mode does not change.

    Raises:
        PipelineError: The prediction does not fit into the memory of the GPU.
    """
    was_training = network.training
    network.eval()
    height, width = images.shape[2:]
    what = f"The prediction of {pluralize(len(images), 'image')} of {format_size((height, width))}"
    with (
        torch.inference_mode(),
        autocast_context(precision, images.device),
        explain_out_of_memory(what, 'Set CUDA_VISIBLE_DEVICES="" to use the CPU instead.'),
    ):
        logits: Tensor = network(images).float()
    network.train(was_training)
    return logits


def predict_batches(network: nn.Module, split: Split, precision: Precision) -> Iterator[tuple[Tensor, Tensor]]:
    """Predict a split in batches, without augmentation; all images must have the same size.

    Yields:
        Log-probabilities N x classes x H x W, or N x networks x classes x H x W of `MemberOutputs`, and the ground
        truth N x H x W.
    """
    batches = BatchLoader(split, get_device(network))
    size = compute_batch_size(*split.size, _count_networks(network))
    for start in range(0, len(split), size):
        check_signals()
        images, truth, _ = batches.take(np.arange(start, min(start + size, len(split))))
        yield _compute_log_probs(network, predict_logits(network, images, precision)), truth


def predict_strips(
    network: nn.Module, image: WindowedImage, tiles: Tiles, num_classes: int, precision: Precision
) -> Iterator[tuple[slice, Tensor]]:
    """Predict an image (H x W x C) of any size tile by tile from the top, and blend the logits of overlapping tiles.

    Yields:
        Rows of the image, and their log-probabilities, classes x rows x W, or networks x classes x rows x W of
        `MemberOutputs`.
    """
    device, num_networks = get_device(network), _count_networks(network)
    batch_size = compute_batch_size(*tiles.size, num_networks)

    def predict(windows: Sequence[Window]) -> Iterator[Tensor]:
        for start in range(0, len(windows), batch_size):
            check_signals()
            parts = np.stack([cut_window(image, window) for window in windows[start : start + batch_size]])
            yield from predict_logits(network, to_network_input(to_device(parts, device)), precision)

    tiling, num_logits = tiles.cover(image.shape), num_networks * num_classes
    for rows, logits in tiling.predict_strips(predict, num_logits, lambda array: torch.as_tensor(array).to(device)):
        yield rows, _compute_log_probs(network, logits)


def predict_split(
    network: nn.Module,
    split: Split,
    num_classes: int,
    precision: Precision,
    observe: Callable[[PixelPredictions], None] | None = None,
    tiles: Tiles | None = None,
) -> Prediction:
    """Predict a split and compare it with its ground truth, which is `IGNORE` everywhere for unlabeled images.

    `observe` is called with the pixels of each batch, in the order of the split. Without `tiles`, the network sees
    whole images, which must all have the same size.
    """
    collector = PredictionCollector(split, num_classes)
    for first, rows, log_probs, truth in predict_parts(network, split, num_classes, precision, tiles):
        pixels = compare_pixels(first, log_probs, truth)
        if observe is not None:
            observe(pixels)
        collector.add(rows, pixels)
    return collector.finish()


class PredictionCollector:
    """Collector of a network's prediction for a split, which is added in batches of images, or in rows of an image.

    Args:
        split: The split.
        num_classes: Number of classes.
    """

    def __init__(self, split: Split, num_classes: int) -> None:
        self._truth, self._num_classes = split.masks, num_classes
        self._losses = np.zeros(len(split))
        self._masks = ImageStack.empty(split.masks.sizes, np.uint8)

    def add(self, rows: slice, pixels: PixelPredictions) -> None:
        """Add all rows of a batch of images, or some rows of one image."""
        sums = pixels.losses.sum(dim=(1, 2)).cpu().double().numpy()
        for offset, predicted in enumerate(pixels.predicted.to(torch.uint8).cpu().numpy()):
            self._losses[pixels.first + offset] += sums[offset]
            self._masks[pixels.first + offset][rows] = predicted

    def finish(self) -> Prediction:
        """Return the prediction, after all rows of all images have been added."""
        confusion = _count_confusion(self._truth, self._masks, self._num_classes)
        evaluated = confusion.sum(axis=(1, 2))
        return Prediction(
            losses=np.divide(self._losses, evaluated, out=np.full(len(evaluated), np.nan), where=evaluated > 0),
            pixels=evaluated,
            confusion=confusion,
            masks=self._masks,
        )


def predict_parts(
    network: nn.Module, split: Split, num_classes: int, precision: Precision, tiles: Tiles | None
) -> Iterator[tuple[int, slice, Tensor, Tensor]]:
    """Predict all rows of a batch of images, or some rows of one image, at a time.

    Yields:
        Index of the first image, rows, log-probabilities N x classes x H x W, or N x networks x classes x H x W of
        `MemberOutputs`, and ground truth N x H x W.
    """
    if tiles is None:
        first = 0
        for log_probs, truth in predict_batches(network, split, precision):
            yield first, slice(None), log_probs, truth
            first += len(truth)
        return
    for index, (image, mask) in enumerate(zip(split.images, split.masks, strict=True)):
        for rows, log_probs in predict_strips(network, image, tiles, num_classes, precision):
            truth = torch.from_numpy(mask[rows].astype(np.int64)).to(log_probs.device)
            yield index, rows, log_probs[None], truth[None]


def create_tiles(cell: Cell, overlap: float) -> Tiles | None:
    """Create the tiles in which a cell's network predicts native-size images; None if it sees whole images."""
    if cell.train.patch is None:
        return None
    multiple = cell.model.size_multiple
    height, width = (math.ceil(side / multiple) * multiple for side in cell.train.patch)
    return Tiles((height, width), multiple, overlap)


def compute_batch_size(height: int, width: int, num_networks: int = 1) -> int:
    """Compute the number of images per batch for a height and width in px: at least 1, at most `MAX_BATCH_SIZE`.

    The outputs of several networks take no more memory than those of one.
    """
    return max(1, min(MAX_BATCH_SIZE, MAX_BATCH_PIXELS // (height * width)) // num_networks)


def _compute_log_probs(network: nn.Module, logits: Tensor) -> Tensor:
    """Compute log-probabilities, with an axis of networks before the classes for `MemberOutputs`."""
    if isinstance(network, MemberOutputs):
        logits = torch.unflatten(logits, -3, (network.num_networks, -1))
    return logits.log_softmax(dim=-3)


def _count_networks(network: nn.Module) -> int:
    return network.num_networks if isinstance(network, MemberOutputs) else 1


def compare_pixels(first: int, log_probs: Tensor, truth: Tensor) -> PixelPredictions:
    """Compare log-probabilities (N x classes x H x W) with the ground truth (N x H x W) of images from `first` on."""
    # `max` instead of `argmax`, which takes ten times as long in float32.
    highest, predicted = log_probs.max(dim=1)
    losses = F.nll_loss(log_probs, truth, ignore_index=IGNORE, reduction="none")
    return PixelPredictions(first, truth, predicted, highest.exp(), losses)


def _count_confusion(
    truth: ImageStack[np.uint8], predicted: ImageStack[np.uint8], num_classes: int
) -> npt.NDArray[np.int64]:
    tables = np.empty((len(truth), num_classes, num_classes), dtype=np.int64)
    for table, true, guess in zip(tables, truth, predicted, strict=True):
        evaluated = true != IGNORE
        pairs = true[evaluated].astype(np.int64) * num_classes + guess[evaluated]
        table[:] = np.bincount(pairs, minlength=num_classes * num_classes).reshape(num_classes, num_classes)
    return tables
