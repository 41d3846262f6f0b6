"""Names of the metrics that a comparison has for every run, and of those by which settings can be ranked.

docs/reference/metrics.md lists their formulas. The column of a metric on validation has the prefix `val_`.
"""

from __future__ import annotations

from typing import Literal

# Means over the foreground classes
FOREGROUND_METRICS = ("dice", "image_dice", "precision", "recall", "nsd", "boundary_iou", "hd95", "asd")
OBJECT_PREFIX = "object_"  # before the name in `ObjectScores`
OBJECT_METRICS = (
    "object_f1",
    "object_average_precision",
    "object_mean_average_precision",
    "object_panoptic_quality",
    "object_aggregated_jaccard",
)
# Neither precision nor recall alone: a useless prediction can have the highest recall.
RankBy = Literal[
    "val_loss",
    "accuracy",
    "mean_iou",
    "foreground_iou",
    "object_iou",
    "dice",
    "image_dice",
    "boundary_iou",
    "nsd",
    "hd95",
    "asd",
    "object_f1",
    "object_average_precision",
    "object_mean_average_precision",
    "object_panoptic_quality",
    "object_aggregated_jaccard",
]


def get_column(metric: str) -> str:
    """Return the column of a metric on validation, such as `val_dice`."""
    return metric if metric.startswith("val_") else f"val_{metric}"
