"""What may be wrong with a file of COCO's instances as a whole, and what to do about it."""

from __future__ import annotations

from enum import Enum


class Mistake(Enum):
    """A kind of mistake: what is wrong with the one thing that follows, or with several, and what to do."""

    ENTRY = (
        "entry that cannot be read",
        "entries that cannot be read",
        "An image must have an id and a file_name; a category an id, which is a whole number, and a name; an "
        "annotation an image_id, a category_id and, if any, an iscrowd of 0 or 1. Export the file anew.",
    )
    ID = (
        "image id that stands for several images",
        "image ids that stand for several images",
        "Number the images anew; files that were joined need that.",
    )
    CATEGORY = (
        "category id that stands for several names",
        "category ids that stand for several names",
        "Number the categories anew.",
    )
    NAME = (
        "file name that cannot be used",
        "file names that cannot be used",
        "A file_name is the path below the images' folder, with / between folders: mend it, and rename the file "
        "likewise.",
    )
    DOUBLE = (
        "name that stands for several images",
        "names that stand for several images",
        "The ending and the folder's / do not tell images apart (a/b.png, a/b.jpg and a__b.png are one name): remove "
        "all but one, or rename the files.",
    )
    UNKNOWN = (
        "annotation of an image that is not in images",
        "annotations of images that are not in images",
        "Add the images' entries, or remove the annotations.",
    )
    PANOPTIC = (
        "annotation of the panoptic kind",
        "annotations of the panoptic kind",
        "Their masks are PNG files beside this one: export instances, as polygons or RLE.",
    )
    NO_MASK = (
        "annotation without a segmentation",
        "annotations without a segmentation",
        "Boxes and keypoints are not masks: export instances with their polygons or RLE.",
    )

    def __init__(self, single: str, several: str, remedy: str) -> None:
        self.single, self.several, self.remedy = single, several, remedy
