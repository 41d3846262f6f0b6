"""Cuts the photographs of `report.showcase` out with the grid's best run, into `showcase/`, whole or not at all."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import numpy as np

from pipeline import runs
from pipeline.atomic_io import as_json, replacing
from pipeline.comparison import Summary
from pipeline.params import Params
from pipeline.params.data.composites import CompositesData
from pipeline.params.data.image_data import ImageMaskData
from pipeline.project import project_folder
from pipeline.runs import Cutout, Cutouts


def cut_out(params: Params, root: Path = Path()) -> Cutouts:
    """Cut the photographs out; without photographs, or without a best run, the folder says just that.

    Args:
        params: `report.showcase` names the photographs, `data` says what masks mean.
        root: the project's folder, or a study's.

    Raises:
        PipelineError: A photograph, its mask, or the best run cannot be read, or they do not fit.
    """
    best = Summary.read(root / runs.COMPARISON).best
    with replacing(root / runs.CUTOUTS) as folder:
        found = _cut_out(params, best.run, root, folder) if best and params.report.showcase else Cutouts(None, ())
        (folder / runs.CUTOUT_LIST).write_text(as_json(asdict(found)), encoding="utf-8")
    return found


def _cut_out(params: Params, run: str, root: Path, folder: Path) -> Cutouts:
    # Here, since without photographs none of these seconds of imports are worth it.
    from pipeline.analysis.scores import compute_foreground_iou, compute_mean_iou
    from pipeline.data.prepared import Split, open_split
    from pipeline.inference.mask_encoding import create_mask_encoding
    from pipeline.inference.preprocessing import Preprocessing
    from pipeline.models.inference import predict
    from pipeline.models.load_trained import load_trained_network
    from pipeline.runs import DataSet, RunRecord
    from pipeline.showcase.photograph import in_proportion, look

    data = DataSet.read(root / runs.PREPARED)
    record = RunRecord.read(root / runs.RUNS / run)
    like = open_split("train", root / runs.PREPARED).images
    resize = params.data.resize if isinstance(params.data, ImageMaskData) else "pad"
    preprocessing = Preprocessing.of_training(like, resize)
    own = params.data.test if isinstance(params.data, CompositesData) else params.data
    orientation = own.mask_orientation if own else None
    photographs = project_folder(root) / runs.PHOTOGRAPHS
    values = create_mask_encoding(params.data, [item.name for item in data.classes])
    network = load_trained_network(record, root / runs.RUNS / run, channels=like.shape[-1], classes=len(data.classes))
    foreground = np.array([item.foreground for item in data.classes])
    cutouts = []
    for place, photograph in enumerate(params.report.showcase):
        sight = look(photograph, photographs, preprocessing, values, orientation)
        truth = sight.truth if sight.truth is not None else np.full(sight.image.shape[:2], runs.IGNORE, np.uint8)
        split = Split(sight.image[None], truth[None], (photograph.file,))
        prediction = predict(network, split, len(data.classes), record.precision)
        # NaN: without a mask nothing is judged; with one there may be no foreground, and none predicted.
        iou = float(compute_foreground_iou(prediction.confusion[0], foreground))
        title = photograph.title or Path(photograph.file).stem
        mean = float(compute_mean_iou(prediction.confusion[0]))
        scores = [None if math.isnan(score) else score for score in (iou, mean)]
        cutouts.append(Cutout(photograph.file, title, photograph.mask, *scores))
        arrays = {"image": sight.shown, "prediction": in_proportion(prediction.masks[0], sight)}
        if sight.truth is not None:
            arrays["truth"] = in_proportion(sight.truth, sight)
        # np.savez stamps no time into the archive: equal arrays give equal bytes.
        with (folder / runs.CUTOUT.format(place)).open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
    return Cutouts(run, tuple(cutouts))
