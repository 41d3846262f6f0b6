"""The variants of `params.yaml`, side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import runs
from pipeline.data.arrays import open_split
from pipeline.errors import PipelineError
from pipeline.models.arithmetic import resolve_precision
from pipeline.models.build import build_network
from pipeline.params import Params, Variant
from pipeline.params.pictures import CocoData, FolderData, OwnPictures
from pipeline.variants.check import model_mistake
from pipeline.variants.cost import Cost, measure

HEAD = ("variant", "family", "parameters", "MACs", "memory", "grid", "what it changes")
NUMBERS = range(2, 5)  # columns whose entries end together
RGB = 3  # channels, where nothing else is said
OWN_CLASSES = 3  # of sources that bring their own: an animal, the background, the border between them


@dataclass(frozen=True)
class Row:
    """A variant, and what its network costs, or why it has none."""

    name: str
    family: str
    changes: str
    in_grid: bool
    cost: Cost | PipelineError


def variant_rows(params: Params, root: Path) -> Iterator[Row]:
    """A row for each variant, in the order of the file; `root` is the project's folder."""
    channels, classes = _images(params, root)
    for name, variant in params.variants.items():
        cell = params.cell(name, params.grid.learning_rate[0], params.grid.seed[0])
        size = params.data.image_size
        cost: Cost | PipelineError
        try:
            if mistake := model_mistake(cell.model, size):
                raise PipelineError(mistake)
            network = build_network(cell.model, channels, classes)
            cost = measure(network, channels, size, cell.train.batch_size, resolve_precision(cell.train.precision))
        except PipelineError as error:
            cost = error
        yield Row(name, cell.model.family, _changes(variant), name in params.grid.variant, cost)


def as_text(rows: Sequence[Row]) -> str:
    """Columns in plain text; where there is no cost, the sentence stands at the end of the row."""
    table = [HEAD, *(_entries(row) for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEAD))]
    lines = (
        "  ".join(
            entry.rjust(width) if column in NUMBERS else entry.ljust(width)
            for column, (entry, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in table
    )
    return "\n".join(line.rstrip() for line in lines)


def _images(params: Params, root: Path) -> tuple[int, int]:
    """Channels and classes: as prepared, or as the parameters have it."""
    folder = root / runs.PREPARED
    if (folder / runs.CLASSES).exists():
        return open_split("train", folder).images.shape[-1], len(runs.DataSet.read(folder).classes)
    data = params.data
    channels = (data.channels or RGB) if isinstance(data, OwnPictures) else RGB
    return channels, len(data.classes) if isinstance(data, FolderData | CocoData) else OWN_CLASSES


def _entries(row: Row) -> tuple[str, ...]:
    numbers, last = ("-", "-", "-"), row.changes
    if isinstance(row.cost, Cost):
        numbers = (
            f"{row.cost.parameters:,}",
            f"{row.cost.multiply_accumulates / 1e6:,.0f} M",
            f"{row.cost.training_bytes / 1e6:,.0f} MB",
        )
    else:
        last = " ".join(str(row.cost).split())
    return (row.name, row.family, *numbers, "yes" if row.in_grid else "no", last)


def _changes(variant: Variant) -> str:
    """The overrides, as they would stand in the file; the family has a column of its own."""
    model = {key: value for key, value in variant.model.items() if key != "family"}
    data = {"train_images": variant.data.train_images} if variant.data else {}
    return ", ".join(f"{key}: {_written(value)}" for key, value in {**model, **variant.train, **data}.items())


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)  # which is YAML, too
