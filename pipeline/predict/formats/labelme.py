"""Format labelme: a JSON file with polygons per image, which LabelMe opens for correction.

https://github.com/wkentaro/labelme
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.atomic_io import write_text
from pipeline.predict.find_images import escape_invalid_bytes
from pipeline.predict.formats.compact_json import to_compact_json
from pipeline.predict.formats.mask_format import FileWriter, MaskFormat, PredictedMask, WriterSettings
from pipeline.predict.formats.polygons import outline_region
from pipeline.predict.formats.regions import MAX_PIXELS, find_regions, list_annotated

_VERSION = "5.5.0"  # of LabelMe, whose file format this is


class LabelMeWriter(FileWriter):
    """Writer of LabelMe files: each shape is the polygon of a connected region of a class, the largest first.

    LabelMe finds the image by `imagePath`, which is relative to the JSON file.
    """

    has_annotations = True
    max_pixels = MAX_PIXELS

    def __init__(self, settings: WriterSettings) -> None:
        super().__init__(settings.folder, "labelme", ".json")
        self._classes, self._annotated = settings.classes, list_annotated(settings, "labelme")

    def write(self, mask: PredictedMask) -> None:
        """Write the JSON file of an image."""
        path = self.locate(mask.image)
        content: dict[str, Any] = {
            "version": _VERSION,
            "flags": {},
            "shapes": self._create_shapes(mask),
            "imagePath": escape_invalid_bytes(_find_relative_path(mask.image.path, path.parent)),
            "imageData": None,
            "imageHeight": mask.height,
            "imageWidth": mask.width,
        }
        write_text(path, to_compact_json(content))

    def _create_shapes(self, mask: PredictedMask) -> list[dict[str, Any]]:
        from scipy.ndimage import find_objects

        regions = find_regions(mask, self._annotated)
        areas = np.bincount(regions.numbers.ravel())
        boxes = find_objects(regions.numbers)
        shapes = []
        for number in sorted(range(1, len(regions.classes)), key=lambda number: -areas[number]):
            rows, columns = boxes[number - 1]
            corner = np.array([columns.start, rows.start])
            points = outline_region(regions.numbers[rows, columns] == number) + corner
            shapes.append(
                {
                    "label": self._classes[regions.classes[number]].name,
                    "points": points.tolist(),
                    "group_id": None,
                    "description": "",
                    "shape_type": "polygon",
                    "flags": {},
                    "mask": None,
                }
            )
        return shapes


def _find_relative_path(image: Path, folder: Path) -> str:
    """Return the path of an image from a folder. Links in the path of the folder are followed, as `..` does."""
    try:
        return Path(os.path.relpath(image.absolute(), folder.resolve())).as_posix()
    except ValueError:  # another drive on Windows
        return image.absolute().as_posix()


LABELME = MaskFormat("labelme", LabelMeWriter)
