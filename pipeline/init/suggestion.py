"""Suggest the image size, batch size, number of epochs and mask orientation by measuring images and masks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from pydantic import Field

from pipeline.artifacts.prepared_data import SPLITS
from pipeline.errors import PipelineError
from pipeline.imaging.resize import FixedSize
from pipeline.init.orientation import guess_orientation
from pipeline.init.rare_classes import describe_rare_classes
from pipeline.params import Cell, validate
from pipeline.params.data.image_data import ImageMaskData, ImageSource, find_scenes
from pipeline.params.section import Section
from pipeline.params.train import Train
from pipeline.prepare.image_mask_pair import PairCollection
from pipeline.prepare.prepare_data import collect_pairs
from pipeline.prepare.size_effects import (
    GOOD_IOU,
    MULTIPLE,
    SizeCeilings,
    measure_size_ceilings,
    measure_size_effects,
)
from pipeline.prepare.sources.image_mask import ImageMaskSource
from pipeline.prepare.splitting.read_splits import TRAINVAL

# Training time grows with the number of pixels: compared with 128 px, it is 4 times as long at 256 px and 16 times at
# 512 px. The choice does not depend on measured times, so that the suggestion is the same on all machines.
MAX_SIZE = 256  # px
PATCH = 256  # px, side of the patches of native images, unless the images are smaller
SIZE_RULE = (
    f"Proposed (>): the smallest size up to {MAX_SIZE} px (4 times the time of 128 px) that\n"
    f"keeps the objects and gives every class at least {GOOD_IOU}; if none does, native:\n"
    f"patches of the images at their original size."
)

MIN_STEPS = 600  # steps of a run; a few dozen hardly change a network
# Minimum number of steps for suggesting larger batches. With fewer steps, small batches learn more in the same number
# of epochs (docs/explanation/recipe.md: batches of 16 are worse than batches of 4), and on a CPU, larger batches
# shorten an epoch by only 5 to 20%.
MANY_STEPS = 10 * MIN_STEPS
BATCH_SIZES = (4, 8, 16, 32)  # images

MAX_SPLIT = 1000  # images; with more, an estimate is sufficient


@dataclass(frozen=True)
class SuggestedClasses:
    """Keys of a `data` section that describe the classes."""

    section: dict[str, Any]
    class_remarks: tuple[str, ...] = ()  # comment on each class, in the same order
    notices: tuple[str, ...] = ()  # sentences about guesses, each with the setting for the alternative interpretation
    remarks: dict[str, str] = field(default_factory=dict)  # comments by key of the section


@dataclass(frozen=True)
class Suggestion:
    """A suggested `data` section, and the guesses that it is based on."""

    section: dict[str, Any]  # as in `params.yaml`
    found: str  # short description of the folder's content
    training: int  # number of training images with this section
    remarks: dict[str, str]  # comments by key of the section
    class_remarks: tuple[str, ...]  # comment on each class, in the same order
    groups: str  # regular expression that may find groups; empty if there is none
    channels: int  # number of channels of the prepared images
    sizes: Mapping[tuple[int, int], int]  # number of opened images by height and width
    notices: tuple[str, ...]  # possible mistakes in the data
    ceilings: SizeCeilings | None = None  # of the usual and larger sizes; None if pairs could not be collected
    patch: int | None = None  # px, side of the patches if native images are proposed
    rare: str = ""  # clause that names the foreground classes with a small share of the pixels; empty if there are none

    def count_patches(self, images: int, patch: tuple[int, int]) -> int:
        """Estimate how many patches of a given height and width (px) cover a number of images once."""
        patches = sum(
            count * math.prod(math.ceil(side / part) for side, part in zip(size, patch, strict=True))
            for size, count in self.sizes.items()
        )
        return round(images * patches / sum(self.sizes.values()))

    def count_samples(self, train: Train, max_images: int | None = None) -> int:
        """Count the training images per epoch, or the patches if training uses patches."""
        images = min(self.training, max_images or self.training)
        if train.patch is None:
            return images
        return train.patches_per_epoch or self.count_patches(images, train.patch)

    def count_steps(self, cell: Cell) -> int:
        """Count the steps of a cell's run."""
        samples = self.count_samples(cell.train, cell.max_train_images)
        step_size = cell.train.gradient_accumulation_steps * cell.train.batch_size
        return cell.train.epochs * steps_per_epoch(samples, step_size)


