"""`data/prepared/`: images and masks as arrays, and tables with one row per image."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pipeline.artifacts.folder import ArtifactFolder, Record
from pipeline.artifacts.image_stack import ImageStack
from pipeline.errors import PipelineError

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "validation", "test")
COMPOSITES = "composites"  # value of data.source for composed images
SHOWCASE = "showcase"  # a folder like a split's, with images that are in no split

Images = npt.NDArray[np.uint8 | np.uint16]  # H x W x C
Mask = npt.NDArray[np.uint8]  # H x W, class index or the ignore value


@dataclass(frozen=True)
class SegmentationClass(Record):
    """A class of the masks; its value in prepared masks is its index in `Dataset.classes`."""

    name: str
    color: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
    foreground: bool  # whether the class is an object of interest, which counts for the foreground IoU
    is_boundary: bool = False  # whether it is the boundary class of a trimap, where foreground and background mix

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The color as red, green and blue, 0 to 255."""
        red, green, blue = bytes.fromhex(self.color[1:])
        return red, green, blue

    @property
    def opacity(self) -> float:
        """The opacity of the class in a cut-out of the foreground, 0 to 1."""
        return 1.0 if self.foreground else 0.5 if self.is_boundary else 0.0


@dataclass(frozen=True)
class Dataset(Record):
    """`classes.json`: origin, classes and fingerprint of the data."""

    source: str  # value of data.source
    title: str  # short description for readers, such as "cut-out animals over photographs"
    credit: str  # a sentence on the origin and license of the images; may be empty
    classes: tuple[SegmentationClass, ...]
    fingerprint: str  # SHA-256 of all prepared images and masks, as hexadecimal digits
    folds: int | None = None  # number of folds of the cross-validation; None without one
    # Values, by key, of the parameters that define how images are read and what mask values mean, such as
    # `data.slices.window`.
    input_keys: dict[str, Any] = field(default_factory=dict)

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of their indices."""
        return [item.name for item in self.classes]

    @property
    def has_exact_masks(self) -> bool:
        """Whether masks cannot be wrong, because training and validation images were composed with them."""
        return self.source == COMPOSITES

    @property
    def has_object_borders(self) -> bool:
        """Whether objects have a border class, drawn around each of them."""
        return any(item.is_boundary for item in self.classes)


@dataclass(frozen=True)
class DatasetStats(Record):
    """`dataset_stats.json`: statistics of the files that the data was prepared from."""

    formats: dict[str, int]  # number of images by format: "RGB", "gray", "palette", "16-bit gray", ...; may be empty
    rotated: int  # number of images that were rotated by their EXIF orientation
    transparent: int  # number of images with transparent parts, which became black
    compared: int  # number of images searched for near-duplicates; 0 if the source cannot have any
    duplicates: int  # number of pairs of near-duplicates within a split; there are none across splits
    first_duplicates: tuple[tuple[str, str], ...]  # ids of the first ten of these pairs
    notices: tuple[str, ...] = ()  # sentences on possible mistakes in the data, which its owner should check


@dataclass(frozen=True)
class Split:
    """Samples of a split: N images, their masks of the same sizes, and their ids."""

    images: ImageStack[np.uint8 | np.uint16]
    masks: ImageStack[np.uint8]
    ids: tuple[str, ...]
    instances: ImageStack[np.uint16] | None = None  # number of the object at each pixel; None without numbers

    @classmethod
    def of(cls, images: Images, masks: Mask) -> Split:
        """Create a split from images N x H x W x C and masks N x H x W; ids are the indices."""
        return cls(ImageStack.of(images), ImageStack.of(masks), tuple(map(str, range(len(images)))))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images, px."""
        assert self.images.size is not None
        return self.images.size

    @property
    def num_channels(self) -> int:
        """Number of channels of the images."""
        return int(self.images.pixels.shape[1])

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: npt.NDArray[np.int64]) -> Split:
        """Select samples by their indices, without copying their pixels."""
        return Split(
            self.images.take(index),
            self.masks.take(index),
            tuple(self.ids[i] for i in index),
            self.instances.take(index) if self.instances is not None else None,
        )


