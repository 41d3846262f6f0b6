"""Schema of `data` for images with masks: a folder of both, annotations, or Oxford-IIIT Pet."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from pipeline.params.data.fields import (
    MAX_SIZE,
    MIN_SIZE,
    Band,
    ClassName,
    ClassValues,
    Color,
    MaskValues,
    PixelSides,
    PixelUnit,
    PreparedSize,
    Share,
    TrainImages,
    Window,
    list_sides,
)
from pipeline.params.data.file_pattern import DEFAULT_PATTERNS, FilePattern
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


def _check_split_lists(value: object) -> object:
    if value is not None and not (isinstance(value, str) and value.endswith(".json")):
        FilePattern.parse(value)
    return value


def _check_file_pattern(value: object) -> object:
    FilePattern.parse(value)
    return value


PatternText = Annotated[str, BeforeValidator(_check_file_pattern)]


class ClassValue(Section):
    """Name of a class and its values in the masks."""

    name: ClassName
    """Name of the class: letters, digits, `_`, `-` and spaces."""
    mask_value: ClassValues
    """Value of the class in the masks, or a list of values: integers, or colors in quotes. If `masks` has `{class}`,
    the text that it matches, or null for exactly one class: pixels that no file marks.
    """


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


class AnnotatedClass(DisplayedClass):
    """A class and its categories in the annotations."""

    category: str | list[str] | None
    """Name of the category, or a list of names. Null for exactly one class: pixels without annotations. With
    `coco_panoptic`, such pixels are ignored if no class has null.
    """

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
    fold: str | None = None
    """Column of the folds, numbered from 0. If null, `data.splits.folds` assigns them by a hash."""


class SplitShares(Section):
    """How images are assigned to splits. Images in neither validation nor test are used for training."""

    validation: Share
    """Fraction of the images, or of the groups, for validation."""
    test: Share
    """Fraction of the images, or of the groups, for testing."""
    split_file: SplitFile | None = None
    """Table of splits and groups. If null, `splits.csv` is used if it exists."""
    split_lists: Annotated[str | None, BeforeValidator(_check_split_lists)] = None
    """Pattern of text files with one image id or path per line, such as `ImageSets/Segmentation/{train,val}.txt`, whose
    last wildcard matches the split; or nnU-Net's `splits_final.json`, of which all folds are used with
    `data.splits.folds`, and otherwise the first one. Images in no list are
    left out, unless they are in a folder named like a split.
    """
    group_regex: Annotated[str | None, BeforeValidator(_check_pattern)] = None
    """Regular expression that finds the group in an image's name, with one `( )` around the group. If null, names do
    not determine groups.
    """
    stratify: bool = False
    """Whether every split should contain every class, as far as possible."""


class FoldedSplits(SplitShares):
    """How images are assigned to splits, and to the folds of a cross-validation."""

    validation: Share = 0.0
    """Fraction of the images, or of the groups, for validation. Required without `folds`, and unused with it."""
    folds: Annotated[int, Field(ge=2, le=20)] | None = None
    """Number of folds into which all images except the test images are divided. The run with seed s is validated on
    fold s modulo this number, and trained on the other folds, so that `grid.seed: [0, 1, 2, 3, 4]` is a five-fold
    cross-validation. If null, all runs have the same validation images.
    """


class Instances(Section):
    """Conversion of instance masks (one number per object) to three classes: background, inside and border."""

    border: int = Field(ge=1, le=64)
    """Width of an object's border, in px of the original mask."""


class Intensities(Section):
    """How the values of a file become gray values."""

    window: Window | None = None
    """`[low, high]`: these intensities become black and white, with a linear scale between them. Required unless
    intensities are uint8 or uint16. If null, such intensities are used as they are.
    """
    bits: Literal[8, 16] = 8
    """Bits of the gray values, if there is a window."""


class Slices(Intensities):
    """Which slices of volumes are images, and how their intensities become gray values."""

    axis: Literal["x", "y", "z", "t"]
    """Axis across the slices. In NIfTI files and DICOM series, `x`, `y` and `z` are the axes of the patient (sagittal,
    coronal and axial slices), in whatever order the voxels are stored. In TIFF stacks and OME-Zarr images, `z` and `t`
    are those of the metadata. A TIFF stack without metadata has slices along its pages.
    """
    step: int = Field(default=1, ge=1, le=1000)
    """Every how many slices one is used. `pipeline predict` segments all slices."""


class Scenes(Intensities):
    """How GeoTIFFs are read: their bands, and the tiles that are images."""

    bands: Annotated[list[Band], Field(min_length=1, max_length=32)] | None = None
    """Bands in the order of the channels, by number from 1 or by the name in the file. If null, all bands except
    transparency.
    """
    tile: Annotated[int, Field(ge=MIN_SIZE, le=MAX_SIZE)] | None
    """Side in px of the square tiles into which scenes are cut. Every tile is an image. If null, every file is one
    image.
    """
    block: int = Field(default=4, ge=1, le=1000)
    """Maximum number of tiles along each side of a block. The tiles of a block are one group, which is in one split."""
    gap: int = Field(default=0, ge=0, le=MAX_SIZE)
    """Width in px of the strips between blocks that are left out, so that blocks in different splits do not touch."""


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
    """Folder of the data set, or a zip or tar archive of it."""
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


