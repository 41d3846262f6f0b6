"""Segment the images of `report.showcase` with the best run, and replace `showcase_predictions/` atomically."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from pipeline.artifacts.project import SHOWCASE_IMAGES, Project
from pipeline.artifacts.showcase_predictions import ShowcaseList, ShowcasePredictions, ShowcaseResult
from pipeline.params import Params
from pipeline.params.data import find_mask_section
from pipeline.params.data.image_data import MaskData


def predict_showcase(params: Params, project: Project | None = None) -> ShowcaseList:
    """Segment the images of `report.showcase` with the best run.

    Returns:
        The list that was written; empty if there are no images or no best run.

    Raises:
        PipelineError: An image, its mask, or the best run cannot be read, or a mask does not fit its image.
    """
    project = project or Project()
    best = project.comparison.summary.best
    with project.showcase.replace() as new:
        found = ShowcaseList(None, ())
        if best and params.report.showcase:
            found = _predict_images(params, best.run, project, new)
        new.write_json(new.LIST, found)
    return found


def _predict_images(params: Params, run: str, project: Project, folder: ShowcasePredictions) -> ShowcaseList:
    # Imported here, because the imports take seconds and are needed only for projects with showcase images.
    from pipeline.analysis.scores import compute_foreground_iou, compute_mean_iou
    from pipeline.inference.trained_run import TrainedRun
    from pipeline.showcase.showcase_image import read_showcase_image

    trained = TrainedRun.load(params, run, project)
    masks = find_mask_section(params.data)
    orientation = masks.mask_orientation if masks else None
    border = masks.instances.border if isinstance(masks, MaskData) and masks.instances else None
    foreground = np.array([item.foreground for item in trained.data.classes])
    images = project.home / SHOWCASE_IMAGES
    listed = []
    for index, entry in enumerate(params.report.showcase):
        image = read_showcase_image(entry, images, trained.preprocessing, trained.encoding, orientation, border)
        prediction = trained.predict_image(image.network_input, image.truth)
        # Both are NaN without a mask. Foreground IoU is also NaN if neither mask nor prediction has foreground.
        iou = float(compute_foreground_iou(prediction.confusion[0], foreground))
        mean = float(compute_mean_iou(prediction.confusion[0]))
        scores = [None if math.isnan(score) else score for score in (iou, mean)]
        listed.append(ShowcaseResult(entry.file, entry.title or Path(entry.file).stem, entry.mask, *scores))
        truth = None if image.truth is None else image.restore_proportions(image.truth)
        folder.write_image(index, image.shown, image.restore_proportions(prediction.masks[0]), truth)
    return ShowcaseList(run, tuple(listed))
