"""The valid samples of a source as a table, and thumbnails of some of them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from pipeline.artifacts.prepared_data import PreparedData, SegmentationClass
from pipeline.params.data import Data
from pipeline.prepare.sample import Sample
from pipeline.prepare.source import SourceData
from pipeline.report.context import create_frame
from pipeline.report.figures.crops import find_crop
from pipeline.report.figures.thumbnail import render_thumbnail
from pipeline.report.images import EmbeddedImage, Frame

MAX_SMALL = 0.01  # a class with a smaller share of a large image is shown in a part of the image

View = tuple[str, str]  # id of a sample, and name of the class that its thumbnail shows; empty for the whole image


def tabulate_valid(data: SourceData) -> pd.DataFrame:
    """Build a table with the columns of `samples.csv` and one row per valid sample, including the showcase."""
    types = PreparedData.list_sample_types(data.classes)
    return pd.DataFrame(data.rows(), columns=list(types)).astype(types)


def render_samples(
    data: SourceData, section: Data, samples: pd.DataFrame, views: Collection[View]
) -> dict[View, EmbeddedImage]:
    """Render thumbnails of samples with the outlines of their masks.

    In a large image, a view of a class with a small share is a part of the image. Samples whose files have become
    invalid since they were checked are left out.
    """
    split_of = dict(zip(samples["id"], samples["split"], strict=True))
    classes, thumbnails = tuple(data.classes), dict[View, EmbeddedImage]()
    names_of = dict[str, list[str]]()
    for name, class_name in sorted(views):
        names_of.setdefault(name, []).append(class_name)
    for sample in data.read_samples(list(names_of)):
        frame = create_frame(section, split_of[sample.id], sample.height, sample.width)
        whole = _render(sample, classes, frame)
        for class_name in names_of[sample.id]:
            part = _render_part(sample, classes, frame, class_name) if class_name else None
            thumbnails[sample.id, class_name] = part or whole
    return thumbnails


def _render(sample: Sample, classes: tuple[SegmentationClass, ...], frame: Frame) -> EmbeddedImage:
    alt = f"{sample.id} with the outlines of its mask"
    return render_thumbnail(sample.image, sample.mask, classes, alt, sample.id, frame)


def _render_part(
    sample: Sample, classes: tuple[SegmentationClass, ...], frame: Frame, class_name: str
) -> EmbeddedImage | None:
    """Render the part of a large image with the most edges of a class; None if the whole image shows it well."""
    image, mask = frame.crop(sample.image), frame.crop(sample.mask)
    is_class = (mask == [item.name for item in classes].index(class_name)).astype(np.uint8)
    window = find_crop(is_class, is_class) if 0 < is_class.mean() < MAX_SMALL else None
    if window is None:
        return None
    rows, columns = (
        round((places.stop - places.start) * side / prepared)
        for places, side, prepared in zip(window, (frame.height, frame.width), mask.shape, strict=True)
    )
    alt = f"Part of {sample.id} with the outlines of its mask"
    part = Frame(max(1, rows), max(1, columns), "stretch")
    return render_thumbnail(image[window], mask[window], classes, alt, f"{sample.id} (part)", part)
