"""Survey a sample of masks: values, frequencies, and the geometry of their regions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.imaging.errors import ImageError
from pipeline.imaging.mask_decoding import MAX_NUMBER, Values, decode_mask, keep_background
from pipeline.prepare.data_issues import DataIssue
from pipeline.prepare.image_mask_pair import ImageMaskPair
from pipeline.prepare.mask_sample import sample_evenly
from pipeline.prepare.palette_check import PaletteCheck
from pipeline.prepare.read_file import read_file

MIN_CONNECTED = 0.8  # share of the values that are one connected region in their mask
MAX_MASKS = 200  # masks that are opened
MAX_COLORS = 256  # masks with more colors are images, each of which adds a million colors

_MAX_MEASURED = 40  # masks whose regions are measured (slow)
_MAX_REGION_VALUES = 2_000  # regions of masks with more values are not measured
_END = 0.05  # fraction of the value range that counts as near its end
_MIN_COLORS = 8  # with at least this many colors, a mask may contain interpolated ones


class MaskGeometry:
    """Geometry of each value's regions in some masks."""

    def __init__(self) -> None:
        self.pixels = Counter[int]()  # number of pixels by value
        self.masks = Counter[int]()  # number of masks that contain a value
        self.regions = Counter[int]()  # number of connected regions of a value in all masks
        self.single = Counter[int]()  # masks in which all pixels of a value are one connected region, by value
        self.contacts = Counter[tuple[int, int]]()  # neighboring pixels (beside or below each other) by their values
        self.touched = defaultdict[int, float](float)  # by value: sum over masks of the share of values it touches
        self.sides: list[int] = []  # shorter side of each mask, px

    def add(self, mask: Values, pixels: dict[int, int]) -> None:
        """Measure a mask (H x W). `pixels` maps its values, in ascending order, to their numbers of pixels."""
        names = list(pixels)
        codes = np.searchsorted(np.array(names, mask.dtype), mask)
        self.sides.append(min(mask.shape))
        self.pixels.update(pixels)
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
        """Count a value's contacts by the value on the other side."""
        found: Counter[int] = Counter()
        for (low, high), count in self.contacts.items():
            if value in (low, high):
                found[high if value == low else low] += count
        return found

    def width(self, value: int) -> float:
        """Compute the mean width of a value's regions in px: that of a strip with the same area and outline."""
        outline = self.count_contacts(value).total()
        return 2 * self.pixels[value] / outline if outline else float("inf")

    def regions_per_mask(self, value: int) -> float:
        """Compute the mean number of regions of a value in the masks that contain it."""
        return self.regions[value] / self.masks[value] if self.masks[value] else 0.0

    def touched_share(self, value: int) -> float:
        """Compute the mean share of a mask's other values that a value touches."""
        return self.touched[value] / self.masks[value] if self.masks[value] else 0.0


