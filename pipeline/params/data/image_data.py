"""Schema of `data` for images and masks of users: a folder, a COCO export, Oxford-IIIT Pet."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from pipeline.params.data.fields import ClassName, Color, ImageSize, MaskValues, Share, TrainImages
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
    mask_value: MaskValues


class DisplayedClass(Section):
    """Name, color and role of a class."""

    name: ClassName
    color: Color
    foreground: bool
    is_boundary: bool = False


class FolderClass(DisplayedClass, ClassValue):
    """A class of masks."""


class CocoClass(DisplayedClass):
    """A class of annotations with its categories; null: pixels without annotation."""

    category: str | list[str] | None

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories of the class; none of the class of pixels without annotation."""
        return (self.category,) if isinstance(self.category, str) else tuple(self.category or ())


class SplitFile(Section):
    """A table with the split and the group of each image, and the names of its columns."""

    file: str = Field(min_length=1)  # CSV, relative to the folder of the source
    id: str = Field(min_length=1)
    split: str | None
    group: str | None


class SplitShares(Section):
    """Shares of images, or of groups, for validation and test; training gets the rest."""

    validation: Share
    test: Share
    split_file: SplitFile | None = None  # None: splits.csv, if it exists
    group_regex: Annotated[str | None, BeforeValidator(_check_pattern)] = None  # for images without a group
    stratify: bool = False  # every class in every split, if there are enough images


class Instances(Section):
    """Masks that number objects, converted to three classes: background, inside, border."""

    border: int = Field(ge=1, le=64)  # px of the mask


class NearDuplicates(Section):
    """Limits of near-duplicates, which leak training data into evaluation if they are in two splits.

    Copies that were saved again differ in 0 to 4 bits of the hash, and their thumbnails correlate at 0.97 or more;
    images of different scenes stay below 0.87. Images of one kind of scene (fundus, a fixed camera) need stricter
    limits.
    """

    max_distance: int = Field(default=8, ge=0, le=64)  # different bits of 64-bit perceptual hashes
    min_correlation: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)] = 0.95  # of thumbnails of 16 x 16 px
    distinct: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = Field(default_factory=list)  # ids


class ImageMaskFolder(Section):
    """Images and masks in a folder."""

    path: str = Field(min_length=1)
    resize: Resize
    splits: SplitShares
    on_invalid: OnInvalid = "error"
    mask_orientation: MaskOrientation | None = None  # pixels that masks of images with an EXIF orientation cover
    near_duplicates: NearDuplicates = NearDuplicates()


class ExternalTestFolder(ImageMaskFolder):
    """A folder whose test split replaces that of the composites; its classes are those of the composites."""

    classes: Annotated[list[ClassValue], Field(min_length=2)]
    ignore_value: MaskValues | None
    mask_threshold: MaskThreshold | None = None


class ImageMaskData(ImageMaskFolder):
    """Images and masks for training."""

    image_size: ImageSize
    channels: Annotated[int, Field(ge=1, le=32)] | None = None  # None: RGB, or one if all images are 16-bit gray
    showcase_ids: list[str] | None  # None: a training image is chosen; []: no showcase, in code only
    seed: int = Field(ge=0)
    max_train_images: TrainImages | None


class FolderData(ImageMaskData):
    """A folder with `images/`, `masks/` and an optional list of splits."""

    source: Literal["image_mask_folder"]
    classes: Annotated[list[FolderClass], Field(min_length=2, max_length=255)]  # the index 255 is ignored
    ignore_value: MaskValues | None
    mask_threshold: MaskThreshold | None = None
    instances: Instances | None = None


class CocoData(ImageMaskData):
    """A folder with `images/` and a file of COCO instances, as annotation tools export it."""

    source: Literal["coco"]
    annotations: str = Field(min_length=1)  # JSON, relative to the folder
    classes: Annotated[list[CocoClass], Field(min_length=2, max_length=255)]
    ignore_value: list[str] = Field(default_factory=list)  # categories whose pixels are ignored
    crowd: Crowd = "ignore"  # annotations with iscrowd: 1 as ignored pixels, or as objects


class OxfordPetsData(ImageMaskData):
    """Oxford-IIIT Pet with its published test split and trimaps."""

    source: Literal["oxford_iiit_pet"]
