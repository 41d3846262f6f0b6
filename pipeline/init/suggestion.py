"""Suggest size, batch, epochs and orientation by measuring images and masks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.artifacts.prepared_data import SPLITS, SegmentationClass
from pipeline.errors import PipelineError
from pipeline.init.orientation import guess_orientation
from pipeline.params import validate
from pipeline.params.data import Data
from pipeline.params.data.composites import CompositesData
from pipeline.params.section import Section
from pipeline.prepare.image_mask_pair import PairCollection
from pipeline.prepare.sample_ids import join_names
from pipeline.prepare.size_ceilings import GOOD_IOU, SizeCeilings, measure_size_ceilings
from pipeline.prepare.size_effects import SizeEffects, measure_size_effects
from pipeline.prepare.source_factory import collect_pairs
from pipeline.prepare.sources.image_mask import ImageMaskSource
from pipeline.prepare.splitting.read_splits import TRAINVAL

# Training time grows with the pixels: 4 times at 256 px, 16 times at 512 px, compared with 128 px. Times are not
# measured for the choice, so that all machines suggest the same.
MAX_SIZE = 256  # px; for sharper outlines
MAX_SIZE_FOR_OBJECTS = 512  # px; if objects would vanish, which no network then learns
SIZE_RULE = (
    f"Proposed (>): the smallest size up to {MAX_SIZE} px (4 times the time of 128 px) that\n"
    f"gives every class {GOOD_IOU} or more, else the best of them; up to {MAX_SIZE_FOR_OBJECTS} px (16 times)\n"
    f"where objects would vanish."
)

MIN_SHARE = 0.01  # of the evaluated pixels

MIN_STEPS = 600  # of a run, as in the shipped grid; a few dozen hardly change a network
# For larger batches. With fewer steps, small batches learn better in the same epochs (docs/explanation/recipe.md:
# batches of 16 instead of 4 are worse), and on a CPU an epoch with larger ones is only 5 to 20 % shorter.
MANY_STEPS = 10 * MIN_STEPS
BATCH_SIZES = (4, 8, 16, 32)  # images

MAX_SPLIT = 1000  # images; with more, rounding does not matter


@dataclass(frozen=True)
class SuggestedSize:
    """A prepared size, and the measurements it is based on.

    Attributes:
        size: px, a multiple of 32.
        ceilings: of the usual size and larger ones.
        effects: of the size without regard to objects.
    """

    size: int
    ceilings: SizeCeilings
    effects: SizeEffects

    def notices(self) -> list[str]:
        """Report losses at this size, and the size without them."""
        found = []
        if self.effects.is_lossy:
            taken = "" if self.size == self.effects.size else f" The section has {self.size} px."
            found.append(self.effects.sentence() + taken)
        if self.ceilings.sizes and not self.ceilings.at(self.size).is_good:
            found.append(self.ceilings.sentence(self.size))
        return found

    def remark(self) -> str:
        """Describe the size in a comment; empty if no class occurs in the masks."""
        if not self.ceilings.sizes:
            return ""
        ceiling = self.ceilings.at(self.size)
        return f"IoU at most {ceiling.lowest:.3f} for {ceiling.worst}"


def suggest_size(data: Data, collection: PairCollection) -> SuggestedSize:
    """Measure the losses in masks at several sizes, and choose one.

    Args:
        data: its `image_size` is the smallest suggested size.
        collection: of the pairs.
    """
    assert not isinstance(data, CompositesData)
    pairs = list(collection.pairs.values())
    ceilings = measure_size_ceilings(pairs, collection, data.image_size, data.resize)
    size = _choose_size(ceilings, data.image_size)
    effects = measure_size_effects(pairs, collection, size, data.resize)
    if effects.sufficient is not None:
        return SuggestedSize(max(size, min(effects.sufficient, MAX_SIZE_FOR_OBJECTS)), ceilings, effects)
    return SuggestedSize(size, ceilings, effects)


def _choose_size(ceilings: SizeCeilings, smallest: int) -> int:
    """Choose the smallest affordable size that is good, or the one with the highest IoU of its lowest class."""
    affordable = [ceiling for ceiling in ceilings.sizes if ceiling.size <= max(MAX_SIZE, smallest)]
    good = [ceiling for ceiling in affordable if ceiling.is_good]
    best = max(affordable, key=lambda ceiling: ceiling.lowest, default=None)
    return good[0].size if good else best.size if best else smallest


@dataclass(frozen=True)
class Suggestion:
    """A section `data`, and the guesses it is based on.

    Attributes:
        section: as in `params.yaml`.
        found: content of the folder in a few words.
        images: number of images.
        training: number of training images with this section.
        remarks: comments by key of the section.
        class_remarks: comments by class, in their order.
        groups: regular expression that may find groups; empty if names show none.
        channels: of the prepared images.
        size: None if the pairs could not be collected.
        notices: possible mistakes in the data.
    """

    section: dict[str, Any]
    found: str
    images: int
    training: int = 0
    remarks: dict[str, str] = field(default_factory=dict)
    class_remarks: tuple[str, ...] = ()
    groups: str = ""
    channels: int = 3
    size: SuggestedSize | None = None
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class SuggestedClasses:
    """Classes of masks.

    Attributes:
        section: the keys classes and ignore_value, and optionally instances or mask_threshold.
        remarks: comments by class, in their order.
        ignore_remark: comment on the key ignore_value.
        notices: guesses, each with the setting for the other meaning.
    """

    section: dict[str, Any]
    remarks: tuple[str, ...]
    ignore_remark: str = ""
    notices: tuple[str, ...] = ()


def describe_rare_classes(shares: Mapping[str, float], classes: Sequence[SegmentationClass]) -> list[str]:
    """Name the foreground classes with a small share of the pixels, and the settings that help.

    Args:
        shares: of the pixels, by the class's name; classes that do not occur are missing.
        classes: of the data.
    """
    foreground = [one.name for one in classes if one.foreground and one.name in shares]
    rare = sorted((name for name in foreground if shares[name] < MIN_SHARE), key=shares.__getitem__)
    if not rare:
        return []
    which = join_names([f"{name} ({shares[name]:.2%})" for name in rare])
    holds = "has" if len(rare) == 1 else "have"
    return [
        f"{which} {holds} less than {MIN_SHARE:.0%} of the pixels, and cross-entropy may never predict such a class. "
        f"Try train.loss: cross_entropy_dice or focal, more train.epochs, or a larger data.image_size; see "
        f"docs/explanation/recipe.md, Rare classes."
    ]


def steps_per_epoch(training: int, batch: int) -> int:
    """Count the steps of an epoch; an incomplete last batch is dropped."""
    return max(1, training // batch)


def choose_batch(training: int, epochs: int) -> int:
    """Choose the largest batch that leaves `MANY_STEPS` steps in these epochs, else the smallest batch."""
    large = [batch for batch in BATCH_SIZES if epochs * steps_per_epoch(training, batch) >= MANY_STEPS]
    return max(large, default=BATCH_SIZES[0])


def choose_epochs(training: int, batch: int, usual: int) -> int:
    """Keep the usual number of epochs, or increase it to reach `MIN_STEPS` steps."""
    return max(usual, math.ceil(MIN_STEPS / steps_per_epoch(training, batch)))


class SuggestedData(Section):
    """A suggested section `data`."""

    data: Data


def complete_suggestion(suggestion: Suggestion) -> Suggestion:
    """Choose the size and the orientation of masks, and count the training images.

    If the pairs cannot be collected, the suggestion is returned unchanged; `pipeline data check` reports the reason.
    """
    try:
        data = validate(SuggestedData, {"data": suggestion.section}, "").data
        assert not isinstance(data, CompositesData)
        collection = collect_pairs(data)
    except PipelineError:
        return suggestion
    section, remarks, notices = dict(suggestion.section), dict(suggestion.remarks), list(suggestion.notices)
    notices += [notice for notice in collection.notices if notice not in notices]
    notices += collection.split_error.splitlines()
    orientation = guess_orientation(collection, data.channels)
    if orientation is not None:
        section["mask_orientation"] = orientation.choice
        remarks["mask_orientation"] = "which pixels of images that EXIF turns their masks cover: upright | stored"
        notices += orientation.sentences()
    suggested = suggest_size(data, collection)
    section["image_size"] = suggested.size
    remarks["image_size"] = "; ".join(filter(None, (remarks.get("image_size"), suggested.remark())))
    notices += suggested.notices()
    notices += describe_rare_classes(suggested.ceilings.pixel_shares, collection.classes)
    # Without usable pairs, the estimate is kept.
    training = _count_training(validate(SuggestedData, {"data": section}, "").data, collection) or suggestion.training
    return replace(
        suggestion, section=section, remarks=remarks, notices=tuple(notices), training=training, size=suggested
    )


def _count_training(data: Data, collection: PairCollection) -> int:
    """Count the training images by assigning splits, or estimate them by the shares if that takes long."""
    assert not isinstance(data, CompositesData)
    if len(collection.pairs) <= MAX_SPLIT:
        try:
            return ImageMaskSource(data, collection).count(SPLITS[0])
        except PipelineError:
            pass  # `pipeline data check` reports the reason
    rows, shares = collection.rows or {}, data.splits
    weights = {"train": 1, TRAINVAL: 1 - shares.validation, "": 1 - shares.validation - shares.test}
    splits = [rows[name].split if name in rows else "" for name in collection.pairs]
    return int(sum(weights.get(split, 0) for split in splits))
