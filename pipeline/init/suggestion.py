"""Choose the prepared size by what it leaves of the masks, as far as a grid stays affordable."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

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
from pipeline.runs import SPLITS, SegmentationClass

# A training takes as long as it has pixels: at 256 px 4 times as long as at 128 px, at 512 px 16 times. No clock
# decides, so that every machine proposes the same.
MAX_SIZE = 256  # px; for sharper outlines
MAX_SIZE_FOR_OBJECTS = 512  # px; if objects would vanish, which no network then learns
SIZE_RULE = (
    f"Proposed (>): the smallest size up to {MAX_SIZE} px (4 times the time of 128 px) that\n"
    f"gives every class {GOOD_IOU} or more, else the best of them; up to {MAX_SIZE_FOR_OBJECTS} px (16 times)\n"
    f"where objects would vanish."
)

MIN_SHARE = 0.01  # of the evaluated pixels

MIN_STEPS = 600  # of a training: as many as the shipped grid has; with some dozens a network hardly moves
# Larger batches need so many steps. With fewer, small batches learn better in the same epochs (docs/recipe.md: batches
# of 16 instead of 4 are worse), and on a CPU an epoch with larger ones is only 5 to 20 % shorter.
MANY_STEPS = 10 * MIN_STEPS
BATCH_SIZES = (4, 8, 16, 32)  # images

MAX_SPLIT = 1000  # images; with more, a training has steps enough whatever is rounded


@dataclass(frozen=True)
class SuggestedSize:
    """A size, and the measurements that led to it.

    Attributes:
        size: px, a multiple of 32.
        ceilings: of the usual size and larger ones.
        effects: of the size without regard to objects.
    """

    size: int
    ceilings: SizeCeilings
    effects: SizeEffects

    def notices(self) -> list[str]:
        """Report what this size loses, and which one would not."""
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
    """Measure what sizes leave of the masks, and choose one.

    Args:
        data: whose `image_size` is the smallest that is proposed.
        collection: the pairs.
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
    """The section `data`, and what a person should know to mend it."""

    section: dict[str, Any]  # as `params.yaml` would hold it
    found: str  # what the folder holds, in a few words
    images: int
    training: int = 0  # images that are trained on, if the section is taken as it is
    remarks: dict[str, str] = field(default_factory=dict)  # of keys of the section
    class_remarks: tuple[str, ...] = ()  # of the classes, in their order
    groups: str = ""  # a regular expression that may tell groups apart; empty where names show none
    channels: int = 3  # of the prepared images
    size: SuggestedSize | None = None  # None if the pairs could not be collected
    notices: tuple[str, ...] = ()  # sentences on what may be a mistake in the data, printed by `init`


@dataclass(frozen=True)
class SuggestedClasses:
    """What the masks hold, as a section says it."""

    section: dict[str, Any]  # classes, ignore, and perhaps instances or mask_threshold
    remarks: tuple[str, ...]  # of the classes, in their order
    ignore_remark: str = ""
    notices: tuple[str, ...] = ()  # the guesses, each with the setting to write if it is wrong


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
    holds = "holds" if len(rare) == 1 else "hold"
    return [
        f"{which} {holds} less than {MIN_SHARE:.0%} of the pixels, and cross-entropy may learn to leave such a class "
        f"out. Try train.objective: cross_entropy_dice or focal, more train.epochs, or a larger data.image_size; see "
        f"docs/recipe.md, Rare classes."
    ]


def steps_per_epoch(training: int, batch: int) -> int:
    """Count the steps of an epoch: a last batch that is not full is dropped."""
    return max(1, training // batch)


def choose_batch(training: int, epochs: int) -> int:
    """Choose the largest batch with which so many epochs have `MANY_STEPS` steps, else the smallest batch."""
    large = [batch for batch in BATCH_SIZES if epochs * steps_per_epoch(training, batch) >= MANY_STEPS]
    return max(large, default=BATCH_SIZES[0])


def choose_epochs(training: int, batch: int, usual: int) -> int:
    """Keep the usual number of epochs, or raise it to those that `MIN_STEPS` steps need."""
    return max(usual, math.ceil(MIN_STEPS / steps_per_epoch(training, batch)))


class SuggestedData(Section):
    """The section `data` as a proposal has it."""

    data: Data


def complete_suggestion(proposal: Suggestion) -> Suggestion:
    """Choose the size that keeps the objects and the orientation of masks; count the training images.

    If the pairs cannot be collected, the proposal stays as it is: the check reports the reason.
    """
    try:
        data = validate(SuggestedData, {"data": proposal.section}, "").data
        assert not isinstance(data, CompositesData)
        collection = collect_pairs(data)
    except PipelineError:
        return proposal
    section, remarks, notices = dict(proposal.section), dict(proposal.remarks), list(proposal.notices)
    notices += [notice for notice in collection.notices if notice not in notices]
    notices += collection.split_error.splitlines()
    orientation = guess_orientation(collection, data.channels)
    if orientation is not None:
        section["mask_orientation"] = orientation.choice
        remarks["mask_orientation"] = "which pixels of images that EXIF turns their masks cover: upright | stored"
        notices += orientation.sentences()
    proposed = suggest_size(data, collection)
    section["image_size"] = proposed.size
    remarks["image_size"] = "; ".join(filter(None, (remarks.get("image_size"), proposed.remark())))
    notices += proposed.notices()
    notices += describe_rare_classes(proposed.ceilings.pixel_shares, collection.classes)
    # Without usable pairs, an estimate for when they are.
    training = _count_training(validate(SuggestedData, {"data": section}, "").data, collection) or proposal.training
    return replace(proposal, section=section, remarks=remarks, notices=tuple(notices), training=training, size=proposed)


def _count_training(data: Data, collection: PairCollection) -> int:
    """Count the training images: by dividing the images, or by the shares if that takes long."""
    assert not isinstance(data, CompositesData)
    if len(collection.pairs) <= MAX_SPLIT:
        try:
            return ImageMaskSource(data, collection).count(SPLITS[0])
        except PipelineError:
            pass  # the check reports the reason
    rows, shares = collection.rows or {}, data.splits
    weights = {"train": 1, TRAINVAL: 1 - shares.validation, "": 1 - shares.validation - shares.test}
    splits = [rows[name].split if name in rows else "" for name in collection.pairs]
    return int(sum(weights.get(split, 0) for split in splits))
