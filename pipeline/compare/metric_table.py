"""Compute all metrics of a run on a split, from its evaluation."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.analysis.metrics import ImageMetrics, tabulate_metrics
from pipeline.artifacts.comparison import MetricRow
from pipeline.artifacts.evaluation_folder import SURFACE_SCORES, EvaluationFolder
from pipeline.compare.verdicts import create_labels


def tabulate_run_metrics(
    evaluated: EvaluationFolder,
    samples: pd.DataFrame,
    split: str,
    class_names: list[str],
    *,
    with_intervals: bool = True,
) -> list[MetricRow]:
    """Compute the metrics of a run on validation or test, and their intervals if requested.

    Raises:
        PipelineError: A file of the evaluation is missing or broken.
    """
    rows = samples[samples["split"] == split]
    pixels = evaluated.read_class_pixels(split)
    surfaces = np.full((len(pixels), len(class_names), len(SURFACE_SCORES)), np.nan)
    table = evaluated.read_surfaces()
    table = table[table["split"] == split]
    places = {sample: place for place, sample in enumerate(rows["id"])}
    with evaluated.reading(evaluated.SURFACES):
        image = np.array([places[sample] for sample in table["id"]], np.int64)
        label = np.array([class_names.index(name) for name in table["class"]], np.int64)
        surfaces[image, label] = table[list(SURFACE_SCORES)].to_numpy(np.float64)
    images = ImageMetrics(pixels, surfaces, create_labels(rows["groups"]) if with_intervals else ())
    return tabulate_metrics(images, class_names)
