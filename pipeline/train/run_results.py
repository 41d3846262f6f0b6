"""Collect the results of a run epoch by epoch, and write its folder."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save
from torch import Tensor

from pipeline.analysis.scores import compute_class_iou, compute_mean_iou
from pipeline.artifacts.folder import drop_nan
from pipeline.artifacts.prepared_data import SegmentationClass, Split
from pipeline.artifacts.run_folder import EpochTiming, ImageLosses, RunFolder, RunTiming
from pipeline.imaging import IGNORE
from pipeline.models.precision import describe_processor
from pipeline.train.loop import Epoch, EvalSplits
from pipeline.train.training_images import format_metadata


@dataclass
class RunResults:
    """Results of all epochs of a run so far, and the weights of the best epoch."""

    classes: tuple[SegmentationClass, ...]
    history: list[dict[str, float | int | str]] = field(default_factory=list)
    image_losses: list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]] = field(default_factory=list)
    showcase_masks: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    times: list[EpochTiming] = field(default_factory=list)
    best_epoch: int | None = None
    best_loss: float = math.inf
    best_weights: dict[str, Tensor] | None = None
    seconds: float = 0.0  # time spent on these epochs, including setup

    @property
    def val_losses(self) -> list[float]:
        """Validation loss of each epoch, nats per pixel."""
        return [float(row["val_loss"]) for row in self.history]

    def state_dict(self) -> dict[str, Any]:
        """Return the results without the classes, as plain values and torch tensors for a checkpoint."""
        return {
            "history": self.history,
            "image_losses": [tuple(map(torch.from_numpy, pair)) for pair in self.image_losses],
            "showcase_masks": [torch.from_numpy(masks) for masks in self.showcase_masks],
            "times": list(map(asdict, self.times)),
            "best": (self.best_epoch, self.best_loss, self.best_weights),
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load results that `state_dict` returned."""
        self.history, self.seconds = state["history"], state["seconds"]
        self.times = [EpochTiming(**times) for times in state["times"]]
        self.image_losses = [(train.numpy(), validation.numpy()) for train, validation in state["image_losses"]]
        self.showcase_masks = [masks.numpy() for masks in state["showcase_masks"]]
        self.best_epoch, self.best_loss, self.best_weights = state["best"]

    def add(self, epoch: Epoch) -> None:
        """Add a completed epoch; copy its weights if its validation loss is the lowest so far."""
        self.history.append(self._create_row(epoch))
        self.image_losses.append((epoch.train.losses, epoch.validation.losses))
        self.showcase_masks.append(epoch.showcase.masks[0])
        now_ms = round(time.time() * 1000)
        self.times.append(EpochTiming(now_ms, epoch.images, epoch.training_seconds, epoch.eval_seconds))
        if epoch.validation.loss < self.best_loss:
            self.best_epoch, self.best_loss = epoch.number, epoch.validation.loss
            # A copy, because state_dict() shares memory with the weights, which training continues to change.
            self.best_weights = copy.deepcopy(epoch.network.state_dict())

    def _create_row(self, epoch: Epoch) -> dict[str, float | int | str]:
        row: dict[str, float | int | str] = {
            "epoch": epoch.number,
            "learning_rate": epoch.learning_rate,
            "objective": drop_nan(epoch.objective),
            "train_loss": epoch.train.loss,
            "val_loss": epoch.validation.loss,
            "val_mean_iou": drop_nan(float(compute_mean_iou(epoch.validation.confusion.sum(axis=0)))),
        }
        for side, prediction in (("train", epoch.train), ("val", epoch.validation)):
            for item, value in zip(self.classes, compute_class_iou(prediction.confusion.sum(axis=0)), strict=True):
                row[f"{side}_iou_{item.name}"] = drop_nan(float(value))
        return row

    def write(
        self,
        folder: RunFolder,
        key: str,
        eval_splits: EvalSplits,
        train_index: npt.NDArray[np.int64],
        training_images: Collection[str],
    ) -> None:
        """Write the files of a run folder except the record; without a best epoch, there are no weights.

        Args:
            folder: Run folder.
            key: Key of the run.
            eval_splits: Splits that were evaluated after each epoch.
            train_index: Indices of the evaluated training images in the training split.
            training_images: Hashes of all images that the weights were trained on.
        """
        folder.write_history(self.history, [item.name for item in self.classes])
        train, validation = zip(*self.image_losses, strict=True) if self.image_losses else ((), ())
        folder.write_image_losses(
            _collect_losses(train, eval_splits.train, train_index),
            _collect_losses(validation, eval_splits.validation, np.arange(len(eval_splits.validation))),
        )
        folder.write_showcase_masks(np.array(self.showcase_masks, dtype=np.uint8))
        if self.best_weights is not None:
            # safetensors needs contiguous tensors; loading them into a channels_last network keeps its layout.
            tensors = {name: tensor.contiguous() for name, tensor in self.best_weights.items()}
            content = save(tensors, format_metadata(training_images))
            folder.weights.write_bytes(content)  # safetensors' own file writer hides errors such as a full disk
        training = sum(times.training_seconds for times in self.times)
        folder.write_json(
            folder.TIMING,
            RunTiming(
                key=key,
                seconds=self.seconds,
                training_seconds=training,
                eval_seconds=sum(times.eval_seconds for times in self.times),
                images_per_second=sum(times.images for times in self.times) / training if training else None,
                epochs=tuple(self.times),
                processor=describe_processor(),
                torch=str(torch.__version__),
            ),
        )


def _collect_losses(
    losses: Sequence[npt.NDArray[np.float64]], split: Split, index: npt.NDArray[np.int64]
) -> ImageLosses:
    """Collect the image losses by epoch; `index` has the indices of the images in the whole split."""
    by_epoch = np.array(losses, dtype=np.float32).reshape(len(losses), len(split))
    return ImageLosses(by_epoch, np.array([np.count_nonzero(mask != IGNORE) for mask in split.masks]), index)
