"""Match the objects of two label images, and score the matches. docs/reference/metrics.md has the formulas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from pipeline.artifacts.object_scores import ObjectScores, ThresholdScores

IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))  # 0.5 to 0.95

LabelImage = npt.NDArray[np.integer[Any]]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class ObjectKind(IntEnum):
    """How an object of one label image corresponds to those of the other one. Merges and splits take precedence."""

    UNMATCHED = 0  # a missed object in the ground truth, a false object in the prediction
    MATCHED = 1
    MERGED = 2  # part of a merge
    SPLIT = 3  # part of a split


@dataclass(frozen=True, eq=False)
class ObjectMatches:
    """The objects of an image's ground truth and prediction, and how they correspond.

    Attributes:
        true_numbers: Numbers of the objects in the ground truth, T.
        predicted_numbers: Numbers of the predicted objects, P.
        true_kinds: `ObjectKind` of each object in the ground truth, T.
        predicted_kinds: `ObjectKind` of each predicted object, P.
        ious: IoU of each matched pair; at least 0.5.
        merges: Number of predicted objects that are merges.
        splits: Number of objects in the ground truth that are split.
        missed: Number of unmatched objects in the ground truth that are in no merge and no split.
        false_objects: Number of unmatched predicted objects that are in no merge and no split.
        jaccard_intersection: Numerator of the aggregated Jaccard index, px.
        jaccard_union: Denominator of the aggregated Jaccard index, px.
    """

    true_numbers: Integers
    predicted_numbers: Integers
    true_kinds: Integers
    predicted_kinds: Integers
    ious: Floats
    merges: int
    splits: int
    missed: int
    false_objects: int
    jaccard_intersection: int
    jaccard_union: int


@dataclass(frozen=True, eq=False)
class _Overlaps:
    """Pairs of a true and a predicted object of the same class that share pixels, and the areas of all objects."""

    true: Integers  # index of the true object of each pair
    predicted: Integers  # index of the predicted object of each pair
    pixels: Integers  # number of shared pixels of each pair
    true_areas: Integers
    predicted_areas: Integers

    @property
    def unions(self) -> Integers:
        """Number of pixels in either object of each pair."""
        return self.true_areas[self.true] + self.predicted_areas[self.predicted] - self.pixels

    def swap(self) -> _Overlaps:
        """Exchange true and predicted objects."""
        return _Overlaps(self.predicted, self.true, self.pixels, self.predicted_areas, self.true_areas)


def match_objects(
    truth: LabelImage,
    prediction: LabelImage,
    true_classes: npt.NDArray[np.uint8] | None = None,
    predicted_classes: npt.NDArray[np.uint8] | None = None,
) -> ObjectMatches:
    """Match the objects of an image's ground truth and prediction.

    Pairs of objects with an IoU of at least 0.5 are matched one to one, as many as possible. For every threshold from
    0.5, this is the matching with the most pairs, and among these the one with the highest sum of IoUs: two pairs with
    an IoU above 0.5 have no object in common, and an object in such a pair is in no pair with an IoU of 0.5.

    A predicted object is a merge if it contains more than half of each of several true objects, and these parts are
    more than half of the predicted object. A true object is split if it contains more than half of each of several
    predicted objects, and these parts are more than half of the true object. These are the under- and
    over-segmentation of Hoover et al. 1996 (https://doi.org/10.1109/34.506791) with a tolerance of one half.

    Args:
        truth: Number of the object at each pixel in the ground truth, H x W; 0 is background.
        prediction: The same for the prediction.
        true_classes: Class of each number in the ground truth; None if all objects have the same class. Only objects of
            the same class overlap.
        predicted_classes: Class of each number in the prediction, likewise.
    """
    true_numbers, true = _number_in_raster_order(truth)
    predicted_numbers, predicted = _number_in_raster_order(prediction)
    overlaps = _measure_overlaps(true, predicted, len(true_numbers), len(predicted_numbers))
    if true_classes is not None and predicted_classes is not None:
        classes = true_classes[true_numbers], predicted_classes[predicted_numbers]
        is_same = classes[0][overlaps.true] == classes[1][overlaps.predicted]
        overlaps = _Overlaps(
            overlaps.true[is_same], overlaps.predicted[is_same], overlaps.pixels[is_same],
            overlaps.true_areas, overlaps.predicted_areas,
        )  # fmt: skip
    pairs = _match_pairs(overlaps)
    is_split, is_fragment = _find_splits(overlaps)
    is_merge, is_merged = _find_splits(overlaps.swap())
    true_kinds = np.zeros(len(true_numbers), np.int64)
    predicted_kinds = np.zeros(len(predicted_numbers), np.int64)
    true_kinds[overlaps.true[pairs]] = predicted_kinds[overlaps.predicted[pairs]] = ObjectKind.MATCHED
    true_kinds[is_split], predicted_kinds[is_fragment] = ObjectKind.SPLIT, ObjectKind.SPLIT
    true_kinds[is_merged], predicted_kinds[is_merge] = ObjectKind.MERGED, ObjectKind.MERGED
    intersection, union = _aggregate_jaccard(overlaps)
    return ObjectMatches(
        true_numbers=true_numbers,
        predicted_numbers=predicted_numbers,
        true_kinds=true_kinds,
        predicted_kinds=predicted_kinds,
        ious=overlaps.pixels[pairs] / overlaps.unions[pairs],
        merges=int(is_merge.sum()),
        splits=int(is_split.sum()),
        missed=int((true_kinds == ObjectKind.UNMATCHED).sum()),
        false_objects=int((predicted_kinds == ObjectKind.UNMATCHED).sum()),
        jaccard_intersection=intersection,
        jaccard_union=union,
    )


def score_objects(images: Sequence[ObjectMatches]) -> ObjectScores:
    """Score the objects of one or more images together. Undefined scores are None.

    Counts, sums of IoUs, and the numerators and denominators of the aggregated Jaccard index are added over the images.
    """
    objects = sum(len(image.true_numbers) for image in images)
    predicted = sum(len(image.predicted_numbers) for image in images)
    ious = np.concatenate([np.zeros(0), *(image.ious for image in images)])
    by_threshold = tuple(_score_threshold(threshold, ious, objects, predicted) for threshold in IOU_THRESHOLDS)
    first = by_threshold[0]
    union = sum(image.jaccard_union for image in images)
    precisions = [scores.average_precision for scores in by_threshold if scores.average_precision is not None]
    return ObjectScores(
        images=len(images),
        images_without_objects=sum(not len(image.true_numbers) + len(image.predicted_numbers) for image in images),
        objects=objects,
        predicted=predicted,
        matched=first.matched,
        merges=sum(image.merges for image in images),
        splits=sum(image.splits for image in images),
        missed=sum(image.missed for image in images),
        false_objects=sum(image.false_objects for image in images),
        precision=first.precision,
        recall=first.recall,
        f1=first.f1,
        average_precision=first.average_precision,
        mean_average_precision=float(np.mean(precisions)) if precisions else None,
        panoptic_quality=_divide(2 * float(np.sum(np.sort(ious))), objects + predicted),
        aggregated_jaccard=_divide(sum(image.jaccard_intersection for image in images), union),
        by_threshold=by_threshold,
    )


def _score_threshold(threshold: float, ious: Floats, objects: int, predicted: int) -> ThresholdScores:
    matched = int((ious >= threshold).sum())
    return ThresholdScores(
        iou=threshold,
        matched=matched,
        precision=_divide(matched, predicted),
        recall=_divide(matched, objects),
        f1=_divide(2 * matched, objects + predicted),
        average_precision=_divide(matched, objects + predicted - matched),
    )


def _divide(value: float, by: float) -> float | None:
    return value / by if by else None


def _number_in_raster_order(labels: LabelImage) -> tuple[Integers, Integers]:
    """Number objects from 1, in the order of their first pixels, row by row, so that numbers do not affect ties.

    Returns:
        The original numbers in the new order, and the new number of each pixel (flat); 0 is background.
    """
    flat = labels.ravel().astype(np.int64)
    if flat.max(initial=0) > flat.size:
        numbers, flat = np.unique(np.append(flat, 0), return_inverse=True)  # 0 is always included
        flat = flat[:-1]
    else:
        numbers = np.arange(int(flat.max(initial=0)) + 1)
    first = np.full(len(numbers), flat.size)
    first[flat[::-1]] = np.arange(flat.size)[::-1]  # of repeated numbers, the last assignment remains
    first[0] = flat.size
    order = np.argsort(first, kind="stable")
    order = order[first[order] < flat.size]
    renumbered = np.zeros(len(numbers), np.int64)
    renumbered[order] = np.arange(1, len(order) + 1)
    return numbers[order], renumbered[flat]


def _measure_overlaps(true: Integers, predicted: Integers, num_true: int, num_predicted: int) -> _Overlaps:
    """Measure the overlaps of objects, numbered from 1 in flat label images."""
    is_both = (true > 0) & (predicted > 0)
    places = (true[is_both] - 1, predicted[is_both] - 1)
    shared = coo_array((np.ones(len(places[0]), np.int64), places), shape=(num_true, num_predicted))
    shared.sum_duplicates()
    order = np.lexsort((shared.col, shared.row))
    return _Overlaps(
        true=shared.row[order].astype(np.int64),
        predicted=shared.col[order].astype(np.int64),
        pixels=shared.data[order],
        true_areas=np.bincount(true, minlength=num_true + 1)[1:],
        predicted_areas=np.bincount(predicted, minlength=num_predicted + 1)[1:],
    )


def _match_pairs(overlaps: _Overlaps) -> Integers:
    """Return the indices of the pairs in the largest one-to-one matching at an IoU of at least 0.5."""
    candidates = np.flatnonzero(overlaps.pixels / overlaps.unions >= IOU_THRESHOLDS[0])
    shape = len(overlaps.true_areas), len(overlaps.predicted_areas)
    if not len(candidates):
        return candidates
    true, predicted = overlaps.true[candidates], overlaps.predicted[candidates]
    graph = csr_array((np.ones(len(candidates), np.int8), (true, predicted)), shape=shape)
    partner = maximum_bipartite_matching(graph, perm_type="column")
    matched: Integers = candidates[partner[true] == predicted]
    return matched


def _find_splits(overlaps: _Overlaps) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Find split true objects, and the predicted objects that are their fragments.

    Returns:
        Whether each true object is split, and whether each predicted object is a fragment of a split object.
    """
    is_inside = 2 * overlaps.pixels > overlaps.predicted_areas[overlaps.predicted]
    true, predicted = overlaps.true[is_inside], overlaps.predicted[is_inside]
    fragments = np.bincount(true, minlength=len(overlaps.true_areas))
    covered = np.bincount(true, overlaps.pixels[is_inside], minlength=len(overlaps.true_areas))
    is_split = (fragments > 1) & (2 * covered > overlaps.true_areas)
    is_fragment = np.zeros(len(overlaps.predicted_areas), bool)
    is_fragment[predicted[is_split[true]]] = True
    return is_split, is_fragment


def _aggregate_jaccard(overlaps: _Overlaps) -> tuple[int, int]:
    """Compute the numerator and the denominator of the aggregated Jaccard index (Kumar et al. 2017, algorithm 1).

    Each true object is compared with the predicted object that has the highest IoU with it, even if another true object
    is compared with the same one. Predicted objects that are compared with no true object add to the denominator. Of
    several objects with the same IoU, the first one is taken.
    """
    ious = overlaps.pixels / overlaps.unions
    order = np.lexsort((overlaps.predicted, -ious, overlaps.true))
    true, first = np.unique(overlaps.true[order], return_index=True)
    best = order[first]
    is_used = np.zeros(len(overlaps.predicted_areas), bool)
    is_used[overlaps.predicted[best]] = True
    without = int(overlaps.true_areas.sum() - overlaps.true_areas[true].sum())
    union = int(overlaps.unions[best].sum()) + without + int(overlaps.predicted_areas[~is_used].sum())
    return int(overlaps.pixels[best].sum()), union
