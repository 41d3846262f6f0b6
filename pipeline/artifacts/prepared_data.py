"""`data/prepared/`: images and masks as arrays, one row of `samples.csv` per image."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pipeline.artifacts.folder import ArtifactFolder, Record
from pipeline.errors import PipelineError

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "validation", "test")
SHOWCASE = "showcase"  # a folder like a split, with images that are in no split

Images = npt.NDArray[np.uint8 | np.uint16]
Masks = npt.NDArray[np.uint8]  # class index or the ignore value


@dataclass(frozen=True)
class SegmentationClass(Record):
    """A class of the masks; its index is its place in `Dataset.classes`."""

    name: str
    color: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
    foreground: bool  # whether the class is the object of interest: its IoU is the foreground IoU
    is_boundary: bool = False  # a trimap's boundary around the foreground, where it and the background mix


@dataclass(frozen=True)
class Dataset(Record):
    """`classes.json`: what the data is."""

    source: str  # value of data.source
    title: str  # for a person: "cut-out animals over photographs"
    credit: str  # a sentence on the origin and license of the images; may be empty
    classes: tuple[SegmentationClass, ...]
    fingerprint: str  # SHA-256 over all prepared arrays, hex


@dataclass(frozen=True)
class DatasetStats(Record):
    """`dataset_stats.json`: what the files were that the data was prepared from."""

    formats: dict[str, int]  # number of images by format: "RGB", "gray", "palette", "16-bit gray", ...; may be empty
    rotated: int  # images that were rotated by their EXIF orientation
    transparent: int  # images with transparent parts, which became black
    compared: int  # images that were compared for duplicates; 0 if the source cannot have any
    duplicates: int  # pairs of near-duplicates within a split; across splits there are none
    first_duplicates: tuple[tuple[str, str], ...]  # ids of the first ten such pairs
    notices: tuple[str, ...] = ()  # sentences on possible mistakes in the data, for its owner to judge


@dataclass(frozen=True)
class Split:
    """Samples of a split: `images` N x H x W x C (uint8 or uint16), `masks` N x H x W (uint8), `ids` N names."""

    images: Images
    masks: Masks
    ids: tuple[str, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images, px."""
        height, width = self.images.shape[1:3]
        return height, width

    @property
    def num_channels(self) -> int:
        """Number of channels of the images."""
        return int(self.images.shape[3])

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: npt.NDArray[np.int64]) -> Split:
        """Copy the samples at these places into memory."""
        return Split(self.images[index], self.masks[index], tuple(self.ids[i] for i in index))


