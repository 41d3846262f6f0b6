"""Check the metric in `compare.rank_by`."""

from __future__ import annotations

from pipeline.artifacts.metric_names import OBJECT_METRICS
from pipeline.params import Params
from pipeline.params.data.image_data import CategoryData, ImageMaskData, MaskData

KEY = "compare.rank_by"


def find_ranking_mistakes(params: Params) -> list[str]:
    """Find reasons why the metric is undefined for every run.

    Classes of sources other than folders and annotations are known only after `prepare`. `compare` then leaves all
    settings unranked.
    """
    metric, data, objects = params.compare.rank_by, params.data, params.evaluation.objects
    has_numbers = isinstance(data, ImageMaskData) and data.has_numbered_objects
    if metric in OBJECT_METRICS and not (has_numbers if objects is None else objects):
        found = "null, and the data has no numbered objects" if objects is None else "[]"
        return [
            f"{KEY}: {metric} requires scores of objects, but evaluation.objects is {found}; list the classes of the "
            "objects there, or rank by another metric."
        ]
    if not isinstance(data, MaskData | CategoryData):
        return []
    if metric == "foreground_iou" and all(item.foreground for item in data.classes):
        return [
            f"{KEY}: foreground_iou is undefined if all classes are foreground; rank by mean_iou or another metric."
        ]
    if metric == "object_iou" and not any(item.is_boundary for item in data.classes):
        return [
            f"{KEY}: object_iou merges the foreground with its boundary, but no class has is_boundary: true; rank by "
            "foreground_iou, or by object_f1 for the scores of objects."
        ]
    return []
