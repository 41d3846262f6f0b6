"""What may be wrong with a file of COCO's instances, and what to do about it."""

from __future__ import annotations

from enum import Enum

from PIL import Image

LONGEST_SIDE = 100_000  # px


def most_pixels() -> int:
    """As many as a picture may have to be decoded."""
    return 2 * (Image.MAX_IMAGE_PIXELS or 0)


class Mistake(Enum):
    """A kind of mistake: what is wrong with what follows, and what to do."""

    ENTRY = (
        "entries that cannot be read",
        "An image must have an id and a file_name; a category an id, which is a whole number, and a name; an "
        "annotation an image_id, a category_id and, if any, an iscrowd of 0 or 1. Export the file anew.",
    )
    ID = "image ids that stand for several images", "Number the images anew; files that were joined need that."
    CATEGORY = "category ids that stand for several names", "Number the categories anew."
    NAME = (
        "file names that cannot be used",
        "A file_name is the path below the images' folder, with / between folders: mend it, and rename the file "
        "likewise.",
    )
    DOUBLE = (
        "names that stand for several images",
        "The ending and the folder's / do not tell images apart (a/b.png, a/b.jpg and a__b.png are one name): remove "
        "all but one, or rename the files.",
    )
    SIZE = (
        "images without a height and width that can be",
        f"Both must be whole numbers from 1 to {LONGEST_SIDE:,} px, and no picture is read that has more than "
        f"{most_pixels():,} pixels: export the file anew.",
    )
    UNKNOWN = "annotations of images that are not in images", "Add the images' entries, or remove the annotations."
    UNDECLARED = (
        "annotations of categories that are not in categories",
        "Add the categories' entries, or remove the annotations.",
    )
    PANOPTIC = (
        "annotations of the panoptic kind",
        "Their masks are PNG files beside this one: export instances, as polygons or RLE.",
    )
    NO_MASK = (
        "annotations without a segmentation",
        "Boxes and keypoints are no masks: export instances with their polygons or RLE, or remove these annotations.",
    )
    SEGMENTATION = "segmentations that cannot be drawn", "Draw these objects anew, or remove their annotations."
