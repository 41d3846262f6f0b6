"""Metrics of a run on validation or test, computed from the files of its evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from pipeline.analysis.clustered_mean import Integers
from pipeline.analysis.metrics import ImageMetrics, average_over_foreground, select_foreground, tabulate_metrics
from pipeline.artifacts.evaluation_folder import SURFACE_SCORES, ClassPixels, EvaluationFolder
from pipeline.artifacts.metric_names import FOREGROUND_METRICS, OBJECT_METRICS, OBJECT_PREFIX
from pipeline.artifacts.prepared_data import SegmentationClass


@dataclass(frozen=True)
class RunMetrics:
    """Metrics of a run on a split, by name in `FOREGROUND_METRICS` and `OBJECT_METRICS`."""

    values: dict[str, float | None]  # undefined ones are None
    num_undefined_distances: int  # pairs of an image and a foreground class that are left out of `hd95` and `asd`


def compute_run_metrics(
    evaluated: EvaluationFolder, samples: pd.DataFrame, split: str, classes: Sequence[SegmentationClass]
) -> RunMetrics:
    """Compute the metrics of a run on validation or test.

    Raises:
        PipelineError: A file of the evaluation is missing or broken.
    """
    rows = tabulate_metrics(
        read_image_metrics(evaluated, samples, split, [item.name for item in classes]), [item.name for item in classes]
    )
    means, foreground = average_over_foreground(rows, classes), select_foreground(classes)
    found = evaluated.metrics.objects
    objects = getattr(found, split) if found else None
    return RunMetrics(
        values={
            **{name: means.get(name) for name in FOREGROUND_METRICS},
            **{name: getattr(objects, name.removeprefix(OBJECT_PREFIX), None) for name in OBJECT_METRICS},
        },
        num_undefined_distances=sum(
            row.undefined for row in rows if row.metric == "hd95" and row.class_name in foreground
        ),
    )


def read_image_metrics(
    evaluated: EvaluationFolder,
    samples: pd.DataFrame,
    split: str,
    class_names: Sequence[str],
) -> ImageMetrics:
    """Read what the metrics of a run on validation or test depend on, except the groups of the images.

    Args:
        evaluated: the run's evaluation.
        samples: table of the prepared images.
        split: `validation` or `test`.
        class_names: names of the classes, in the order of their indices.

    Raises:
        PipelineError: A file of the evaluation is missing or broken.
    """
    ids = samples.loc[samples["split"] == split, "id"]
    pixels = evaluated.read_class_pixels(split)
    surfaces = np.full((len(pixels), len(class_names), len(SURFACE_SCORES)), np.nan)
    table = evaluated.read_surfaces()
    table = table[table["split"] == split]
    rows, columns = ({name: place for place, name in enumerate(names)} for names in (ids, class_names))
    with evaluated.reading(evaluated.SURFACES):
        image = np.array([rows[sample] for sample in table["id"]], np.int64)
        label = np.array([columns[name] for name in table["class"]], np.int64)
        surfaces[image, label] = table[list(SURFACE_SCORES)].to_numpy(np.float64)
    return ImageMetrics(pixels, surfaces)


def concatenate_images(parts: Sequence[ImageMetrics], groups: tuple[Integers, ...]) -> ImageMetrics:
    """Concatenate the images of several runs; `groups` has their group labels, as in `GroupedLosses`."""
    pixels = ClassPixels(
        *(np.concatenate([getattr(part.pixels, item.name) for part in parts]) for item in fields(ClassPixels))
    )
    return ImageMetrics(pixels, np.concatenate([part.surfaces for part in parts]), groups)
