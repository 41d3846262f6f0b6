"""The valid samples of a source as a table, and thumbnails of some of them."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from pipeline.artifacts.prepared_data import PreparedData
from pipeline.params.data import Data
from pipeline.prepare.source import SourceData
from pipeline.report.context import create_frame
from pipeline.report.sections.contact_sheet import render_thumbnail
from pipeline.report.view_models import EmbeddedImage


def tabulate_valid(data: SourceData) -> pd.DataFrame:
    """Build a table with the columns of `samples.csv` and one row per valid sample, including the showcase."""
    types = PreparedData.list_sample_types(data.classes)
    rows = [row for table in data.tables.values() for row in table.rows]
    return pd.DataFrame(rows, columns=list(types)).astype(types)


def render_samples(
    data: SourceData, section: Data, samples: pd.DataFrame, names: Collection[str]
) -> dict[str, EmbeddedImage]:
    """Render thumbnails of samples with the outlines of their masks, by id.

    Samples whose files have become invalid since they were checked are left out.
    """
    split_of = dict(zip(samples["id"], samples["split"], strict=True))
    return {
        sample.id: render_thumbnail(
            sample.image,
            sample.mask,
            tuple(data.classes),
            f"{sample.id} with the outlines of its mask",
            sample.id,
            create_frame(section, split_of[sample.id], sample.height, sample.width),
        )
        for sample in data.read_samples(dict.fromkeys(names))
    }
