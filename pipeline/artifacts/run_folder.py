"""`runs/<run>/`: results of training a cell of the grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.artifacts.folder import ArtifactFolder, Record
from pipeline.artifacts.format import FORMAT
from pipeline.artifacts.status import TrainedStatus
from pipeline.artifacts.weights_folder import WeightsRecord
from pipeline.errors import PipelineError

if TYPE_CHECKING:
    import pandas as pd

Precision = Literal["float32", "bfloat16"]
Side = Literal["train", "validation"]


@dataclass(frozen=True)
class RunRecord(Record):
    """`run.json`: configuration of a run and how its training ended."""

    format: int  # `FORMAT` of the version that wrote the file
    run: str
    key: str  # the run key
    status: TrainedStatus
    epochs: int  # number of completed epochs
    best_epoch: int | None  # epoch with the lowest val_loss; None if no epoch had a finite one
    diverged_epoch: int | None  # epoch in which a loss was NaN or infinite
    precision: Precision  # chosen for the machine if `train.precision` is auto
    trainable_parameters: int
    data_fingerprint: str
    cell: dict[str, Any]  # pipeline.params.Cell as JSON
    weights: WeightsRecord | None = None  # weights that the network started from; None for random initialization

    @property
    def fold(self) -> int | None:
        """Fold that the run is validated on; None without cross-validation."""
        fold = self.cell.get("fold")
        return None if fold is None else int(fold)

    def describe_end(self) -> str:
        """Return a sentence on how the run ended."""
        if self.status == "diverged":
            return f"{self.run}: diverged in epoch {self.diverged_epoch}"
        trained = f"stopped early after {self.epochs}" if self.status == "stopped_early" else f"trained {self.epochs}"
        return f"{self.run}: {trained} epochs, best epoch {self.best_epoch}"


@dataclass(frozen=True)
class EpochTiming(Record):
    """Duration and end of an epoch."""

    ended_ms: int  # milliseconds since 1970
    images: int
    training_seconds: float
    eval_seconds: float


@dataclass(frozen=True)
class RunTiming(Record):
    """`timing.json`: times of a run and the machine that trained it.

    DVC ignores the file (.dvcignore), because it differs between otherwise equal runs.
    """

    key: str  # the run key; if DVC restores another run, the previous run's file remains
    seconds: float  # total duration, including set-up
    training_seconds: float
    eval_seconds: float
    images_per_second: float | None
    epochs: tuple[EpochTiming, ...]
    processor: str
    torch: str

    @property
    def last_ms(self) -> int | None:
        """End of the last epoch in milliseconds since 1970; None if there are no epochs."""
        return self.epochs[-1].ended_ms if self.epochs else None

    @property
    def began_ms(self) -> int | None:
        """Start in milliseconds since 1970 if the run was not interrupted; None if there are no epochs."""
        return None if self.last_ms is None else self.last_ms - round(self.seconds * 1000)


@dataclass(frozen=True)
class ImageLosses:
    """Losses of individual images at the end of each epoch."""

    losses: npt.NDArray[np.float32]  # epochs x N, nats per pixel; NaN for an image without evaluated pixels
    pixels: npt.NDArray[np.int64]  # N, number of evaluated pixels
    index: npt.NDArray[np.int64]  # N, indices of the images in the split


class RunFolder(ArtifactFolder):
    """The `runs/<run>/` folder."""

    command = "dvc repro train@{name}"
    RECORD = MAIN = "run.json"
    WEIGHTS = "model.safetensors"  # weights of the best epoch; missing if no epoch had a finite loss
    HISTORY = "history.csv"  # HISTORY_COLUMNS, then train_iou_<class> and val_iou_<class>; epochs count from 1
    HISTORY_COLUMNS = ("epoch", "learning_rate", "objective", "train_loss", "val_loss", "val_mean_iou")
    IMAGE_LOSSES = "image_losses.npz"
    SHOWCASE_MASKS = "showcase.npz"  # predicted masks of the first showcase image: epochs x H x W, uint8
    TIMING = "timing.json"

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.path.name

    @cached_property
    def record(self) -> RunRecord:
        """Configuration of the run and how its training ended.

        Raises:
            PipelineError: The file is missing, broken or in another format.
        """
        record = self.read_json(self.RECORD, RunRecord)
        if record.format != FORMAT:
            raise PipelineError(
                f"{self.display(self.RECORD)} has format {record.format}, but this version reads format {FORMAT}. "
                f"Train the run again: {self.redo_command}"
            )
        return record

    @cached_property
    def history(self) -> pd.DataFrame:
        """Table with one row per epoch and the columns of `history.csv`."""
        return self.read_table(self.HISTORY, self.HISTORY_COLUMNS, {})

    @property
    def weights(self) -> Path:
        """Path of the weights of the best epoch."""
        return self.path / self.WEIGHTS

    def read_image_losses(self, side: Side) -> ImageLosses:
        """Read the losses of individual images: the compared training images or the validation images."""
        with self.reading(self.IMAGE_LOSSES) as path, np.load(path, allow_pickle=False) as file:
            pixels, index = (file[f"{side}_{name}"].astype(np.int64) for name in ("pixels", "index"))
            return ImageLosses(file[side], pixels, index)

    def read_showcase_masks(self) -> npt.NDArray[np.uint8]:
        """Read the predicted masks of the first showcase image after each epoch: epochs x H x W."""
        with self.reading(self.SHOWCASE_MASKS) as path, np.load(path, allow_pickle=False) as file:
            return np.asarray(file["masks"], dtype=np.uint8)

    def read_timing(self) -> RunTiming | None:
        """Read the times of this training run; None if they are unknown because DVC restored the run."""
        try:
            timing = self.read_json(self.TIMING, RunTiming)
            return timing if timing.key == self.record.key else None
        except PipelineError:
            return None

    def write_history(self, rows: Sequence[Mapping[str, float | int | str]], classes: Sequence[str]) -> None:
        """Write `history.csv`; the keys of each row are the columns."""
        columns = [*self.HISTORY_COLUMNS, *(f"{side}_iou_{name}" for side in ("train", "val") for name in classes)]
        self.write_table(self.HISTORY, columns, ([row[column] for column in columns] for row in rows))

    def write_image_losses(self, train: ImageLosses, validation: ImageLosses) -> None:
        """Write the losses of individual images."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        for side, found in (("train", train), ("validation", validation)):
            arrays |= {side: found.losses, f"{side}_index": found.index, f"{side}_pixels": found.pixels}
        self.write_arrays(self.IMAGE_LOSSES, arrays)

    def write_showcase_masks(self, masks: npt.NDArray[np.uint8]) -> None:
        """Write the predicted masks of the first showcase image: epochs x H x W."""
        self.write_arrays(self.SHOWCASE_MASKS, {"masks": masks})
