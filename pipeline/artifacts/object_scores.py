"""Scores of a run's objects on a set of images."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.artifacts.folder import Record


@dataclass(frozen=True)
class ThresholdScores(Record):
    """Scores of objects that are matched at one IoU threshold; undefined scores are None."""

    iou: float  # minimum IoU of a matched pair
    matched: int  # number of matched pairs
    precision: float | None  # matched / predicted objects
    recall: float | None  # matched / true objects
    f1: float | None
    average_precision: float | None  # TP / (TP + FP + FN), as StarDist and the 2018 Data Science Bowl define it


@dataclass(frozen=True)
class ObjectScores(Record):
    """Scores of a run's objects, pooled over the objects of a set of images; undefined scores are None.

    A matched pair has an IoU of at least 0.5, unless a threshold is given.
    """

    images: int
    images_without_objects: int  # images with neither true nor predicted objects, whose scores are undefined
    objects: int  # in the ground truth
    predicted: int
    matched: int
    merges: int  # predicted objects that cover several true ones
    splits: int  # true objects that several predicted ones cover
    missed: int  # true objects that are neither matched nor part of a merge or split
    false_objects: int  # predicted objects that are neither matched nor part of a merge or split
    precision: float | None
    recall: float | None
    f1: float | None
    average_precision: float | None  # at an IoU of 0.5
    mean_average_precision: float | None  # mean over the thresholds 0.5, 0.55, ..., 0.95
    panoptic_quality: float | None
    aggregated_jaccard: float | None
    by_threshold: tuple[ThresholdScores, ...]


@dataclass(frozen=True)
class ObjectEvaluation(Record):
    """How a run's objects were found, and their scores by split."""

    classes: tuple[str, ...]  # classes whose connected regions are objects
    min_area: int  # px of the prepared image; smaller predicted objects are left out
    is_numbered: bool  # whether the ground truth has the objects of the masks or annotations, not connected regions
    train: ObjectScores  # on the fixed subset of the training images
    validation: ObjectScores
    test: ObjectScores