def steps_per_epoch(training: int, batch: int) -> int:
    """Count the steps per epoch. An incomplete last batch is dropped."""
    return max(1, training // batch)


def choose_batch(training: int, epochs: int) -> int:
    """Choose the largest batch size that results in at least `MANY_STEPS` steps, or else the smallest one."""
    large = [batch for batch in BATCH_SIZES if epochs * steps_per_epoch(training, batch) >= MANY_STEPS]
    return max(large, default=BATCH_SIZES[0])


def choose_epochs(training: int, batch: int, usual: int) -> int:
    """Keep the usual number of epochs, or increase it to reach `MIN_STEPS` steps."""
    return max(usual, math.ceil(MIN_STEPS / steps_per_epoch(training, batch)))


class _SuggestedData(Section):
    data: ImageSource = Field(discriminator="source")


def validate_section(section: dict[str, Any]) -> ImageSource:
    """Validate a suggested section."""
    return validate(_SuggestedData, {"data": section}, "").data


def complete_suggestion(suggestion: Suggestion) -> Suggestion:
    """Choose the image size and the mask orientation, and count the training images.

    Scenes keep their native size. If the pairs cannot be collected, the rest of the suggestion is returned unchanged;
    `pipeline data check` reports the reason.
    """
    try:
        data = validate_section(suggestion.section)
        collection = collect_pairs(data)
    except PipelineError:
        if "scenes" not in suggestion.section:
            return suggestion
        section = {**suggestion.section, "image_size": "native"}
        return replace(suggestion, section=section, patch=_choose_patch(suggestion.sizes))
    section, remarks, notices = dict(suggestion.section), dict(suggestion.remarks), list(suggestion.notices)
    notices += [notice for notice in collection.notices if notice not in notices]
    notices += collection.splits.error.splitlines()
    if guess := guess_orientation(collection, data.channels):
        section["mask_orientation"], reasons = guess
        remarks["mask_orientation"] = "how masks cover images with an EXIF orientation: upright | stored"
        notices += reasons

    pairs, proposed = list(collection.pairs.values()), suggestion.section["image_size"]
    ceilings = measure_size_ceilings(pairs, collection, FixedSize((proposed, proposed), data.resize))
    usual = _choose_size(ceilings, proposed)
    effects = measure_size_effects(pairs, collection, FixedSize((usual, usual), data.resize))
    size = max(effects.sufficient) if isinstance(effects.sufficient, tuple) else usual
    loses_objects = effects.is_lossy and effects.sufficient is None
    is_good = not ceilings.sizes or ceilings.at((size, size)).is_good
    patch = None
    has_scenes = find_scenes(data) is not None
    if has_scenes or loses_objects or not is_good or size > max(MAX_SIZE, proposed):
        patch, size = _choose_patch(suggestion.sizes), usual
    if effects.is_lossy and not has_scenes:
        notices.append(effects.sentence())
    if ceilings.sizes and not ceilings.at((size, size)).is_good and not has_scenes:
        notices.append(ceilings.sentence((size, size)))
    if patch:
        section["image_size"] = "native"
        remarks["image_size"] = f"the images' own size, {remarks['image_size'].partition(' are ')[2]}"
        remarks["resize"] = "unused with image_size: native"
    if patch and not has_scenes:
        notices.append(
            f"data.image_size: native is proposed with train.patch_size: {patch}, so that training uses the original "
            "pixels; see docs/how-to/large-images.md. For whole images, set data.image_size to a number and "
            "train.patch_size to null."
        )
    if not patch:
        section["image_size"] = size
        if ceilings.sizes:
            ceiling = ceilings.at((size, size))
            remarks["image_size"] += f"; IoU at most {ceiling.lowest:.3f} for {ceiling.worst}"
    # Without usable pairs, the estimate is kept.
    training = _count_training(validate_section(section), collection) or suggestion.training
    return replace(
        suggestion,
        section=section,
        remarks=remarks,
        notices=tuple(notices),
        training=training,
        ceilings=ceilings,
        patch=patch,
        rare=describe_rare_classes(ceilings.pixel_shares, collection.classes),
    )


def _choose_size(ceilings: SizeCeilings, smallest: int) -> int:
    """Choose the smallest affordable size that is good or, if there is none, the one with the highest minimum IoU."""
    affordable = [ceiling for ceiling in ceilings.sizes if max(ceiling.size) <= max(MAX_SIZE, smallest)]
    good = [ceiling for ceiling in affordable if ceiling.is_good]
    best = max(affordable, key=lambda ceiling: ceiling.lowest, default=None)
    return max(good[0].size) if good else max(best.size) if best else smallest


def _choose_patch(sizes: Mapping[tuple[int, int], int]) -> int:
    """Choose the side of the patches in px: at most `PATCH`, and no larger than most images."""
    shorter_side = int(median(min(size) for size, count in sizes.items() for _ in range(count)))
    return max(MULTIPLE, min(PATCH, shorter_side // MULTIPLE * MULTIPLE))


def _count_training(data: ImageMaskData, collection: PairCollection) -> int:
    """Count the training images by assigning splits, or estimate them from the shares if that takes long."""
    if len(collection.pairs) <= MAX_SPLIT:
        try:
            return ImageMaskSource(data, collection).count(SPLITS[0])
        except PipelineError:
            pass  # `pipeline data check` reports the reason
    rows, shares = collection.splits.rows or {}, data.splits
    weights = {"train": 1, TRAINVAL: 1 - shares.validation, "": 1 - shares.validation - shares.test}
    splits = [rows[name].split if name in rows else "" for name in collection.pairs]
    return int(sum(weights.get(split, 0) for split in splits))