def _count_contacts(codes: NDArray[np.integer], count: int) -> dict[tuple[int, int], int]:
    pairs = []
    for one, other in ((codes[:, :-1], codes[:, 1:]), (codes[:-1], codes[1:])):
        is_contact = one != other
        pair = np.sort(np.stack([one[is_contact], other[is_contact]]), axis=0)
        pairs.append(pair[0] * count + pair[1])
    found, counts = np.unique(np.concatenate(pairs), return_counts=True)
    return {(code // count, code % count): number for code, number in zip(found.tolist(), counts.tolist(), strict=True)}


@dataclass(frozen=True)
class OpenedMask:
    """Values of a mask."""

    file: str
    values: frozenset[int]
    frame: int  # most common value of its outermost pixels
    majority: int  # most common value


class MaskSurvey:
    """Statistics of the masks that were opened."""

    def __init__(self, colors: bool) -> None:
        self.colors = colors  # whether values are colors, 0xRRGGBB, instead of numbers
        self.num_unreadable = 0  # files that could not be read
        self.unreadable = ""  # first file that could not be read, and the reason
        self.opened: list[OpenedMask] = []  # masks that could be read
        self.frame_pixels = Counter[int]()  # number of outermost pixels of all masks by value
        self.pixels = Counter[int]()  # number of pixels by value
        self.masks = Counter[int]()  # number of masks that contain a value
        self.between = 0  # number of pixels whose value is not near the lowest or highest one of its mask
        self.ramps = Counter[int]()  # number of pixels with a lower and a higher neighbor, as on a soft edge, by value
        self.geometry = MaskGeometry()  # regions of the values, in some of the masks
        self.palette: dict[int, int] = {}  # color of each index in palettes, except gray ones
        self.lossy = ""  # lossy format of masks, which changes values; empty if there is none
        self.palette_conflict: DataIssue | None = None  # masks in which the same index has different colors
        self.background_conflict: DataIssue | None = None  # the same for the background, index 0

    @property
    def count(self) -> int:
        """Number of masks that could be read."""
        return len(self.opened)

    @property
    def values(self) -> list[frozenset[int]]:
        """Values of each mask."""
        return [mask.values for mask in self.opened]

    def describe_unreadable(self) -> str:
        """Describe how many masks could not be read, and why, as a clause."""
        count, total = self.num_unreadable, self.count + self.num_unreadable
        return f"{count} of {total} masks that were opened cannot be read (for example, {self.unreadable})"

    def format_value(self, value: int) -> str:
        """Format a value for a sentence."""
        return f"#{value:06x}" if self.colors else str(value)

    def quote_value(self, value: int) -> str:
        """Format a value for YAML."""
        return f'"#{value:06x}"' if self.colors else str(value)

    def frame_share(self, value: int) -> float:
        """Compute the share of a value in the outermost pixels of all masks."""
        return self.frame_pixels[value] / self.frame_pixels.total()

    @property
    def ramp_share(self) -> float:
        """Share of the pixels with intermediate values that are on a soft edge."""
        return self.ramps.total() / self.between if self.between else 0.0

    @property
    def connected_share(self) -> float:
        """Share of the values above 0 whose pixels are one connected region in their mask."""
        seen = sum(count for value, count in self.geometry.masks.items() if value)
        return sum(count for value, count in self.geometry.single.items() if value) / seen if seen else 0.0

    def add(self, file: str, mask: Values, lossy: str) -> None:
        """Add a mask (H x W) to the statistics."""
        pixels = _count_values(mask)
        frame = _count_values(np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]))
        most, most_on_frame = max(pixels, key=pixels.__getitem__), max(frame, key=frame.__getitem__)
        self.opened.append(OpenedMask(file, frozenset(pixels), most_on_frame, most))
        self.frame_pixels.update(frame)
        self.pixels.update(pixels)
        self.masks.update(pixels.keys())
        self.lossy = self.lossy or lossy
        if len(self.opened) <= _MAX_MEASURED and len(pixels) <= _MAX_REGION_VALUES:
            self.geometry.add(mask, pixels)
        if self.colors:
            if len(pixels) >= _MIN_COLORS:
                self._count_color_ramps(mask)
        elif len(pixels) > 2:
            self._count_ramps(mask, min(pixels), max(pixels))

    def _count_ramps(self, mask: Values, low: int, high: int) -> None:
        margin = _END * (high - low)
        between = (mask > low + margin) & (mask < high - margin)
        lowest = ndimage.minimum_filter(mask, 3)[between]
        highest = ndimage.maximum_filter(mask, 3)[between]
        self.between += int(between.sum())
        on_ramp = (lowest < mask[between]) & (mask[between] < highest)
        self.ramps.update(mask[between][on_ramp].tolist())

    def _count_color_ramps(self, mask: Values) -> None:
        on_ramp = np.zeros(mask.shape, bool)
        for shift in (16, 8, 0):
            level = (mask >> shift & 255).astype(np.uint8)
            on_ramp |= (ndimage.minimum_filter(level, 3) < level) & (level < ndimage.maximum_filter(level, 3))
        self.ramps.update(mask[on_ramp].tolist())


def survey_masks(folder: Path, files: Sequence[str], colors: bool = False) -> MaskSurvey:
    """Collect statistics of a sample of masks. Masks that cannot be read are left out.

    Args:
        folder: Folder of the data set.
        files: Paths of the masks, relative to the folder.
        colors: Whether to read values as colors. If any mask has colors, all values are read as colors regardless.
    """
    survey, palettes, backgrounds = MaskSurvey(colors), PaletteCheck(), PaletteCheck()
    for file in sample_evenly(files, MAX_MASKS):
        content = b""
        try:
            content = read_file(folder, file)
            mask = decode_mask(content, colors, MAX_NUMBER)
        except (ImageError, OSError) as error:
            if not colors and _is_color(content):
                return survey_masks(folder, files, colors=True)
            survey.num_unreadable += 1
            survey.unreadable = survey.unreadable or f"{file} {error}"
            continue
        survey.add(file, mask.values, _find_lossy_format(content))
        survey.palette.update({index: color for index, color in mask.palette if not index or color != index * 0x010101})
        pair = ImageMaskPair(file, file, file)
        survey.palette_conflict = survey.palette_conflict or next(iter(palettes.check(pair, mask.palette)), None)
        background = next(iter(backgrounds.check(pair, keep_background(mask.palette))), None)
        survey.background_conflict = survey.background_conflict or background
        if colors and len(survey.pixels) > MAX_COLORS:
            break
    return survey


def _find_lossy_format(content: bytes) -> str:
    if content.startswith(b"\xff\xd8"):
        return "JPEG"
    return "lossy WebP" if content[8:12] == b"WEBP" and b"VP8 " in content[12:64] else ""


def _count_values(pixels: NDArray[np.integer]) -> dict[int, int]:
    values, counts = np.unique(pixels, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _is_color(content: bytes) -> bool:
    try:
        decode_mask(content, colors=True)
    except ImageError:
        return False
    return True
