"""`evaluation/<run>/`: scores of a run's best weights on every split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.artifacts.folder import ArtifactFolder, Record, drop_nan
from pipeline.artifacts.object_scores import ObjectEvaluation, ObjectScores
from pipeline.artifacts.scores import Calibration, DistanceScale, Scores

if TYPE_CHECKING:
    import pandas as pd

SURFACE_SCORES = ("boundary_iou", "nsd", "hd95", "asd")  # scores of outlines by image and class
# Splits whose masks are checked. Test is not: masks corrected after looking at predictions would favor the network.
CHECKED_SPLITS = ("train", "validation")
FEATURE_MAPS = ("skip", "below", "before", "after")  # shapes: K x H x W, K x H x W, h x w, h x w; uint8


@dataclass(frozen=True)
class PredictionCost(Record):
    """Cost of a prediction with a run's network, and of its training, regardless of the machine."""

    parameters: int
    multiply_accumulates: int  # of one image at the prepared size, or of one tile of native images
    model_bytes: int  # size of the weights' file
    # Memory of a training step: weights, gradients, optimizer state and saved activations; None in older evaluations.
    training_bytes: int | None = None


@dataclass(frozen=True)
class RunEvaluation(Record):
    """`metrics.json`: scores of a run, all None if it diverged in its first epoch."""

    run: str
    key: str  # run key of the evaluated run
    gap: float | None  # val_loss - train_loss at the best epoch
    gap_last: float | None  # the same at the last epoch
    train: Scores | None  # on the fixed subset of the training images
    validation: Scores | None
    test: Scores | None
    showcase: tuple[Scores, ...]  # one entry per showcase image
    train_calibration: Calibration | None
    val_calibration: Calibration | None
    cost: PredictionCost | None = None
    objects: ObjectEvaluation | None = None  # None if objects are not scored
    distances: DistanceScale | None = None  # of `surfaces.csv`; None if the run has no scores


@dataclass(frozen=True)
class ClassPixels:
    """Evaluated pixels of N images by class, each N x C."""

    truth: npt.NDArray[np.int64]  # of the class in the ground truth
    predicted: npt.NDArray[np.int64]  # predicted as the class
    correct: npt.NDArray[np.int64]  # both

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.truth)


