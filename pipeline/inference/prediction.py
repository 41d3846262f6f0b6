"""Run a network over images in batches: the only way that training, evaluation, showcase and prediction do it."""

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
from pipeline.data.batch_loader import BatchLoader, to_network_input
from pipeline.imaging import IGNORE
from pipeline.imaging.windows import Window, WindowedImage, cut_window
from pipeline.inference.tiles import Tiles
from pipeline.models.precision import autocast_context, get_device
from pipeline.params import Cell
from pipeline.runtime.shutdown import check_signals

# Images per batch; independent of the training's batch size, so that equal weights give equal last bits.
MAX_BATCH_SIZE = 32
# Fewer images per batch if they are larger than 256 x 256: activations need at most the memory of this many pixels, or
# of a single image if that is larger.
MAX_BATCH_PIXELS = MAX_BATCH_SIZE * 256**2


@dataclass(frozen=True)
class Prediction:
    """A network's prediction for N images and C classes."""

    losses: npt.NDArray[np.float64]  # N, nats per pixel, mean over an image's evaluated pixels; NaN without any
    pixels: npt.NDArray[np.int64]  # N, evaluated pixels: those that are not ignored
    confusion: npt.NDArray[np.int64]  # N x C x C, pixels by ground truth (rows) and prediction (columns)
    masks: ImageStack[np.uint8]  # N, class indices

    @property
    def loss(self) -> float:
        """Cross-entropy of all images: nats per pixel, over all evaluated pixels; NaN without any."""
        total = int(self.pixels.sum())
        return float(np.where(self.pixels > 0, self.losses * self.pixels, 0).sum() / total) if total else math.nan

    def take(self, index: npt.NDArray[np.int64]) -> Prediction:
        """Select the prediction for some images by their indices."""
        return Prediction(self.losses[index], self.pixels[index], self.confusion[index], self.masks.take(index))


@dataclass(frozen=True)
class PixelPredictions:
    """The pixels of a predicted batch, N x H x W each: of whole images, or of some rows of a single one."""

    first: int  # index of the first image
    truth: Tensor  # int64, class index or `IGNORE`
    predicted: Tensor  # int64, index of the most probable class
    confidence: Tensor  # float32, that class's probability
    losses: Tensor  # float32, cross-entropy in nats; 0 where ignored


def predict_logits(network: nn.Module, images: Tensor, precision: Precision) -> Tensor:
    """Predict logits in evaluation mode: N x classes x H x W, float32.

    The images (N x channels x H x W, float) are on the network's device. The network is left in the mode it was in.
    """
    was_training = network.training
    network.eval()
    with torch.inference_mode(), autocast_context(precision, images.device):
        logits: Tensor = network(images).float()
    network.train(was_training)
    return logits


def predict_log_probs(network: nn.Module, images: Tensor, precision: Precision) -> Tensor:
    """Predict the logarithms of the class probabilities as `predict_logits` does; the softmax is in float32."""
    with torch.inference_mode():
        return predict_logits(network, images, precision).log_softmax(dim=1)


def predict_batches(network: nn.Module, split: Split, precision: Precision) -> Iterator[tuple[Tensor, Tensor]]:
    """Predict a split of images of one size without augmentation, batch by batch in its order.

    Yields:
        Log-probabilities N x classes x H x W, and the ground truth N x H x W.
    """
    batches = BatchLoader(split, get_device(network))
    size = compute_batch_size(*split.size)
    for start in range(0, len(split), size):
        check_signals()
        images, truth, _ = batches.take(np.arange(start, min(start + size, len(split))))
        yield predict_log_probs(network, images, precision), truth


def predict_strips(
    network: nn.Module, image: WindowedImage, tiles: Tiles, num_classes: int, precision: Precision
) -> Iterator[tuple[slice, Tensor]]:
    """Predict an image of any size, H x W x C, tile by tile from the top; logits of overlapping tiles are blended.

    Yields:
        Rows of the image, and their log-probabilities, classes x rows x W.
    """
    device = get_device(network)

    def predict(windows: Sequence[Window]) -> Iterator[Tensor]:
        size = compute_batch_size(*tiles.size)
        for start in range(0, len(windows), size):
            check_signals()
            parts = np.stack([cut_window(image, window) for window in windows[start : start + size]])
            yield from predict_logits(network, to_network_input(torch.from_numpy(parts).to(device)), precision)

    tiling = tiles.cover(image.shape)
    for rows, logits in tiling.predict_strips(predict, num_classes, lambda array: torch.as_tensor(array).to(device)):
        yield rows, logits.log_softmax(dim=0)


def predict_split(
    network: nn.Module,
    split: Split,
    num_classes: int,
    precision: Precision,
    observe: Callable[[PixelPredictions], None] | None = None,
    tiles: Tiles | None = None,
) -> Prediction:
    """Predict a split and compare it with its ground truth; without any, its masks are `IGNORE`.

    `observe` is called with the pixels of each batch, in the split's order. Without `tiles`, the network sees whole
    images, which have one size.
    """
    losses = np.zeros(len(split))
    masks = ImageStack.empty(split.masks.sizes, np.uint8)
    for rows, pixels in _compare_split(network, split, num_classes, precision, tiles):
        if observe is not None:
            observe(pixels)
        sums = pixels.losses.sum(dim=(1, 2)).cpu().double().numpy()
        for offset, predicted in enumerate(pixels.predicted.to(torch.uint8).cpu().numpy()):
            losses[pixels.first + offset] += sums[offset]
            masks[pixels.first + offset][rows] = predicted
    confusion = _count_confusion(split.masks, masks, num_classes)
    evaluated = confusion.sum(axis=(1, 2))
    return Prediction(
        losses=np.divide(losses, evaluated, out=np.full(len(losses), np.nan), where=evaluated > 0),
        pixels=evaluated,
        confusion=confusion,
        masks=masks,
    )


def _compare_split(
    network: nn.Module, split: Split, num_classes: int, precision: Precision, tiles: Tiles | None
) -> Iterator[tuple[slice, PixelPredictions]]:
    """Yield rows, and their pixels in a batch of whole images, or in one image."""
    if tiles is None:
        first = 0
        for log_probs, truth in predict_batches(network, split, precision):
            yield slice(None), _compare_pixels(first, log_probs, truth)
            first += len(truth)
        return
    for index, (image, mask) in enumerate(zip(split.images, split.masks, strict=True)):
        for rows, log_probs in predict_strips(network, image, tiles, num_classes, precision):
            truth = torch.from_numpy(mask[rows].astype(np.int64)).to(log_probs.device)
            yield rows, _compare_pixels(index, log_probs[None], truth[None])


def create_tiles(cell: Cell, overlap: float) -> Tiles | None:
    """Create the tiles in which a cell's network predicts native images; None if it sees whole images."""
    if cell.train.patch is None:
        return None
    multiple = cell.model.size_multiple
    height, width = (math.ceil(side / multiple) * multiple for side in cell.train.patch)
    return Tiles((height, width), multiple, overlap)


def compute_batch_size(height: int, width: int) -> int:
    """Compute the images per batch: `MAX_BATCH_SIZE`, or fewer for at most `MAX_BATCH_PIXELS` pixels; at least one."""
    return max(1, min(MAX_BATCH_SIZE, MAX_BATCH_PIXELS // (height * width)))


def _compare_pixels(first: int, log_probs: Tensor, truth: Tensor) -> PixelPredictions:
    # `max`, because `argmax` takes ten times as long in float32.
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