class PreparedData(ArtifactFolder):
    """The `data/prepared/` folder: one folder per split with its images and masks, and tables of all samples."""

    command = "dvc repro prepare"
    # All images of a split, N x H x W x C, or their pixels one image after another, P x C, if their sizes differ.
    IMAGES = "images.npy"  # uint8 or uint16
    MASKS = "masks.npy"  # N x H x W or P, uint8
    # Number of the object at each pixel, in the layout of MASKS, uint16; 0 is background. Only if the source's masks
    # or annotations number objects. Networks do not learn from it, so it is not part of the fingerprint.
    INSTANCES = "instances.npy"
    SAMPLES = "samples.csv"  # SAMPLE_COLUMNS, then share_<class>: share of the class in the evaluated pixels
    # `groups` has the format factor=name;factor=name. `height` and `width` are the file's, in px. `fold` is empty for
    # test images, and without cross-validation. With it, all images that are in a fold have the split "train".
    SAMPLE_COLUMNS = (
        "id", "split", "groups", "fold", "height", "width", "prepared_height", "prepared_width", "sha256", "pixels",
    )  # fmt: skip
    CLASSES = MAIN = "classes.json"
    SKIPPED = "skipped.csv"  # columns id and reason
    STATS = "dataset_stats.json"

    @cached_property
    def dataset(self) -> Dataset:
        """Origin, classes and fingerprint of the data."""
        return self.read_json(self.CLASSES, Dataset)

    @cached_property
    def stats(self) -> DatasetStats:
        """Statistics of the files that the data was prepared from."""
        return self.read_json(self.STATS, DatasetStats)

    @cached_property
    def samples(self) -> pd.DataFrame:
        """Table with one row per sample, in the same order as the arrays, and the columns of `samples.csv`."""
        dtypes = self.list_sample_types(self.dataset.classes)
        return self.read_table(self.SAMPLES, tuple(dtypes), dtypes)

    @classmethod
    def list_sample_types(cls, classes: Sequence[SegmentationClass]) -> dict[str, type]:
        """List the columns of `samples.csv` and their types."""
        shares = {f"share_{item.name}": float for item in classes}
        numbers = dict.fromkeys(("height", "width", "prepared_height", "prepared_width", "pixels"), int)
        return {**dict.fromkeys(cls.SAMPLE_COLUMNS, str), **numbers, **shares}

    @cached_property
    def skipped(self) -> pd.DataFrame:
        """Table of the images that were left out, with the columns id and reason."""
        return self.read_table(self.SKIPPED, ("id", "reason"), {"id": str, "reason": str})

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have samples."""
        return tuple(split for split in SPLITS if self.array_paths(split)[0].exists())

    def open_split(self, split: str) -> Split:
        """Open a split with memory-mapped arrays, which are not read into memory.

        Raises:
            PipelineError: A file is missing, or images, masks and `samples.csv` do not match.
        """
        if split not in self._splits:
            self._splits[split] = self._open_split(split)
        return self._splits[split]

    def _open_split(self, split: str) -> Split:
        with self.reading(f"{split}/{self.IMAGES}") as path:
            images = np.load(path, mmap_mode="r", allow_pickle=False)
        with self.reading(f"{split}/{self.MASKS}") as path:
            masks = np.load(path, mmap_mode="r", allow_pickle=False)
        instances = None
        if self.instances_path(split).exists():
            with self.reading(f"{split}/{self.INSTANCES}") as path:
                instances = np.load(path, mmap_mode="r", allow_pickle=False)
        ids, sizes = self._read_sizes(split)
        try:
            if images.shape[:-1] != masks.shape or (masks.ndim == 3 and len(masks) != len(ids)):
                raise ValueError("the shapes disagree")
            if instances is not None and instances.shape != masks.shape:
                raise ValueError("the shapes disagree")
            image_stack = ImageStack.split(images.reshape(-1, images.shape[-1]), sizes)
            instance_stack = None if instances is None else ImageStack.split(instances.reshape(-1), sizes)
            return Split(image_stack, ImageStack.split(masks.reshape(-1), sizes), ids, instance_stack)
        except ValueError:
            numbers = "" if instances is None else f"that of {self.INSTANCES} is {instances.shape}, "
            raise PipelineError(
                f"{self.display(split)} is inconsistent: the shape of {self.IMAGES} is {images.shape}, that of "
                f"{self.MASKS} is {masks.shape}, {numbers}and {self.SAMPLES} has {len(ids)} rows for this split. Run "
                f"`{self.redo_command}` again."
            ) from None

    def _read_sizes(self, split: str) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
        """Read the ids of a split's samples, and their heights and widths (N x 2, px)."""
        with self.reading(self.SAMPLES) as path, path.open(encoding="utf-8", newline="") as file:
            rows = (row for row in csv.DictReader(file) if row["split"] == split)
            samples = [(row["id"], int(row["prepared_height"]), int(row["prepared_width"])) for row in rows]
        return tuple(sample for sample, _, _ in samples), np.array([size for _, *size in samples], np.int64)

    def select_fold(self, fold: int | None) -> PreparedData:
        """Return the data as a run that is validated on a fold sees it.

        Args:
            fold: The fold whose images are the validation split; those of the other folds are the training split. None
                for data without cross-validation, which is returned unchanged.

        Raises:
            PipelineError: The data has no such fold, or has folds although `fold` is None.
        """
        folds = self.dataset.folds
        if (fold is None) != (folds is None) or (fold is not None and folds is not None and fold >= folds):
            found = "has no folds" if folds is None else f"has {folds} folds"
            expected = "none" if fold is None else f"fold {fold}"
            raise PipelineError(
                f"{self.display(self.CLASSES)}: the data {found}, but {expected} was expected (data.splits.folds). Run "
                f"`{self.redo_command}` again."
            )
        if fold is None:
            return self
        return self._folds.setdefault(fold, _FoldOfData(self, fold))

    @cached_property
    def _folds(self) -> dict[int, PreparedData]:
        return {}

    @cached_property
    def _splits(self) -> dict[str, Split]:
        return {}

    def array_paths(self, split: str) -> tuple[Path, Path]:
        """Return the paths of a split's image and mask arrays."""
        return self.path / split / self.IMAGES, self.path / split / self.MASKS

    def instances_path(self, split: str) -> Path:
        """Return the path of the array of a split's object numbers, which exists only if objects are numbered."""
        return self.path / split / self.INSTANCES

    def write_tables(
        self,
        dataset: Dataset,
        stats: DatasetStats,
        samples: Iterable[Sequence[str]],
        skipped: Iterable[tuple[str, str]],
    ) -> None:
        """Write all files except the arrays; rows have the columns of the properties `samples` and `skipped`."""
        shares = [f"share_{item.name}" for item in dataset.classes]
        self.write_table(self.SAMPLES, [*self.SAMPLE_COLUMNS, *shares], samples)
        self.write_table(self.SKIPPED, ("id", "reason"), skipped)
        self.write_json(self.STATS, stats)
        self.write_json(self.CLASSES, dataset)