class PreparedData(ArtifactFolder):
    """The prepared data: a folder of two arrays per split, and tables of all samples."""

    command = "dvc repro prepare"
    IMAGES = "images.npy"  # N x H x W x C, uint8 or uint16
    MASKS = "masks.npy"  # N x H x W, uint8
    SAMPLES = "samples.csv"  # SAMPLE_COLUMNS, then share_<class>: shares of the evaluated pixels
    SAMPLE_COLUMNS = ("id", "split", "groups", "height", "width", "sha256", "pixels")  # groups: factor=name;...
    CLASSES = MAIN = "classes.json"
    SKIPPED = "skipped.csv"  # id, reason
    STATS = "dataset_stats.json"

    @cached_property
    def dataset(self) -> Dataset:
        """Title, classes and fingerprint of the data."""
        return self.read_json(self.CLASSES, Dataset)

    @cached_property
    def stats(self) -> DatasetStats:
        """Statistics of the files that the data was prepared from."""
        return self.read_json(self.STATS, DatasetStats)

    @cached_property
    def samples(self) -> pd.DataFrame:
        """One row per sample, in the order of the arrays: `SAMPLE_COLUMNS`, then share_<class>."""
        shares = {f"share_{item.name}": float for item in self.dataset.classes}
        numbers = dict.fromkeys(("height", "width", "pixels"), int)
        dtypes = {**dict.fromkeys(self.SAMPLE_COLUMNS, str), **numbers, **shares}
        return self.read_table(self.SAMPLES, tuple(dtypes), dtypes, keep_default_na=False)

    @cached_property
    def skipped(self) -> pd.DataFrame:
        """Images that were left out: id, reason."""
        return self.read_table(self.SKIPPED, ("id", "reason"), {"id": str, "reason": str}, keep_default_na=False)

    def open_split(self, split: str) -> Split:
        """Map a split's arrays into memory without reading them.

        Raises:
            PipelineError: A file is missing, or images, masks and `samples.csv` disagree.
        """
        with self.reading(f"{split}/{self.IMAGES}") as path:
            images = np.load(path, mmap_mode="r", allow_pickle=False)
        with self.reading(f"{split}/{self.MASKS}") as path:
            masks = np.load(path, mmap_mode="r", allow_pickle=False)
        with self.reading(self.SAMPLES) as path, path.open(encoding="utf-8", newline="") as file:
            ids = tuple(row["id"] for row in csv.DictReader(file) if row["split"] == split)
        if not len(images) == len(masks) == len(ids) or images.shape[:3] != masks.shape:
            raise PipelineError(
                f"{self.display(split)} is inconsistent: {images.shape} images, {masks.shape} masks, {len(ids)} rows "
                f"in {self.SAMPLES}. Run `{self.redo_command}` again."
            )
        return Split(images, masks, ids)

    def read_image(self, split: str, row: int) -> Images:
        """Read one image of a split: H x W x C."""
        with self.reading(f"{split}/{self.IMAGES}") as path:
            return np.array(np.load(path, mmap_mode="r", allow_pickle=False)[row])

    def read_mask(self, split: str, row: int) -> Masks:
        """Read one mask of a split: H x W."""
        with self.reading(f"{split}/{self.MASKS}") as path:
            return np.array(np.load(path, mmap_mode="r", allow_pickle=False)[row], dtype=np.uint8)

    def array_paths(self, split: str) -> tuple[Path, Path]:
        """Return the paths of a split's images and masks."""
        return self.path / split / self.IMAGES, self.path / split / self.MASKS

    def write_tables(
        self,
        dataset: Dataset,
        stats: DatasetStats,
        samples: Iterable[Sequence[str]],
        skipped: Iterable[tuple[str, str]],
    ) -> None:
        """Write everything but the arrays; the rows have the columns of `samples` and `skipped`."""
        shares = [f"share_{item.name}" for item in dataset.classes]
        self.write_table(self.SAMPLES, [*self.SAMPLE_COLUMNS, *shares], samples)
        self.write_table(self.SKIPPED, ("id", "reason"), skipped)
        self.write_json(self.STATS, stats)
        self.write_json(self.CLASSES, dataset)


def list_groups(groups: pd.Series[str]) -> pd.DataFrame:
    """List the groups of samples from their column `groups`: a row per sample and factor, with `factor` and `name`.

    A semicolon separates groups only if a factor follows, since names may contain it.
    """
    parts = groups.str.split(r";(?=\w+=)", regex=True).explode()
    return parts.str.extract(r"(?s)(?P<factor>[^=]*)=(?P<name>.*)").dropna()


def compute_class_shares(
    samples: pd.DataFrame, split: str, classes: Sequence[SegmentationClass]
) -> npt.NDArray[np.float64]:
    """Compute the share of each class in the evaluated pixels of a split: over pixels, not images, as the loss.

    Raises:
        PipelineError: No pixel of the split is evaluated.
    """
    counts = samples[[f"share_{item.name}" for item in classes]].mul(samples["pixels"], axis=0)
    pixels = counts.groupby(samples["split"]).sum()
    if split not in pixels.index or not pixels.loc[split].sum():
        raise PipelineError(
            f"data/prepared/{PreparedData.SAMPLES}: no pixel of {split} is evaluated, so nothing can be "
            "compared. Add images whose masks are not all ignored."
        )
    return (pixels.loc[split] / pixels.loc[split].sum()).to_numpy(dtype="float64")
