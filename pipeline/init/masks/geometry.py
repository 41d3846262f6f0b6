"""Measure the regions of mask values: how many there are, how wide they are, and which values they touch."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.imaging.mask_decoding import Values


@dataclass
class MaskGeometry:
    """Regions of the values in the masks that were measured.

    Attributes:
        pixels: by value.
        masks: that hold a value.
        regions: connected regions of a value, in all masks.
        single: masks in which all pixels of a value are one connected region, by value.
        contacts: pairs of neighboring pixels (left and right, above and below) that have these two values.
        touched: for each value, the sum over its masks of the share of the other values that it touches.
        sides: shorter side of each mask, px.
    """

    pixels: Counter[int] = field(default_factory=Counter)
    masks: Counter[int] = field(default_factory=Counter)
    regions: Counter[int] = field(default_factory=Counter)
    single: Counter[int] = field(default_factory=Counter)
    contacts: Counter[tuple[int, int]] = field(default_factory=Counter)
    touched: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    sides: list[int] = field(default_factory=list)

    def add(self, mask: Values, values: NDArray[np.integer]) -> None:
        """Measure a mask.

        Args:
            mask: H x W.
            values: that occur in it, ascending.
        """
        names: list[int] = values.tolist()
        codes = np.searchsorted(values, mask)
        self.sides.append(min(mask.shape))
        self.pixels.update(dict(zip(names, np.bincount(codes.ravel()).tolist(), strict=True)))
        self.masks.update(names)
        for code, box in enumerate(ndimage.find_objects(codes + 1)):
            _, regions = ndimage.label(codes[box] == code, np.ones((3, 3)))
            self.regions[names[code]] += regions
            self.single[names[code]] += regions == 1
        contacts = _count_contacts(codes, len(names))
        neighbors = Counter(code for pair in contacts for code in pair)
        for (low, high), count in contacts.items():
            self.contacts[names[low], names[high]] += count
        for code, count in neighbors.items():
            self.touched[names[code]] += count / (len(names) - 1)

    def count_contacts(self, value: int) -> Counter[int]:
        """Count the contacts of a value by the value on the other side."""
        found: Counter[int] = Counter()
        for (low, high), count in self.contacts.items():
            if value in (low, high):
                found[high if value == low else low] += count
        return found

    def width(self, value: int) -> float:
        """Mean width of the regions of a value, px: as of a strip with as many pixels and as long an outline."""
        outline = self.count_contacts(value).total()
        return 2 * self.pixels[value] / outline if outline else float("inf")

    def regions_per_mask(self, value: int) -> float:
        """Mean number of regions of a value in the masks that hold it."""
        return self.regions[value] / self.masks[value] if self.masks[value] else 0.0

    def touched_share(self, value: int) -> float:
        """Mean share of the other values of a mask that a value touches."""
        return self.touched[value] / self.masks[value] if self.masks[value] else 0.0


def _count_contacts(codes: NDArray[np.integer], count: int) -> dict[tuple[int, int], int]:
    pairs = []
    for one, other in ((codes[:, :-1], codes[:, 1:]), (codes[:-1], codes[1:])):
        is_contact = one != other
        pair = np.sort(np.stack([one[is_contact], other[is_contact]]), axis=0)
        pairs.append(pair[0] * count + pair[1])
    found, counts = np.unique(np.concatenate(pairs), return_counts=True)
    return {(code // count, code % count): number for code, number in zip(found.tolist(), counts.tolist(), strict=True)}
