"""Find possible mistakes in the crowds, categories and outlines of valid annotations."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np

from pipeline.params.data.image_data import Crowd
from pipeline.prepare.formats.annotations import AnnotatedImage, truncate
from pipeline.prepare.formats.outlines import decode_segmentation, measure_areas
from pipeline.prepare.mask_sample import sample_evenly
from pipeline.wording import join_names, pluralize

_MIN_CROWDS = 3  # fewer crowds may be connected by chance
_MIN_CROWD_SHARE = 0.05  # of all annotations; in COCO itself about 1% are crowds
_MIN_CONNECTED_SHARE = 0.9  # of the crowds that are checked
_MAX_CHECKED = 200  # maximum number of crowds to decode
_EIGHT_NEIGHBORS = np.ones((3, 3), bool)


class AnnotationStats:
    """Annotation statistics of the images in the folder."""

    def __init__(self, images: Sequence[AnnotatedImage], categories: Mapping[int, str]) -> None:
        self._images, self._categories = images, categories
        self._objects = sum((image.objects for image in images), Counter[int]())
        self._crowds = sum((image.crowds for image in images), Counter[int]())
        self._all = self._objects + self._crowds
        self._used = {number: name for number, name in categories.items() if number in self._all}
        # Names of the categories that have annotations, and of those that have only crowds, in the order of the file.
        self.used = list(dict.fromkeys(self._used.values()))
        of_objects = {categories[number] for number in self._objects}
        self.only_crowds = [name for name in self.used if name not in of_objects]

    @property
    def crowd_count(self) -> str:
        """Clause with the number of annotations that are crowds; empty if there are none."""
        crowds, total = self._crowds.total(), self._all.total()
        marked = "is marked as a crowd" if crowds == 1 else "are marked as crowds"
        return f"{crowds:,} of {total:,} annotations {marked} (iscrowd: 1)" if crowds else ""

    @cached_property
    def single_crowds(self) -> str:
        """Evidence that the crowds are single objects, which some tools mark as crowds; empty if there is none."""
        crowds = self._crowds.total()
        if crowds < _MIN_CROWDS or crowds < _MIN_CROWD_SHARE * self._all.total():
            return ""
        checked = self._sample_crowds()
        connected = sum(_is_connected(segmentation, size) for segmentation, size in checked)
        if not checked or connected < _MIN_CONNECTED_SHARE * len(checked):
            return ""
        sample = f" of {len(checked):,} that were checked" if len(checked) < crowds else f" of {crowds:,}"
        return f"{connected:,}{sample} cover one connected region, as single objects do"

    def notices(self, crowd: Crowd) -> tuple[str, ...]:
        """List possible mistakes for the user to check; `crowd` is the value of `data.crowd`."""
        return (
            *self._describe_crowds(crowd),
            *self._describe_categories(crowd),
            *self._describe_annotations(),
            *self._describe_overlaps(crowd),
        )

    def _describe_crowds(self, crowd: Crowd) -> Iterator[str]:
        if self._crowds and crowd == "object":
            evidence = f" {self.single_crowds}." if self.single_crowds else ""
            yield (
                f"{self.crowd_count}, and data.crowd: object draws them like all other annotations.{evidence} If they "
                f"mark groups of objects, set data.crowd: ignore."
            )
        elif self._crowds:
            notice = f"{self.crowd_count}. The pixels of crowds are ignored in training and scores."
            if not self._objects:
                notice += " No other annotations remain."
            if self.single_crowds:
                notice += (
                    f" {self.single_crowds}, and some tools set iscrowd: 1 for every RLE. If they are objects, set "
                    f"data.crowd: object."
                )
            yield notice

    def _describe_categories(self, crowd: Crowd) -> Iterator[str]:
        used, only_crowds = self.used, self.only_crowds
        unused = list(dict.fromkeys(name for name in self._categories.values() if name not in self._used.values()))
        if used and unused:
            what = pluralize(len(unused), "category has", "categories have")
            pronoun = "it" if len(unused) == 1 else "them"
            yield (
                f"{what} no usable annotation in the images, so `pipeline init` creates no class for {pronoun}: "
                f"{_quote_names(unused)}."
            )
        if crowd == "ignore" and only_crowds and self._objects:
            what, occur = ("category", "occurs") if len(only_crowds) == 1 else ("categories", "occur")
            yield (
                f"The {what} {_quote_names(only_crowds)} {occur} only in crowds, whose pixels have no class while "
                f"crowds are ignored."
            )
        for name in used:
            numbers = [str(number) for number, other in self._used.items() if other == name]
            if len(numbers) > 1:
                quoted = _quote_names([name])
                yield f"The category {quoted} has several ids ({join_names(numbers)}), which are treated as one class."
        similar: dict[str, list[str]] = {}
        for name in used:
            similar.setdefault(" ".join(unicodedata.normalize("NFKC", name).split()).casefold(), []).append(name)
        for names in similar.values():
            if len(names) > 1:
                yield (
                    f"The categories {_quote_names(names)} differ only in case, spaces or Unicode form. If they mean "
                    f"the same thing, assign all of them to one class."
                )

    def _describe_annotations(self) -> Iterator[str]:
        if empty := [f"{name} in {image.file_name}" for image in self._images for name in image.without_pixels]:
            what = pluralize(len(empty), "annotation covers", "annotations cover")
            yield f"{what} no pixel of the image (outside it, too small or empty): {join_names(empty)}."
        if rectangles := sum(image.rectangles for image in self._images):
            total = self._all.total()
            yield (
                f"{rectangles:,} of {total:,} annotations are bounding boxes, whose whole area is drawn. If the boxes "
                f"only locate objects, leave them out of the export."
            )
        if repeated := sum(image.repeated for image in self._images):
            what = pluralize(repeated, "annotation has", "annotations have")
            yield f"{what} the same image, outline and category as another one; this does not change the masks."
        if conflicting := sum(image.conflicting for image in self._images):
            yield (
                f"{pluralize(conflicting, 'annotation has', 'annotations have')} the same image and outline as another "
                f"one, but a different category; only the one with the highest id is visible."
            )
        if count := sum(not (image.objects or image.crowds or image.issues) for image in self._images):
            has, it, they = ("has", "it", "it") if count == 1 else ("have", "them", "they")
            is_ = "is" if count == 1 else "are"
            yield (
                f"{count:,} of {len(self._images):,} images {has} no annotations, so {they} {is_} all background. If "
                f"{they} {has} not been annotated yet, leave {it} out."
            )

    def _describe_overlaps(self, crowd: Crowd) -> Iterator[str]:
        areas = [
            measure_areas([*image.object_outlines, *(image.crowd_outlines if crowd == "object" else ())])
            for image in self._images
        ]
        if count := sum(union < total for total, union in areas):
            total, union = (sum(column) for column in zip(*areas, strict=True))
            yield (
                f"Annotations overlap in {count:,} of {len(areas):,} images, with {1 - union / total:.2%} of all "
                f"annotated pixels. They belong to the upper annotation, or in formats without an order to the smaller."
            )

    def _sample_crowds(self) -> list[tuple[Any, tuple[int, int]]]:
        """Return the segmentations of evenly spaced crowds, each with its image's height and width in px."""
        crowds = [(image, place) for image in self._images for place in range(image.crowds.total())]
        found = []
        for image, sample in groupby(sample_evenly(crowds, _MAX_CHECKED), itemgetter(0)):
            entries = [entry for entry in json.loads(image.annotations) if entry["iscrowd"]]
            found += [(entries[place]["segmentation"], image.size) for _, place in sample if image.size]
        return found


def _is_connected(segmentation: Any, size: tuple[int, int]) -> bool:
    """Return whether a segmentation is one connected region (8-connectivity)."""
    from scipy.ndimage import label  # this import takes 0.2 s in each process that decodes images

    mask = decode_segmentation(segmentation, *size)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return False
    mask = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]  # labeling a whole image is slow
    return bool(label(mask, _EIGHT_NEIGHBORS)[1] == 1)


def _quote_names(names: Sequence[str]) -> str:
    return join_names([f"'{truncate(name)}'" for name in names])
