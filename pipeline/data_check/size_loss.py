"""What the prepared size does: objects and area that are lost, the highest possible IoU, and lost objects."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from pipeline.artifacts.prepared_data import SegmentationClass
from pipeline.number_format import MISSING, format_number
from pipeline.params.data import Data
from pipeline.prepare.lost_objects import LostObject
from pipeline.prepare.source import SourceData
from pipeline.report.figures.thumbnail import render_thumbnail
from pipeline.report.images import EmbeddedImage
from pipeline.wording import capitalize_first, format_size, pluralize

MAX_EXAMPLES = 4
EXAMPLE_SIDE = 240  # px, longer side of an example
_COMPOSED = "The images are composed at the prepared size, so nothing is lost."


@dataclass(frozen=True)
class ClassLoss:
    """What a class loses at the prepared size."""

    name: str
    objects: str
    kept: str
    area: str
    iou: str  # highest possible IoU


@dataclass(frozen=True)
class LossExample:
    """An object that vanishes, before and after resizing."""

    text: str
    before: EmbeddedImage
    after: EmbeddedImage


@dataclass(frozen=True)
class SizeLoss:
    """What the prepared size does to each class."""

    sentence: str
    classes: tuple[ClassLoss, ...]
    sizes: tuple[tuple[str, str, str], ...]  # size, lowest highest-possible IoU of a class, and the class
    remedy: str  # empty if the size is good
    examples: tuple[LossExample, ...]

    @property
    def has_iou(self) -> bool:
        """Whether the highest possible IoU is known, as for images that are resized to a fixed size."""
        return any(one.iou != MISSING for one in self.classes)


def describe_size_loss(data: SourceData, section: Data) -> SizeLoss | None:
    """Describe the prepared size; None if no mask could be examined."""
    effects, ceilings = data.size_effects, data.size_ceilings
    if effects is None:
        return SizeLoss(_COMPOSED, (), (), "", ())
    if not effects.classes:
        return None
    present = ceilings.at(section.size) if ceilings and ceilings.sizes and section.size else None
    kept = {effect.name: effect for effect in effects.classes}
    iou = present.iou if present else {}
    names = [item.name for item in data.classes if item.name in kept or item.name in iou]
    is_good = present is None or present.is_good
    return SizeLoss(
        sentence=f"Networks see the images at {effects.shown}. {pluralize(effects.masks, 'mask was', 'masks were')} "
        "examined.",
        classes=tuple(
            ClassLoss(
                name=name,
                objects=f"{kept[name].objects:,}" if name in kept else MISSING,
                kept=f"{kept[name].kept:,}" if name in kept else MISSING,
                area=f"{kept[name].area:.0%}" if name in kept else MISSING,
                iou=format_number(iou.get(name)),
            )
            for name in names
        ),
        sizes=()
        if is_good or ceilings is None
        else tuple((format_size(one.size), format_number(one.lowest), one.worst) for one in ceilings.sizes),
        remedy="" if is_good or ceilings is None else f"For a higher IoU: {ceilings.remedy()}.",
        examples=tuple(_show(lost, tuple(data.classes)) for lost in islice(data.lost_objects, MAX_EXAMPLES)),
    )


def _show(lost: LostObject, classes: tuple[SegmentationClass, ...]) -> LossExample:
    what = f"{lost.name} object of {pluralize(lost.area, 'pixel')} in {lost.id}"
    return LossExample(
        text=capitalize_first(what),
        before=_render(lost.image, lost.mask, classes, f"Original: {what}", "original"),
        after=_render(lost.prepared_image, lost.prepared_mask, classes, f"At the prepared size: {what}", "prepared"),
    )


def _render(
    image: npt.NDArray[np.uint8 | np.uint16],
    mask: npt.NDArray[np.uint8],
    classes: tuple[SegmentationClass, ...],
    alt: str,
    caption: str,
) -> EmbeddedImage:
    """Render a part of an image; small parts are enlarged without interpolation, so that pixels are visible."""
    times = max(1, -(-EXAMPLE_SIDE // max(mask.shape)))
    large = image.repeat(times, axis=0).repeat(times, axis=1)
    return render_thumbnail(
        large, mask.repeat(times, axis=0).repeat(times, axis=1), classes, alt, caption, side=EXAMPLE_SIDE
    )