class EvaluationFolder(ArtifactFolder):
    """The `evaluation/<run>/` folder."""

    command = "pipeline evaluate {name}"
    METRICS = MAIN = "metrics.json"
    # PER_IMAGE_COLUMNS, then iou_<class>, then loss_<class>: mean over the pixels of that true class, nats per pixel.
    # Undefined values are empty: all scores of an image without evaluated pixels, scores of a class in neither mask.
    PER_IMAGE = "per_image.csv"
    PER_IMAGE_COLUMNS = ("id", "split", "loss", "accuracy", "mean_iou", "foreground_iou")
    CLASS_PIXELS = "class_pixels.npz"  # arrays <split>_<field of ClassPixels>, in the order of the split
    # Of the splits CHECKED_SPLITS, or with cross-validation only of the validation images; `score` is the fraction of
    # the object whose mask the run contradicts (see `analysis.label_errors`), undefined scores are empty.
    CONTRADICTIONS = "contradictions.csv"
    CONTRADICTION_COLUMNS = ("id", "split", "score")
    CONTRADICTED = "contradicted"  # folder like EXAMPLES, of the masks with high scores; may be missing
    # Scores of outlines on validation and test, one row per image and class that is in one of its masks; undefined
    # scores are empty. Distances are in the unit of `RunEvaluation.distances`.
    SURFACES = "surfaces.csv"
    SURFACE_COLUMNS = ("id", "split", "class", *SURFACE_SCORES)
    CALIBRATION = "calibration.csv"  # one row per confidence bin of the compared training and the validation images
    CALIBRATION_COLUMNS = ("split", "low", "high", "pixels", "confidence", "accuracy")  # last two: empty in empty bins
    # Pixels by ground truth and prediction, of the compared training images, validation and test. Pairs of classes
    # without pixels are left out, so that the file stays small with many classes.
    CONFUSION = "confusion.csv"
    CONFUSION_COLUMNS = ("split", "actual", "predicted", "pixels")
    # Scores of the objects of each compared training image, validation and test image, as in `ObjectScores`; undefined
    # scores are empty. Only if objects are scored.
    OBJECTS = "objects.csv"
    OBJECT_COLUMNS = (
        "id", "split", "objects", "predicted", "matched", "merges", "splits", "missed", "false_objects", "precision",
        "recall", "f1", "average_precision", "mean_average_precision", "panoptic_quality", "aggregated_jaccard",
    )  # fmt: skip
    FEATURE_MAPS = "feature_maps.npz"  # arrays FEATURE_MAPS of the first showcase image; only for a U-Net
    OVERVIEW = "overview.png"  # image, ground truth and prediction of a showcase and a validation image
    EXAMPLES = "examples"  # folder with <sample id>.png: predicted class indices, 8 bit

    @cached_property
    def metrics(self) -> RunEvaluation:
        """Scores by split."""
        return self.read_json(self.METRICS, RunEvaluation)

    def read_per_image(self) -> pd.DataFrame:
        """Read the scores of individual images: one row per image of every split."""
        return self.read_table(self.PER_IMAGE, self.PER_IMAGE_COLUMNS, {"id": str, "split": str})

    def read_calibration(self) -> pd.DataFrame:
        """Read the calibration: one row per confidence bin."""
        return self.read_table(self.CALIBRATION, self.CALIBRATION_COLUMNS, {"split": str})

    def read_class_pixels(self, split: str) -> ClassPixels:
        """Read the number of pixels of every image of a split by class."""
        arrays = self.read_arrays(self.CLASS_PIXELS)
        with self.reading(self.CLASS_PIXELS):
            return ClassPixels(*(arrays[f"{split}_{field.name}"].astype(np.int64) for field in fields(ClassPixels)))

    def read_contradictions(self) -> pd.DataFrame:
        """Read the scores of the masks, one row per image."""
        types = {"id": str, "split": str}
        return self.read_table(self.CONTRADICTIONS, self.CONTRADICTION_COLUMNS, types)

    def read_surfaces(self) -> pd.DataFrame:
        """Read the scores of outlines: one row per image and class."""
        types = {"id": str, "split": str, "class": str}
        return self.read_table(self.SURFACES, self.SURFACE_COLUMNS, types)

    def read_confusion(self) -> pd.DataFrame:
        """Read the confusion matrices: one row per split, true class and predicted class."""
        types = {"split": str, "actual": str, "predicted": str}
        return self.read_table(self.CONFUSION, self.CONFUSION_COLUMNS, types)

    def read_objects(self) -> pd.DataFrame:
        """Read the scores of the objects of individual images: one row per compared image."""
        return self.read_table(self.OBJECTS, self.OBJECT_COLUMNS, {"id": str, "split": str})

    def read_feature_maps(self) -> dict[str, npt.NDArray[np.uint8]]:
        """Read a U-Net's feature maps on the first showcase image by name; empty for other networks."""
        if not (self.path / self.FEATURE_MAPS).exists():
            return {}
        arrays = self.read_arrays(self.FEATURE_MAPS)
        with self.reading(self.FEATURE_MAPS):
            return {name: np.asarray(arrays[name], dtype=np.uint8) for name in FEATURE_MAPS}

    def list_examples(self) -> frozenset[str]:
        """Return the ids of the samples whose predicted masks are stored."""
        with self.reading(self.EXAMPLES) as path:
            found = frozenset(file.stem for file in path.iterdir() if file.suffix == ".png")
            if not found:
                raise ValueError("it has no images")
            return found

    def read_example(self, sample: str) -> npt.NDArray[np.uint8]:
        """Read the predicted mask of a sample: H x W, class indices."""
        return self._read_mask(f"{self.EXAMPLES}/{sample}.png")

    def read_contradicted(self, sample: str) -> npt.NDArray[np.uint8] | None:
        """Read the prediction that contradicts a sample's mask: H x W, class indices; None if it is not kept."""
        name = f"{self.CONTRADICTED}/{sample}.png"
        return self._read_mask(name) if (self.path / name).exists() else None

    def _read_mask(self, name: str) -> npt.NDArray[np.uint8]:
        with self.reading(name) as path, Image.open(path) as image:
            if image.mode not in ("L", "P"):  # in both modes, pixel values are the indices
                raise ValueError(f"it must contain 8-bit class indices, but its mode is {image.mode}")
            return np.asarray(image, dtype=np.uint8)

    def write_per_image(self, classes: Sequence[str], rows: Iterable[Sequence[str | float]]) -> None:
        """Write `per_image.csv`."""
        by_class = (f"{column}_{name}" for column in ("iou", "loss") for name in classes)
        self.write_table(self.PER_IMAGE, [*self.PER_IMAGE_COLUMNS, *by_class], rows)

    def write_confusion(self, matrices: Mapping[str, npt.NDArray[np.int64]], classes: Sequence[str]) -> None:
        """Write `confusion.csv`; each matrix (C x C) counts pixels by ground truth (rows) and prediction (columns)."""
        rows = (
            (split, classes[actual], classes[predicted], int(matrix[actual, predicted]))
            for split, matrix in matrices.items()
            for actual, predicted in np.argwhere(matrix)
        )
        self.write_table(self.CONFUSION, self.CONFUSION_COLUMNS, rows)

    def write_class_pixels(self, confusions: Mapping[str, npt.NDArray[np.int64]]) -> None:
        """Write `class_pixels.npz` from the confusion matrix of every image (N x C x C) by split."""
        arrays = {}
        for split, matrices in confusions.items():
            arrays[f"{split}_truth"] = matrices.sum(axis=2)
            arrays[f"{split}_predicted"] = matrices.sum(axis=1)
            arrays[f"{split}_correct"] = np.diagonal(matrices, axis1=1, axis2=2)
        self.write_arrays(self.CLASS_PIXELS, arrays)

    def write_objects(self, rows: Iterable[tuple[str, str, ObjectScores]]) -> None:
        """Write `objects.csv` from the id, the split and the scores of each image."""
        columns = self.OBJECT_COLUMNS[2:]
        self.write_table(
            self.OBJECTS,
            self.OBJECT_COLUMNS,
            # None is written as an empty cell.
            ((sample, split, *(getattr(scores, column) for column in columns)) for sample, split, scores in rows),
        )

    def write_examples(self, masks: Mapping[str, npt.NDArray[np.uint8]]) -> None:
        """Add predicted masks (H x W, class indices) by sample id."""
        self._write_masks(self.EXAMPLES, masks)

    def write_contradictions(self, scores: Mapping[str, tuple[Sequence[str], npt.NDArray[np.float64]]]) -> None:
        """Write `contradictions.csv` from the ids and scores of the images by split."""
        rows = (
            (sample, split, drop_nan(score))
            for split, (ids, of_split) in scores.items()
            for sample, score in zip(ids, of_split.tolist(), strict=True)
        )
        self.write_table(self.CONTRADICTIONS, self.CONTRADICTION_COLUMNS, rows)

    def write_contradicted(self, masks: Mapping[str, npt.NDArray[np.uint8]]) -> None:
        """Add predictions (H x W, class indices) that contradict masks, by sample id."""
        if masks:
            self._write_masks(self.CONTRADICTED, masks)

    def _write_masks(self, folder: str, masks: Mapping[str, npt.NDArray[np.uint8]]) -> None:
        (self.path / folder).mkdir(exist_ok=True)
        for sample, mask in masks.items():
            Image.fromarray(mask).save(self.path / folder / f"{sample}.png")