class FilePatterns(Section):
    """Which files are images and masks."""

    images: PatternText = DEFAULT_PATTERNS[0]
    """Pattern of the image files below `path`. `*` matches any text in a name, `**/` any folders, `{train,val}` one of
    these texts; masks must match with the same texts. `{any}` matches any text, which is not compared.
    """
    masks: PatternText = DEFAULT_PATTERNS[1]
    """Pattern of the mask files. With `{object}` or `{class}`, which matches any text, each file shows one object or
    one class.
    """

    @property
    def mask_part(self) -> str:
        """What each of an image's mask files shows: "class", "object", or "" if there is one file per image."""
        return FilePattern(self.masks).part


class ExternalTestFolder(ImageMaskFolder, FilePatterns):
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

    splits: FoldedSplits
    """How images are assigned to splits and folds."""

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

    @property
    def has_numbered_objects(self) -> bool:
        """Whether the masks or annotations tell the objects of a class apart."""
        return False


class MaskData(ImageMaskData):
    """Images with masks whose values are classes, or number objects."""

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

    @property
    def has_numbered_objects(self) -> bool:
        """Whether the masks number objects."""
        return self.instances is not None


class FolderData(MaskData, FilePatterns):
    """A folder of images and masks and, optionally, a table of splits."""

    source: Literal["image_mask_folder"]
    """A folder of images and masks."""
    slices: Slices | None = None
    """Slices of volumes (NIfTI, DICOM, TIFF stacks, OME-Zarr). If null, every file is a single image."""
    scenes: Scenes | None = None
    """How GeoTIFFs are read: bands, nodata, and tiles of large scenes. If null, they are read like other TIFFs."""


class HuggingFaceData(MaskData):
    """A Hugging Face data set in a local folder, or other Parquet files with images and masks in columns."""

    source: Literal["huggingface"]
    """Parquet files, or a data set that was saved with `Dataset.save_to_disk`."""
    images: str = Field(min_length=1)
    """Column of the images."""
    masks: str = Field(min_length=1)
    """Column of the masks."""

    @property
    def mask_part(self) -> str:
        """Which part of the truth a mask shows; empty, because an image has one mask."""
        return ""


class CategoryData(ImageMaskData):
    """A folder of images with outlines of objects that have categories."""

    images: PatternText = DEFAULT_PATTERNS[0]
    """Pattern of the image files below `path`, see `source: image_mask_folder`."""
    annotations: str = Field(min_length=1)
    """Path of the annotations, relative to the folder: a file or, for `labelme`, `coco_panoptic` and `geo_vectors`, a
    pattern.
    """
    classes: Annotated[list[AnnotatedClass], Field(min_length=2, max_length=255)]
    """Classes, in the order of their indices."""
    ignore_value: list[str] = Field(default_factory=list)
    """Categories whose pixels are ignored."""


class AnnotatedData(CategoryData):
    """A folder of images with outlines of objects in the format of an annotation tool."""

    source: Literal["coco", "coco_panoptic", "cvat", "label_studio", "labelme", "supervisely", "yolo"]
    """Format of the annotations."""
    crowd: Crowd = "ignore"
    """`ignore`: pixels of annotations with `iscrowd: 1` are ignored; `object`: they are drawn like all others."""

    @property
    def has_numbered_objects(self) -> bool:
        """Whether every annotation is an object; the masks of `coco_panoptic` only have classes."""
        return self.source != "coco_panoptic"


class GeoVectorsData(CategoryData):
    """A folder of GeoTIFFs with polygons in GeoJSON files, GeoPackages or shapefiles."""

    source: Literal["geo_vectors"]
    """GeoTIFFs with polygons."""
    attribute: str | None
    """Attribute of the polygons that has the category. If null, all polygons have the category `polygon`."""
    area: str | None = None
    """File with the polygons of the area that was annotated, relative to the folder. Pixels outside are ignored. If
    null, all pixels were annotated.
    """
    scenes: Scenes
    """How GeoTIFFs are read: bands, nodata, and tiles of large scenes."""


class OxfordPetsData(ImageMaskData):
    """Oxford-IIIT Pet with its published test split and trimaps."""

    source: Literal["oxford_iiit_pet"]
    """The Oxford-IIIT Pet data set."""


ImageSource = FolderData | HuggingFaceData | AnnotatedData | GeoVectorsData | OxfordPetsData


def find_slices(data: Section) -> Slices | None:
    """Return `data.slices`; None if the files of a section are single images."""
    return data.slices if isinstance(data, FolderData) else None


def find_scenes(data: Section) -> Scenes | None:
    """Return `data.scenes`; None if GeoTIFFs are read like other TIFFs."""
    return data.scenes if isinstance(data, FolderData | GeoVectorsData) else None


def find_intensities(data: Section) -> Intensities | None:
    """Return how the values of volumes or scenes become gray values; None if the files are other images."""
    return find_slices(data) or find_scenes(data)
