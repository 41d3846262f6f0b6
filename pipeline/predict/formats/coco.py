"""Format coco: COCO instances, one JSON file for all images, with run lengths that contain the exact masks.

https://cocodataset.org/#format-data
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from pipeline.atomic_io import write_text
from pipeline.predict.find_images import SourceImage, escape_invalid_bytes
from pipeline.predict.formats.compact_json import to_compact_json
from pipeline.predict.formats.mask_format import MaskFormat, MaskWriter, PredictedMask, WriterSettings
from pipeline.predict.formats.regions import MAX_PIXELS, average_in_regions, find_regions, list_annotated

FILE = "coco.json"  # not instances.json, which the user's own annotations may be called
_SCORE_DIGITS = 4


class CocoWriter(MaskWriter):
    """Writer of COCO instances: each annotation is a connected region of a class.

    Category ids are class indices plus 1. The score of an annotation is the mean probability of its class.
    """

    needs_confidence = True
    has_annotations = True
    max_pixels = MAX_PIXELS

    def __init__(self, settings: WriterSettings) -> None:
        self._path, self._model = settings.folder / FILE, settings.model
        self._annotated = list_annotated(settings, "coco")
        self._categories = [
            {"id": index + 1, "name": settings.classes[index].name, "supercategory": ""} for index in self._annotated
        ]
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    @property
    def place(self) -> str:
        """File of the annotations."""
        return FILE

    def list_files(self, image: SourceImage) -> list[Path]:  # noqa: ARG002
        """Return the file of all images."""
        return [self._path]

    def write(self, mask: PredictedMask) -> None:
        """Add the annotations of an image."""
        number = len(self._images) + 1
        file_name = escape_invalid_bytes(mask.image.relative)
        self._images.append({"id": number, "file_name": file_name, "height": mask.height, "width": mask.width})
        regions = find_regions(mask, self._annotated)
        assert mask.confidence is not None
        scores = average_in_regions(regions, mask.confidence)
        for region, encoded in enumerate(encode_regions(regions.numbers, len(regions.classes) - 1), start=1):
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1,
                    "image_id": number,
                    "category_id": int(regions.classes[region]) + 1,
                    "segmentation": {"size": encoded["size"], "counts": encoded["counts"].decode("ascii")},
                    "area": int(rle.area(encoded)),
                    "bbox": rle.toBbox(encoded).tolist(),  # x, y, width, height
                    "iscrowd": 0,
                    "score": round(float(scores[region]), _SCORE_DIGITS),
                }
            )

    def finish(self) -> None:
        """Write the file."""
        content = {
            "info": {"description": f"Predicted by {self._model}"},
            "licenses": [],
            "images": self._images,
            "annotations": self._annotations,
            "categories": self._categories,
        }
        write_text(self._path, to_compact_json(content))


def encode_regions(numbers: NDArray[np.int32], count: int) -> list[Any]:
    """Encode regions as compressed run lengths of pycocotools.

    The image is scanned once, so the time does not depend on the number of regions.

    Args:
        numbers: Number of the region at each pixel, H x W, from 1; 0 is background.
        count: Number of regions. Each has at least one pixel.
    """
    height, width = numbers.shape
    flat = numbers.T.ravel()  # COCO counts pixels column by column
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    ends = np.append(starts[1:], flat.size)
    owners = flat[starts]
    order = np.argsort(owners, kind="stable")
    firsts = np.cumsum(np.bincount(owners, minlength=count + 1))[:-1]  # place of each region's first run in `order`
    encoded: list[Any] = []
    for runs in np.split(order, firsts)[1:]:
        borders = np.stack([starts[runs], ends[runs]], axis=1).ravel()
        counts = np.diff(borders, prepend=0, append=flat.size).tolist()
        encoded.append(rle.frPyObjects({"size": [height, width], "counts": counts}, height, width))
    return encoded


COCO = MaskFormat("coco", CocoWriter)