class _FoldOfData(PreparedData):
    """Prepared data in which the images of one fold are the validation split. Its arrays are those of the data."""

    def __init__(self, data: PreparedData, fold: int) -> None:
        super().__init__(data.path, data.root, data.create_all)
        self._data, self._fold = data, fold

    @cached_property
    def samples(self) -> pd.DataFrame:
        samples = self._data.samples
        is_validation = samples["fold"] == str(self._fold)
        return samples.assign(split=samples["split"].mask(is_validation, "validation"))

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(split for split in SPLITS if split == "validation" or split in self._data.splits)

    def _open_split(self, split: str) -> Split:
        if split not in ("train", "validation"):
            return self._data.open_split(split)
        learned = self._data.open_split("train")
        rows = self._data.samples
        is_validation = (rows.loc[rows["split"] == "train", "fold"] == str(self._fold)).to_numpy()
        return learned.take(np.flatnonzero(is_validation == (split == "validation")))

    def select_fold(self, fold: int | None) -> PreparedData:
        return self._data.select_fold(fold)


def list_groups(groups: pd.Series[str]) -> pd.DataFrame:
    """Parse the samples' column `groups` into a table with one row per sample and factor: `factor` and `name`.

    Group names may contain semicolons, so a semicolon separates two groups only if another `factor=` follows.
    """
    parts = groups.str.split(r";(?=\w+=)", regex=True).explode()
    return parts.str.extract(r"(?s)(?P<factor>[^=]*)=(?P<name>.*)").dropna()


def compute_class_shares(
    samples: pd.DataFrame, split: str, classes: Sequence[SegmentationClass]
) -> npt.NDArray[np.float64]:
    """Compute each class's share of all evaluated pixels in a split, giving every pixel the same weight.

    Raises:
        PipelineError: No pixel of the split is evaluated.
    """
    counts = samples[[f"share_{item.name}" for item in classes]].mul(samples["pixels"], axis=0)
    pixels = counts.groupby(samples["split"]).sum()
    if split not in pixels.index or not pixels.loc[split].sum():
        raise PipelineError(
            f"data/prepared/{PreparedData.SAMPLES}: the split {split} has no evaluated pixels, so runs cannot be "
            "compared. Add images in which some pixels are not ignored."
        )
    return (pixels.loc[split] / pixels.loc[split].sum()).to_numpy(dtype="float64")
