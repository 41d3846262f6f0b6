"""Match the predicted objects of a split with those of the ground truth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pipeline.analysis.objects import ObjectMatches, match_objects, score_objects
from pipeline.artifacts.image_stack import ImageStack
from pipeline.artifacts.object_scores import ObjectEvaluation, ObjectScores
from pipeline.artifacts.prepared_data import SPLITS, Split
from pipeline.imaging import IGNORE
from pipeline.imaging.objects import label_objects, label_true_objects
from pipeline.inference.objects import ObjectSettings
from pipeline.runtime.shutdown import check_signals

MAX_WORST = 2  # number of validation images with the lowest panoptic quality whose predicted masks are kept


def match_split(split: Split, masks: ImageStack[np.uint8], settings: ObjectSettings) -> list[ObjectMatches]:
    """Match the objects of each image in a split, without ignored pixels.

    Args:
        split: The images and their ground truth.
        masks: Predicted class indices.
        settings: The classes of objects.
    """
    matches = []
    for index, (truth, mask) in enumerate(zip(split.masks, masks, strict=True)):
        check_signals()
        evaluated = truth != IGNORE
        instances = split.instances[index] if split.instances is not None else None
        true = label_true_objects(truth, instances, settings.foreground, settings.boundary).keep(evaluated)
        predicted = label_objects(mask, settings.foreground, settings.boundary, settings.min_area).keep(evaluated)
        matches.append(match_objects(true.labels, predicted.labels, true.classes, predicted.classes))
    return matches


def summarize_objects(matches: Mapping[str, Sequence[ObjectMatches]], settings: ObjectSettings) -> ObjectEvaluation:
    """Score the objects of each split."""
    train, validation, test = (score_objects(matches[name]) for name in SPLITS)
    return ObjectEvaluation(
        classes=settings.names,
        min_area=settings.min_area,
        is_numbered=settings.is_numbered,
        train=train,
        validation=validation,
        test=test,
    )


def list_object_rows(
    ids: Mapping[str, Sequence[str]], matches: Mapping[str, Sequence[ObjectMatches]]
) -> Iterator[tuple[str, str, ObjectScores]]:
    """Yield the id, the split and the scores of each image."""
    for name in SPLITS:
        for sample, image in zip(ids[name], matches[name], strict=True):
            yield sample, name, score_objects([image])


def find_worst_images(matches: Sequence[ObjectMatches]) -> list[int]:
    """Find the images with the lowest panoptic quality. Images without objects are not among them."""
    qualities = [score_objects([image]).panoptic_quality for image in matches]
    order = np.argsort([math.inf if quality is None else quality for quality in qualities], kind="stable")
    return [int(index) for index in order[:MAX_WORST] if qualities[index] is not None]
