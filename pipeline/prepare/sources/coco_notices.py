"""Find possible mistakes in COCO annotations that can all be drawn: crowds, unused categories, odd annotations."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from pipeline.params.data.image_data import Crowd
from pipeline.prepare.sample_ids import join_names
from pipeline.prepare.sources.coco_masks import decode_segmentation
from pipeline.prepare.sources.coco_validation import CocoImage, truncate

_MIN_CROWDS = 3  # fewer may be chance
_MIN_CROWD_SHARE = 0.05  # of all annotations; in COCO itself about 1 % are crowds
_MIN_CONNECTED_SHARE = 0.9  # of the crowds
_MAX_CHECKED = 200  # crowds that are decoded
_EIGHT_NEIGHBORS = np.ones((3, 3), bool)


class AnnotationStats:
    """The annotations of the images that are in the folder."""

    def __init__(self, images: Sequence[CocoImage], categories: Mapping[int, str]) -> None:
        self._images, self._categories = images, categories
        self._objects = sum((Counter(image.objects) for image in images), Counter[int]())
        self._crowds = sum((Counter(image.crowds) for image in images), Counter[int]())

    @property
    def used(self) -> list[str]:
        """The names of the categories that any annotation has, in the order of the file."""
        numbers = self._objects.keys() | self._crowds.keys()
        return list(dict.fromkeys(name for number, name in self._categories.items() if number in numbers))

    @property
    def crowd_count(self) -> str:
        """How many annotations are crowds, in words; empty if none."""
        crowds, total = self._crowds.total(), self._objects.total() + self._crowds.total()
        marked = "is marked as a crowd" if crowds == 1 else "are marked as crowds"
        return f"{crowds:,} of {total:,} annotations {marked} (iscrowd: 1)" if crowds else ""

    @property
    def only_crowds(self) -> list[str]:
        """The names of the categories that crowds have, but no object."""
        of_objects = {self._categories[number] for number in self._objects}
        return [name for name in self.used if name not in of_objects]

    @cached_property
    def single_crowds(self) -> str:
        """Evidence that the crowds are single objects, which some tools mark as crowds; empty if there is none."""
        crowds, total = self._crowds.total(), self._objects.total() + self._crowds.total()
        if crowds < _MIN_CROWDS or crowds < _MIN_CROWD_SHARE * total:
            return ""
        checked = self._some_crowds(crowds)
        connected = sum(_is_connected(entry["segmentation"], size) for entry, size in checked)
        if not checked or connected < _MIN_CONNECTED_SHARE * len(checked):
            return ""
        sample = f" of {len(checked):,} that were checked" if len(checked) < crowds else f" of {crowds:,}"
        return f"{connected:,}{sample} cover one connected region, as single objects do"

    def notices(self, crowd: Crowd, key: str) -> tuple[str, ...]:
        """Describe what the owner of the data should check.

        Args:
            crowd: as the section has it.
            key: of the section, for messages.
        """
        found = [
            self._of_crowds(crowd, key),
            self._of_unused(),
            self._of_crowd_categories(crowd),
            *self._of_similar_names(),
            self._of_empty(),
            *self._of_repeated(),
            self._of_images(),
        ]
        return tuple(filter(None, found))

    def _of_crowds(self, crowd: Crowd, key: str) -> str:
        if not self._crowds:
            return ""
        if crowd == "object":
            evidence = f" {self.single_crowds}." if self.single_crowds else ""
            return (
                f"{self.crowd_count}, and {key}.crowd: object draws them like all other annotations.{evidence} If they "
                f"mark groups of objects, set {key}.crowd: ignore."
            )
        found = f"{self.crowd_count}: the pixels of crowds are ignored, in training and in scores."
        if not self._objects:
            found += " No annotation is left as an object."
        if self.single_crowds:
            found += (
                f" {self.single_crowds}, and some tools set iscrowd: 1 for every RLE. If they are objects, set "
                f"{key}.crowd: object."
            )
        return found

    def _of_unused(self) -> str:
        used = set(self.used)
        unused = [name for name in dict.fromkeys(self._categories.values()) if name not in used]
        if not unused or not used:
            return ""
        one = len(unused) == 1
        what = f"{'1 category has' if one else f'{len(unused):,} categories have'} no usable annotation in the images"
        return f"{what}, so `pipeline init` makes no class of {'it' if one else 'them'}: {_quote_names(unused)}."

    def _of_crowd_categories(self, crowd: Crowd) -> str:
        only = self.only_crowds
        if crowd == "object" or not only or not self._objects:
            return ""
        what = "category" if len(only) == 1 else "categories"
        return (
            f"Only crowds have the {what} {_quote_names(only)}: none of their pixels has a class while crowds are "
            f"ignored."
        )

    def _of_similar_names(self) -> list[str]:
        numbers: dict[str, list[int]] = {}
        for number, name in self._categories.items():
            if number in self._objects or number in self._crowds:
                numbers.setdefault(name, []).append(number)
        similar: dict[str, list[str]] = {}
        for name in self.used:
            similar.setdefault(_normalize_name(name), []).append(name)
        return [
            f"The category {_quote_names([name])} has several ids ({join_names(list(map(str, several)))}): they are "
            f"one class."
            for name, several in numbers.items()
            if len(several) > 1
        ] + [
            f"The categories {_quote_names(names)} differ only in case, spaces or Unicode form. If they mean the same, "
            f"give one class all of them."
            for names in similar.values()
            if len(names) > 1
        ]

    def _of_empty(self) -> str:
        names = [f"{name} in {image.file_name}" for image in self._images for name in image.without_pixels]
        if not names:
            return ""
        what = "1 annotation covers" if len(names) == 1 else f"{len(names):,} annotations cover"
        return f"{what} no pixel of the image: outside of it, too small or empty: {join_names(names)}."

    def _of_repeated(self) -> list[str]:
        repeated = sum(image.repeated for image in self._images)
        conflicting = sum(image.conflicting for image in self._images)
        found = []
        if repeated:
            what = "1 annotation repeats" if repeated == 1 else f"{repeated:,} annotations repeat"
            found.append(f"{what} another one of the same image, outline and category; this does not change the masks.")
        if conflicting:
            what = "1 annotation has" if conflicting == 1 else f"{conflicting:,} annotations have"
            found.append(
                f"{what} the outline of another one of the same image, but another category: only the one with the "
                f"highest id is seen."
            )
        return found

    def _of_images(self) -> str:
        count = sum(not (image.objects or image.crowds or image.issues) for image in self._images)
        if not count:
            return ""
        return (
            f"{count:,} of {len(self._images):,} images {'has' if count == 1 else 'have'} no annotation, so all of "
            f"{'it' if count == 1 else 'them'} is background. If {'it is' if count == 1 else 'they are'} not annotated "
            f"yet, leave {'it' if count == 1 else 'them'} out."
        )

    def _some_crowds(self, crowds: int) -> list[tuple[dict[str, Any], tuple[int, int]]]:
        """Take evenly spaced crowds, with the size of their image."""
        places = set(np.linspace(0, crowds - 1, min(crowds, _MAX_CHECKED)).round().astype(int).tolist())
        found, place = [], 0
        for image in self._images:
            count = sum(image.crowds.values())
            if image.size is not None and places & set(range(place, place + count)):
                entries = [entry for entry in json.loads(image.annotations) if entry["iscrowd"]]
                found += [(entry, image.size) for at, entry in enumerate(entries, place) if at in places]
            place += count
        return found


def _is_connected(segmentation: Any, size: tuple[int, int]) -> bool:
    """Return whether a segmentation is one region; corners connect."""
    from scipy.ndimage import label  # takes 0.2 s, in each process that decodes images

    mask = decode_segmentation(segmentation, *size)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return False
    mask = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]  # labeling a whole image takes long
    return bool(label(mask, _EIGHT_NEIGHBORS)[1] == 1)


def _normalize_name(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).split()).casefold()


def _quote_names(names: Sequence[str]) -> str:
    return join_names([f"'{truncate(name)}'" for name in names])
