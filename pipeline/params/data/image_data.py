"""Schema of `data` for images with masks: a folder of both, a COCO export, or Oxford-IIIT Pet."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from pipeline.params.data.fields import (
    ClassName,
    Color,
    MaskValues,
    PixelSides,
    PixelUnit,
    PreparedSize,
    Share,
    TrainImages,
    list_sides,
)
from pipeline.params.section import Section

Resize = Literal["stretch", "letterbox"]
OnInvalid = Literal["error", "skip"]
MaskThreshold = Annotated[int, Field(ge=1, le=65_535)]  # for soft masks of two classes
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
    """Name of a class and its values in the masks."""

    name: ClassName
    """Name of the class: letters, digits, `_`, `-` and spaces."""
    mask_value: MaskValues
    """Value of the class in the masks, or a list of values: integers, or colors in quotes."""


class DisplayedClass(Section):
    """Name, color and role of a class."""

    name: ClassName
    """Name of the class: letters, digits, `_`, `-` and spaces."""
    color: Color
    """Color in the report, in quotes, such as `"#e69f00"`."""
    foreground: bool
    """Whether the class is an object of interest."""
    is_boundary: bool = False
    """Whether the class is an uncertain band around the foreground."""


class FolderClass(DisplayedClass, ClassValue):
    """A class and its values in the masks."""


class CocoClass(DisplayedClass):
    """A class and its COCO categories."""

    category: str | list[str] | None
    """Name of the COCO category, or a list of names. Null for exactly one class: pixels without annotations."""

    @property
    def categories(self) -> tuple[str, ...]:
        """Categories of the class. Empty for the class of pixels without annotations."""
        return (self.category,) if isinstance(self.category, str) else tuple(self.category or ())


class SplitFile(Section):
    """A CSV file with the split and the group of each image, and the names of its columns."""

    file: str = Field(min_length=1)
    """Path of the CSV file, relative to the folder."""
    id: str = Field(min_length=1)
    """Column of the image ids. An id is the path of an image below `images/`, without the extension."""
    split: str | None
    """Column of the splits. Null if the file has none."""
    group: str | None
    """Column of the groups. Null if the file has none."""


class SplitShares(Section):
    """How images are assigned to splits. Images in neither validation nor test are used for training."""

    validation: Share
    """Fraction of the images, or of the groups, for validation."""
    test: Share
    """Fraction of the images, or of the groups, for testing."""
    split_file: SplitFile | None = None
    """Table of splits and groups. If null, `splits.csv` is used if it exists."""
    group_regex: Annotated[str | None, BeforeValidator(_check_pattern)] = None
    """Regular expression that finds the group in an image's name, with one `( )` around the group. If null, names do
    not determine groups.
    """
    stratify: bool = False
    """Whether every split should contain every class, as far as possible."""


class Instances(Section):
    """Conversion of instance masks (one number per object) to three classes: background, inside and border."""

    border: int = Field(ge=1, le=64)
    """Width of an object's border, in px of the original mask."""


class NearDuplicates(Section):
    """Thresholds for near-duplicates, which leak training data into evaluation if they are in different splits.

    Resaved copies differ in 0 to 4 bits of the hash, and the correlation of their thumbnails is at least 0.97. For
    different scenes, the correlation is below 0.87. If all images show similar scenes (fundus images, a fixed camera),
    stricter thresholds are needed.
    """

    max_distance: int = Field(default=8, ge=0, le=64)
    """Maximum number of bits in which the 64-bit perceptual hashes differ."""
    min_correlation: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)] = 0.95
    """Minimum correlation of the 16 x 16 px thumbnails."""
    distinct: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = Field(default_factory=list)
    """Id pairs of images that are known to be different."""


