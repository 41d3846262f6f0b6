"""What `data` may say of pictures that a user has: a folder, a COCO export, Oxford-IIIT Pet."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from pipeline.params.data.fields import ClassName, Color, ImageSize, MaskValues, Share, TrainImages
from pipeline.params.section import Section

Resize = Literal["squash", "pad"]
OnFault = Literal["stop", "set_aside"]
MaskThreshold = Annotated[int, Field(ge=1, le=65_535)]  # of soft masks of two classes: lower values are the lower class
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
        raise ValueError("must be a regular expression with one ( ) around what names the group, such as '^(p[0-9]+)_'")
    return value


class ClassValue(Section):
    """What stands for a class in masks."""

    name: ClassName
    value: MaskValues


class DisplayedClass(Section):
    """How a class is called and shown."""

    name: ClassName
    colour: Color
    foreground: bool
    edge: bool = False


class FolderClass(DisplayedClass, ClassValue):
    """A class of the user's masks."""


class CocoClass(DisplayedClass):
    """A class of the user's annotations: the categories that it takes in; `null` is what none of them covers."""

    category: str | list[str] | None

    @property
    def categories(self) -> tuple[str, ...]:
        """The names of its categories; none of the class that is left over."""
        return (self.category,) if isinstance(self.category, str) else tuple(self.category or ())


class SplitList(Section):
    """A table that says which split and which group an image belongs to, and what its columns are called."""

    file: str = Field(min_length=1)  # CSV, relative to the folder of the images and masks
    id: str = Field(min_length=1)
    split: str | None
    group: str | None


class SplitShares(Section):
    """The shares of images, or of groups, that validation and test get; training has the rest."""

    validation: Share
    test: Share
    list: SplitList | None = None  # None: splits.csv, where it is there
    group_pattern: Annotated[str | None, BeforeValidator(_check_pattern)] = (
        None  # searched in names that have no group yet
    )
    stratify: bool = False  # each class in each split, as far as there are images


class Instances(Section):
    """Masks that number objects, made into three classes: background, inside, border."""

    border: int = Field(ge=1, le=64)  # px of the mask


class NearDuplicates(Section):
    """When two images count as one: near-duplicates across splits leak training data into evaluation.

    Copies that were saved again differ in 0 to 4 bits of the hash, and their thumbnails correlate at 0.97 or more;
    images of different scenes stay below 0.87. Images of one kind of scene (fundus, a fixed camera) need stricter
    limits.
    """

    max_distance: int = Field(default=8, ge=0, le=64)  # bits of a perceptual hash of 64 in which they differ
    min_correlation: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)] = 0.95  # of thumbnails of 16 x 16 px
    distinct: list[Annotated[list[str], Field(min_length=2, max_length=2)]] = Field(default_factory=list)  # ids


class ImageMaskFolder(Section):
    """Images and masks in a folder."""

    path: str = Field(min_length=1)
    resize: Resize
    splits: SplitShares
    on_fault: OnFault = "stop"
    mask_orientation: MaskOrientation | None = None  # pixels of a turned image that its mask covers
    near_duplicates: NearDuplicates = NearDuplicates()


class ExternalTestFolder(ImageMaskFolder):
    """A folder whose test split takes the place of composites; the classes are those of the composites, by name."""

    classes: Annotated[list[ClassValue], Field(min_length=2)]
    ignore: MaskValues | None
    mask_threshold: MaskThreshold | None = None


class ImageMaskData(ImageMaskFolder):
    """Pictures to learn from."""

    image_size: ImageSize
    channels: Annotated[int, Field(ge=1, le=32)] | None = None  # None: RGB, or one where all are 16-bit grey
    showcase: list[str] | None  # None: one of training; no name, which only code may ask for: none
    seed: int = Field(ge=0)
    train_images: TrainImages | None


class FolderData(ImageMaskData):
    """A folder with `images/`, `masks/` and perhaps a list of splits."""

    source: Literal["folder"]
    classes: Annotated[list[FolderClass], Field(min_length=2, max_length=255)]  # the index 255 is the ignored one
    ignore: MaskValues | None
    mask_threshold: MaskThreshold | None = None
    instances: Instances | None = None


class CocoData(ImageMaskData):
    """A folder with `images/` and a file of COCO's instances, as annotation tools export it."""

    source: Literal["coco"]
    annotations: str = Field(min_length=1)  # JSON, relative to the folder
    classes: Annotated[list[CocoClass], Field(min_length=2, max_length=255)]
    ignore: list[str] = Field(default_factory=list)  # categories whose pixels count nowhere
    crowd: Crowd = "ignore"  # what annotations with iscrowd: 1 are: ignored pixels, or objects like all others


class OxfordPetsData(ImageMaskData):
    """Oxford-IIIT Pet as its authors publish it, with their test split and their trimaps."""

    source: Literal["oxford_iiit_pet"]
