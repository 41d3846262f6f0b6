"""Schema of `data` for images and masks of users: a folder, a COCO export, Oxford-IIIT Pet."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from pipeline.params.data.fields import ClassName, Color, MaskValues, PreparedSize, Share, TrainImages, list_sides
from pipeline.params.section import Section

Resize = Literal["stretch", "letterbox"]
OnInvalid = Literal["error", "skip"]
MaskThreshold = Annotated[int, Field(ge=1, le=65_535)]  # of soft masks; lower values are the class of the lower value
MaskOrientation = Literal["upright", "stored"]
Crowd = Literal["ignore", "object"]


def _check_pattern(value: object) -> object:
    if value is None:
        return value
    if not isinstance(value, str):
        raise ValueError("must be a regular expression in quotes")
    try:
        groups = re.compile(value).groups
    except re.error as error:
        raise ValueError(f"must be a regular expression ({error})") from None
    if groups != 1:
        raise ValueError("must be a regular expression with one ( ) around the group, such as '^(p[0-9]+)_'")
    return value


class ClassValue(Section):
    """Value of a class in masks."""

    name: ClassName
    """Letters, digits, `_`, `-` and spaces."""
    mask_value: MaskValues
    """Value or values in the masks: integers, or colors in quotes."""


class DisplayedClass(Section):
    """Name, color and role of a class."""

    name: ClassName
    """Letters, digits, `_`, `-` and spaces."""
    color: Color
    """Color in the report, in quotes."""
    foreground: bool
    """Whether the class is an object of interest."""
    is_boundary: bool = False
    """Whether the class is an uncertain band around the foreground."""


class FolderClass(DisplayedClass, ClassValue):
    """A class of masks."""


class CocoClass(DisplayedClass):
    """A class of annotations with its categories; null: pixels without annotation."""

    category: str | list[str] | None
    """Category or categories; null: pixels without annotation."""

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories of the class; none of the class of pixels without annotation."""
        return (self.category,) if isinstance(self.category, str) else tuple(self.category or ())


class SplitFile(Section):
    """A table with the split and the group of each image, and the names of its columns."""

    file: str = Field(min_length=1)
    """CSV file, relative to the folder."""
    id: str = Field(min_length=1)
    """Column of the id: the path below `images/` without the suffix."""
    split: str | None
    """Column of the split; null: none."""
    group: str | None
    """Column of the group; null: none."""


class SplitShares(Section):
    """Shares of images, or of groups, for validation and test; training gets the rest."""

    validation: Share
    """Fraction of the images, or of the groups, for validation."""
    test: Share
    """Fraction for the test."""
    split_file: SplitFile | None = None
    """Table of splits and groups; null: `splits.csv`, if it exists."""
    group_regex: Annotated[str | None, BeforeValidator(_check_pattern)] = None
    """Regular expression with one `( )` around the group in the name; null: none."""
    stratify: bool = False
    """Whether every class gets into every split, as far as possible."""


class Instances(Section):
    """Masks that number objects, converted to three classes: background, inside, border."""

    border: int = Field(ge=1, le=64)
    """Width of the border between objects, in px of the mask."""


class NearDuplicates(Section):
    """Limits of near-duplicates, which leak training data into evaluation if they are in two splits.

    Copies that were saved again differ in 0 to 4 bits of the hash, and their thumbnails correlate at 0.97 or more;
    images of different scenes stay below 0.87. Images of one kind of scene (fundus, a fixed camera) need stricter
    limits.
    """

    max_distance: int = Field(default=8, ge=0, le=64)
    """Largest number of different bits of 64-bit perceptual hashes."""
    min_correlation: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)] = 0.95
    """Smallest correlation of thumbnails of 16 x 16 px."""
    distinct: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = Field(default_factory=list)
    """Pairs of ids that are different images."""


class ImageMaskFolder(Section):
    """Images and masks in a folder."""

    path: str = Field(min_length=1)
    """Folder of the images."""
    resize: Resize
    """`stretch`: to the prepared size; `letterbox`: keeps the aspect ratio, centered."""
    splits: SplitShares
    """Fractions or table of the splits."""
    on_invalid: OnInvalid = "error"
    """Report all issues and stop, or continue without invalid images."""
    mask_orientation: MaskOrientation | None = None
    """Pixels of an image with EXIF orientation that its mask covers; null: masks that fit both are refused."""
    near_duplicates: NearDuplicates = NearDuplicates()
    """Limits of near-duplicates."""


class ExternalTestFolder(ImageMaskFolder):
    """A folder whose test split replaces that of the composites; its classes are those of the composites."""

    classes: Annotated[list[ClassValue], Field(min_length=2)]
    """Classes of the composites, by name, with the values of these masks."""
    ignore_value: MaskValues | None
    """Mask values of ignored pixels; null: none."""
    mask_threshold: MaskThreshold | None = None
    """Values from this one on belong to the class with the higher value, in soft masks of two classes."""


class ImageMaskData(ImageMaskFolder):
    """Images and masks for training."""

    image_size: PreparedSize
    """Side of every prepared image in px, or `[height, width]`; multiples of 32 are never padded. `native`: images
    keep their own sizes, and training sees patches of `train.patch_size`.
    """
    downscale: Annotated[float, Field(ge=1, le=64, allow_inf_nan=False)] = 1.0
    """Factor by which native images are shrunk first."""
    channels: Annotated[int, Field(ge=1, le=32)] | None = None
    """Number of channels; null: RGB, or 1 if all images are 16-bit gray."""
    showcase_ids: list[str] | None
    """Images that the report shows first, in no split; null: a typical training image."""
    seed: int = Field(ge=0)
    """Seed of the split, never of a run."""
    max_train_images: TrainImages | None
    """Number of training images that a run uses; null: all."""

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the prepared images, px; None if they have their own sizes."""
        return None if isinstance(self.image_size, str) else list_sides(self.image_size)


class FolderData(ImageMaskData):
    """A folder with `images/`, `masks/` and an optional list of splits."""

    source: Literal["image_mask_folder"]
    """`images/` and `masks/`."""
    classes: Annotated[list[FolderClass], Field(min_length=2, max_length=255)]
    """Classes, in the order of their indices."""
    ignore_value: MaskValues | None
    """Mask values of ignored pixels; null: none."""
    mask_threshold: MaskThreshold | None = None
    """Values from this one on belong to the class with the higher value, in soft masks of two classes; null: exact
    values.
    """
    instances: Instances | None = None
    """Conversion of masks that number objects; null: none."""


class CocoData(ImageMaskData):
    """A folder with `images/` and a file of COCO instances, as annotation tools export it."""

    source: Literal["coco"]
    """`images/` and COCO annotations."""
    annotations: str = Field(min_length=1)
    """JSON file, relative to the folder."""
    classes: Annotated[list[CocoClass], Field(min_length=2, max_length=255)]
    """Classes, in the order of their indices."""
    ignore_value: list[str] = Field(default_factory=list)
    """Categories whose pixels are ignored."""
    crowd: Crowd = "ignore"
    """Whether annotations with `iscrowd: 1` are ignored pixels or objects."""


class OxfordPetsData(ImageMaskData):
    """Oxford-IIIT Pet with its published test split and trimaps."""

    source: Literal["oxford_iiit_pet"]
    """Oxford-IIIT Pet as published."""
