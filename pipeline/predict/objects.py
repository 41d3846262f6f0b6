"""Find the objects in predicted class masks of any size, write them as label images, and measure them.

An image is processed in strips. Two temporary files hold its classes and its numbers, 5 bytes per pixel, so memory use
depends on the width of the image and on the number of objects, not on the height.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.atomic_io import atomic_file
from pipeline.imaging.decode import to_gray
from pipeline.imaging.objects import MAX_REACH, grow_into_boundary, label_insides, select_numbers
from pipeline.imaging.pixel_size import PixelSize
from pipeline.imaging.tiff_image import TiffImage
from pipeline.inference.objects import ObjectSettings
from pipeline.predict.outputs import escape_formula
from pipeline.predict.row_file import STRIP_PIXELS, RowFile
from pipeline.predict.tiff_mask import write_tiff_mask
from pipeline.scenes.scene_image import SceneImage

_AREA_DIGITS = 6  # significant digits of an area in square units

Image = NDArray[Any] | TiffImage | SceneImage


@dataclass(frozen=True, eq=False)
class ObjectTable:
    """The objects of an image. All arrays have one row per object, in the order of their numbers in the label image."""

    file: str
    classes: tuple[str, ...]  # name of each object's class
    areas: NDArray[np.int64]  # px
    centroids: NDArray[np.float64]  # x and y in px from the center of the upper left pixel
    means: NDArray[np.float64]  # mean of each channel
    touches_edge: NDArray[np.bool_]  # whether a pixel is at the edge of the image

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.areas)


@dataclass(frozen=True, eq=False)
class _Row:
    """Class indices and provisional numbers of a row, W each."""

    classes: NDArray[np.uint8]
    numbers: NDArray[np.int64]


class ObjectFinder:
    """Objects of one image, whose class mask is added in strips from top to bottom.

    The objects are those of `label_objects` for the whole class mask. Use as a context manager.

    Args:
        shape: Height and width of the image in px.
        settings: Classes of objects.
        min_area: Smaller objects are left out, px.
        is_gray: Whether 8-bit RGB images are measured in gray, because the network was trained on gray images.
    """

    def __init__(
        self, shape: tuple[int, int], settings: ObjectSettings, min_area: float, *, is_gray: bool = False
    ) -> None:
        self._height, self._width = shape
        self._settings, self._min_area, self._is_gray = settings, min_area, is_gray
        self._mask, self._labels = RowFile(self._width, np.uint8), RowFile(self._width, np.uint32)
        self._parents = _DisjointSets()
        self._classes: list[NDArray[np.uint8]] = [np.zeros(1, np.uint8)]  # class index by provisional number
        self._last: _Row | None = None  # the last row
        self._top = 0

    def __enter__(self) -> ObjectFinder:
        """Return the finder itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the temporary files."""
        self._mask.close()
        self._labels.close()

    def add(self, mask: NDArray[np.uint8]) -> None:
        """Add the next rows of the class mask (rows x W)."""
        labels, classes = label_insides(mask, self._settings.foreground)
        numbers = np.where(labels > 0, labels.astype(np.int64) + len(self._parents) - 1, 0)
        self._parents.extend(len(classes) - 1)
        self._classes.append(classes[1:])
        first, last = _Row(mask[0], numbers[0]), _Row(mask[-1].copy(), numbers[-1].copy())
        if self._last is not None:
            self._join(self._last, first)
        self._last = last
        self._mask.write(self._top, mask)
        self._labels.write(self._top, numbers)
        self._top += len(mask)

    def _join(self, above: _Row, below: _Row) -> None:
        """Join the regions of two adjacent rows that touch, also at corners, and have the same class."""
        for shift in (-1, 0, 1):
            upper = slice(max(0, -shift), self._width - max(0, shift))
            lower = slice(max(0, shift), self._width - max(0, -shift))
            numbers, others = above.numbers[upper], below.numbers[lower]
            touch = (numbers > 0) & (others > 0) & (above.classes[upper] == below.classes[lower])
            for pair in set(zip(numbers[touch].tolist(), others[touch].tolist(), strict=True)):
                self._parents.join(*pair)

    def finish(
        self, image: Image, path: Path, source: Path, file: str, classes: Sequence[SegmentationClass]
    ) -> ObjectTable:
        """Write the label image, and measure the objects.

        Args:
            image: The image, H x W x C.
            path: TIFF file to write; uint16, or uint32 if there are more than 65,535 objects.
            source: File whose georeference and pixel size are copied to the label image.
            file: Name of the image in the table.
            classes: Classes of the data.
        """
        roots = self._parents.find_roots()
        is_root = roots == np.arange(len(roots))
        is_root[0] = False
        # Roots are the lowest numbers of their regions, so the objects are numbered in the order of their first pixels.
        numbers = np.where(is_root, np.cumsum(is_root), 0)[roots].astype(np.int32)
        by_number = np.concatenate([np.zeros(1, np.uint8), np.concatenate(self._classes)[is_root]])
        areas = np.zeros(len(by_number), np.int64)
        for top, labels in self._grow(numbers):
            self._labels.write(top, labels)
            areas += np.bincount(labels.ravel(), minlength=len(areas))
        kept, by_number = select_numbers(areas, by_number, self._min_area)
        is_gray = (
            self._is_gray and image.shape[2] == 3 and image.dtype == np.uint8
        )  # files of gray images are decoded to three equal channels
        measures = _Measures(len(by_number), 1 if is_gray else image.shape[2], self._height)
        dtype = np.uint16 if len(by_number) - 1 <= np.iinfo(np.uint16).max else np.uint32

        def measure_strips() -> Iterator[NDArray[Any]]:
            for top, bottom in self._list_strips():
                labels = kept[self._labels.read(top, bottom)]
                pixels = np.asarray(image[top:bottom, 0 : self._width])
                measures.add(top, labels, to_gray(pixels) if is_gray else pixels)
                yield labels.astype(dtype)

        write_tiff_mask(path, measure_strips(), (self._height, self._width), None, source, dtype)
        return measures.tabulate(file, tuple(classes[index].name for index in by_number[1:]))

    def _grow(self, numbers: NDArray[np.int32]) -> Iterator[tuple[int, NDArray[np.int32]]]:
        """Yield the first row and the final numbers of each strip, with boundary pixels.

        The numbers of a strip are written back only after the next strip has been computed from the original ones.
        """
        pending: tuple[int, NDArray[np.int32]] | None = None
        for top, bottom in self._list_strips():
            first, last = max(0, top - MAX_REACH), min(self._height, bottom + MAX_REACH)
            labels = numbers[self._labels.read(first, last)]
            if self._settings.boundary:
                labels = grow_into_boundary(labels, np.isin(self._mask.read(first, last), self._settings.boundary))
            if pending is not None:
                yield pending
            pending = top, labels[top - first : bottom - first]
        if pending is not None:
            yield pending

    def _list_strips(self) -> Iterator[tuple[int, int]]:
        """Yield the first row of each strip, and the row after its last one."""
        rows = max(MAX_REACH, STRIP_PIXELS // self._width)  # the overlap of strips
        for top in range(0, self._height, rows):
            yield top, min(top + rows, self._height)


class _DisjointSets:
    """Numbers that are joined to sets; the root of a set is its lowest number."""

    def __init__(self) -> None:
        self._parents: list[int] = [0]

    def __len__(self) -> int:
        return len(self._parents)

    def extend(self, count: int) -> None:
        """Add sets of one number each."""
        self._parents.extend(range(len(self._parents), len(self._parents) + count))

    def join(self, one: int, other: int) -> None:
        """Join the sets of two numbers."""
        one, other = self._find(one), self._find(other)
        self._parents[max(one, other)] = min(one, other)

    def find_roots(self) -> NDArray[np.int64]:
        """Return the root of each number."""
        return np.array([self._find(number) for number in range(len(self._parents))], np.int64)

    def _find(self, number: int) -> int:
        while (parent := self._parents[number]) != number:
            self._parents[number] = self._parents[parent]
            number = parent
        return number


class _Measures:
    """Sums over the pixels of each object, added in strips."""

    def __init__(self, num_numbers: int, num_channels: int, height: int) -> None:
        self._height = height
        self._areas = np.zeros(num_numbers, np.int64)
        self._places = np.zeros((2, num_numbers))  # sums of x and of y
        self._values = np.zeros((num_channels, num_numbers))
        self._touches_edge = np.zeros(num_numbers, bool)

    def add(self, top: int, labels: NDArray[np.int32], image: NDArray[Any]) -> None:
        """Add rows of the label image (rows x W) and of the image (rows x W x C), from the row `top` on."""
        rows, columns = np.nonzero(labels)
        numbers, size = labels[rows, columns], len(self._areas)
        self._areas += np.bincount(numbers, minlength=size)
        self._places += [np.bincount(numbers, columns, size), np.bincount(numbers, rows + float(top), size)]
        for channel, sums in enumerate(self._values):
            sums += np.bincount(numbers, image[rows, columns, channel], size)
        self._touches_edge[labels[:, [0, -1]]] = True
        if top == 0:
            self._touches_edge[labels[0]] = True
        if top + len(labels) == self._height:
            self._touches_edge[labels[-1]] = True

    def tabulate(self, file: str, classes: tuple[str, ...]) -> ObjectTable:
        """Return the measures of all objects."""
        areas = self._areas[1:]
        return ObjectTable(
            file=file,
            classes=classes,
            areas=areas,
            centroids=(self._places[:, 1:] / areas).T,
            means=(self._values[:, 1:] / areas).T,
            touches_edge=self._touches_edge[1:],
        )


def write_object_table(path: Path, tables: Sequence[ObjectTable], pixel: PixelSize | None = None) -> None:
    """Write one row per object as CSV.

    The columns are file, label, class, area, area_<unit>2 if `pixel` is given, centroid_x, centroid_y, mean_<channel>
    from 1, and touches_edge. Images with fewer channels than others have empty cells.

    Args:
        path: The file to write.
        tables: The objects of each image.
        pixel: Size of a pixel of the images; None if it is unknown.
    """
    num_channels = max((table.means.shape[1] for table in tables), default=0)
    areas = ["area"] if pixel is None else ["area", f"area_{pixel.unit}2"]
    with atomic_file(path) as binary:
        text = io.TextIOWrapper(binary, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        means = (f"mean_{channel}" for channel in range(1, num_channels + 1))
        writer.writerow(["file", "label", "class", *areas, "centroid_x", "centroid_y", *means, "touches_edge"])
        for table in tables:
            empty = [""] * (num_channels - table.means.shape[1])
            columns = zip(
                table.classes,
                table.areas.tolist(),
                table.centroids.tolist(),
                table.means.tolist(),
                table.touches_edge.tolist(),
                strict=True,
            )
            writer.writerows(
                [
                    escape_formula(table.file), label, name, *_format_areas(area, pixel),
                    *(f"{value:.2f}" for value in centroid), *(f"{value:.2f}" for value in channels), *empty,
                    str(is_at_edge).lower(),
                ]
                for label, (name, area, centroid, channels, is_at_edge) in enumerate(columns, start=1)
            )  # fmt: skip
        text.flush()
        text.detach()  # otherwise it would close the file


def _format_areas(area: int, pixel: PixelSize | None) -> tuple[str, ...]:
    """Format an area in px and, if the size of a pixel is known, in square units, without an exponent."""
    if pixel is None:
        return (str(area),)
    return str(area), np.format_float_positional(area * pixel.area, _AREA_DIGITS, fractional=False, trim="-")
