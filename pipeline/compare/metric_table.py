"""Compute all metrics of a run on a split, from its evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.analysis.group_labels import create_labels
from pipeline.analysis.metrics import ImageMetrics, tabulate_metrics
from pipeline.artifacts.comparison import MetricRow
from pipeline.artifacts.evaluation_folder import SURFACE_SCORES, ClassPixels, EvaluationFolder


@dataclass(frozen=True)
class EvaluatedRun:
    """Evaluation of a run, and the table of the images as the run saw them."""

    evaluation: EvaluationFolder
    samples: pd.DataFrame


def tabulate_run_metrics(
    runs: Sequence[EvaluatedRun], split: str, class_names: list[str], *, with_intervals: bool = True
) -> list[MetricRow]:
    """Compute the metrics over all images of validation or test, and their intervals if requested.

    Args:
        runs: A run; or several with different images, such as those of all folds on validation.
        split: The split.
        class_names: Names of the classes.
        with_intervals: Whether to compute intervals.

    Raises:
        PipelineError: A file of an evaluation is missing or broken.
    """
    read = [_read_images(run, split, class_names) for run in runs]
    pixels = ClassPixels(
        *(np.concatenate([getattr(one, item.name) for one, _ in read]) for item in fields(ClassPixels))
    )
    surfaces = np.concatenate([found for _, found in read])
    groups = pd.concat([run.samples.loc[run.samples["split"] == split, "groups"] for run in runs], ignore_index=True)
    images = ImageMetrics(pixels, surfaces, create_labels(groups) if with_intervals else ())
    return tabulate_metrics(images, class_names)


def _read_images(run: EvaluatedRun, split: str, class_names: list[str]) -> tuple[ClassPixels, npt.NDArray[np.float64]]:
    """Read the pixels of a split's images by class, and the scores of their outlines (N x C x scores)."""
    evaluated = run.evaluation
    rows = run.samples[run.samples["split"] == split]
    pixels = evaluated.read_class_pixels(split)
    surfaces = np.full((len(pixels), len(class_names), len(SURFACE_SCORES)), np.nan)
    table = evaluated.read_surfaces()
    table = table[table["split"] == split]
    places = {sample: place for place, sample in enumerate(rows["id"])}
    with evaluated.reading(evaluated.SURFACES):
        image = np.array([places[sample] for sample in table["id"]], np.int64)
        label = np.array([class_names.index(name) for name in table["class"]], np.int64)
        surfaces[image, label] = table[list(SURFACE_SCORES)].to_numpy(np.float64)
    return pixels, surfaces