class ImageMaskFolder(Section):
    """Images and masks in a folder."""

    path: str = Field(min_length=1)
    """Folder of the data set."""
    resize: Resize
    """`stretch` changes the aspect ratio to that of the prepared size; `letterbox` keeps it and pads the image."""
    splits: SplitShares
    """How images are assigned to splits."""
    on_invalid: OnInvalid = "error"
    """`error` reports all invalid files and stops; `skip` continues without them."""
    mask_orientation: MaskOrientation | None = None
    """How masks cover images with an EXIF orientation: the image as viewers show it (`upright`), or the pixels as they
    are in the file (`stored`). If null, masks that fit both ways are invalid.
    """
    near_duplicates: NearDuplicates = NearDuplicates()
    """Thresholds for near-duplicates."""


class ExternalTestFolder(ImageMaskFolder):
    """A folder whose test split replaces that of the composites. It has the same classes as the composites."""

    classes: Annotated[list[ClassValue], Field(min_length=2)]
    """Classes of the composites with their values in the masks of this folder."""
    ignore_value: MaskValues | None
    """Mask value of ignored pixels, or a list of values. If null, no pixels are ignored."""
    mask_threshold: MaskThreshold | None = None
    """Threshold for soft masks of two classes: pixels at or above this value belong to the class with the higher value.
    If null, masks may contain only the declared values.
    """


class ImageMaskData(ImageMaskFolder):
    """Images and masks for training."""

    image_size: PreparedSize
    """Side of every prepared image in px, or `[height, width]`. Multiples of 32 avoid padding. With `native`, images
    keep their own sizes, and training uses patches of `train.patch_size`.
    """
    downscale: Annotated[float, Field(ge=1, le=64, allow_inf_nan=False)] = 1.0
    """Factor by which native images are downscaled."""
    channels: Annotated[int, Field(ge=1, le=32)] | None = None
    """Number of channels. If null, 3 (RGB), or 1 if all images are 16-bit gray."""
    pixel_size: PixelSides | None = None
    """Size of a pixel of the original, upright images, or `[height, width]`, in `pixel_unit`. Distances between
    outlines and `evaluation.surface_tolerance` are then in this unit. If null, they are in px of the prepared images.
    """
    pixel_unit: PixelUnit | None = None
    """Unit of `pixel_size`, such as `µm`, `mm` or `m`."""
    showcase_ids: list[str] | None
    """Ids of images that the report shows first. They are in no split. If null, a typical training image is chosen."""
    seed: int = Field(ge=0)
    """Seed of the splits. It does not affect the seeds of runs."""
    max_train_images: TrainImages | None
    """Number of training images per run. If null, all are used."""

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the prepared images in px; None if they keep their own sizes."""
        return None if isinstance(self.image_size, str) else list_sides(self.image_size)


class FolderData(ImageMaskData):
    """A folder with `images/`, `masks/` and, optionally, a table of splits."""

    source: Literal["image_mask_folder"]
    """A folder with `images/` and `masks/`."""
    classes: Annotated[list[FolderClass], Field(min_length=2, max_length=255)]
    """Classes, in the order of their indices."""
    ignore_value: MaskValues | None
    """Mask value of ignored pixels, or a list of values. If null, no pixels are ignored."""
    mask_threshold: MaskThreshold | None = None
    """Threshold for soft masks of two classes: pixels at or above this value belong to the class with the higher value.
    If null, masks may contain only the declared values.
    """
    instances: Instances | None = None
    """Conversion of instance masks, which have one number per object. If null, mask values are classes."""


class CocoData(ImageMaskData):
    """A folder with `images/` and a JSON file of COCO instance annotations."""

    source: Literal["coco"]
    """A folder with `images/` and COCO annotations."""
    annotations: str = Field(min_length=1)
    """Path of the JSON file, relative to the folder."""
    classes: Annotated[list[CocoClass], Field(min_length=2, max_length=255)]
    """Classes, in the order of their indices."""
    ignore_value: list[str] = Field(default_factory=list)
    """Categories whose pixels are ignored."""
    crowd: Crowd = "ignore"
    """`ignore`: pixels of annotations with `iscrowd: 1` are ignored; `object`: they are drawn like all others."""


class OxfordPetsData(ImageMaskData):
    """Oxford-IIIT Pet with its published test split and trimaps."""

    source: Literal["oxford_iiit_pet"]
    """The Oxford-IIIT Pet data set."""
