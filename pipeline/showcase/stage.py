"""Segment the images of `report.showcase` with the best run, into `showcase/`, completely or not at all."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import numpy as np

from pipeline import runs
from pipeline.atomic_io import as_json, replacing
from pipeline.comparison import Summary
from pipeline.params import Params
from pipeline.params.data.composites import SampleData
from pipeline.project import project_folder
from pipeline.runs import Cutout, Cutouts


def predict_showcase(params: Params, root: Path = Path()) -> Cutouts:
    """Predict the showcase images; without images, or without a best run, the result is empty.

    Args:
        params: `report.showcase` lists the images, `data` defines the values of masks.
        root: The folder of the project, or of a study.

    Raises:
        PipelineError: An image, its mask, or the best run cannot be read, or they do not fit.
    """
    best = Summary.read(root / runs.COMPARISON).best
    with replacing(root / runs.CUTOUTS) as folder:
        found = (
            _predict_images(params, best.run, root, folder) if best and params.report.showcase else Cutouts(None, ())
        )
        (folder / runs.CUTOUT_LIST).write_text(as_json(asdict(found)), encoding="utf-8")
    return found


def _predict_images(params: Params, run: str, root: Path, folder: Path) -> Cutouts:
    # Imported here, because they take seconds that a project without showcase images does not need.
    from pipeline.analysis.scores import foreground_iou, mean_iou
    from pipeline.inference.trained_run import TrainedRun
    from pipeline.showcase.showcase_image import read_showcase_image

    trained = TrainedRun.load(params, run, root)
    masks = params.data.test if isinstance(params.data, SampleData) else params.data
    orientation = masks.mask_orientation if masks else None
    foreground = np.array([item.foreground for item in trained.data.classes])
    images = project_folder(root) / runs.PHOTOGRAPHS
    cutouts = []
    for index, entry in enumerate(params.report.showcase):
        image = read_showcase_image(entry, images, trained.preprocessing, trained.encoding, orientation)
        prediction = trained.predict_image(image.network_input, image.truth)
        # NaN without a mask, or without foreground in both mask and prediction.
        iou = float(foreground_iou(prediction.confusion[0], foreground))
        mean = float(mean_iou(prediction.confusion[0]))
        scores = [None if math.isnan(score) else score for score in (iou, mean)]
        cutouts.append(Cutout(entry.file, entry.title or Path(entry.file).stem, entry.mask, *scores))
        arrays = {"image": image.shown, "prediction": image.restore_proportions(prediction.masks[0])}
        if image.truth is not None:
            arrays["truth"] = image.restore_proportions(image.truth)
        # np.savez writes no time into the archive: equal arrays give equal bytes.
        with (folder / runs.CUTOUT.format(index)).open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
    return Cutouts(run, tuple(cutouts))
