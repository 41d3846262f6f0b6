"""The variants of `params.yaml`, side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from pipeline.models.factory import build_network
from pipeline.models.precision import resolve_precision
from pipeline.params import Cell, Params, Variant
from pipeline.variants.check import model_mistake
from pipeline.variants.cost import Cost, measure
from pipeline.variants.image_data import ImageData, describe_images

HEAD = ("variant", "family", "parameters", "MACs", "step memory", "process memory", "grid", "what it changes")
NUMBERS = range(2, 6)  # columns whose entries end together


@dataclass(frozen=True)
class Row:
    """A variant, and what its network and a training of it cost, or why that is unknown."""

    name: str
    family: str
    changes: str
    in_grid: bool
    cost: Cost | PipelineError
    process: int | PipelineError  # bytes, the peak of a process that trains it


def variant_rows(params: Params, root: Path, measure_process: Callable[[Cell, ImageData], int]) -> Iterator[Row]:
    """Measure each variant, in the order of the file.

    Args:
        params: the whole of `params.yaml`.
        root: the project's folder.
        measure_process: measures the peak memory of a process that trains a cell; may raise `PipelineError`.
    """
    data = describe_images(params, root)
    for name, variant in params.variants.items():
        cell = params.cell(name, params.grid.learning_rate[0], params.grid.seed[0])
        cost: Cost | PipelineError
        process: int | PipelineError
        try:
            if mistake := model_mistake(cell.model, data.size):
                raise PipelineError(mistake)
            network = build_network(cell.model, data.channels, data.classes)
            precision = resolve_precision(cell.train.precision)
            cost = measure(network, data.channels, data.size, cell.train.batch_size, precision)
            process = _result_or_error(measure_process, cell, data)
        except PipelineError as error:
            cost = process = error
        yield Row(name, cell.model.family, _changes(variant), name in params.grid.variant, cost, process)


def _result_or_error(
    measure_process: Callable[[Cell, ImageData], int], cell: Cell, data: ImageData
) -> int | PipelineError:
    try:
        return measure_process(cell, data)
    except PipelineError as error:
        return error


def as_text(rows: Sequence[Row]) -> str:
    """Columns in plain text; where something could not be measured, the reason is at the end of the row."""
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


def _entries(row: Row) -> tuple[str, ...]:
    numbers, last = ["-"] * len(NUMBERS), row.changes
    if isinstance(row.cost, Cost):
        numbers[:3] = (
            f"{row.cost.parameters:,}",
            f"{row.cost.multiply_accumulates / 1e6:,.0f} M",
            f"{row.cost.training_bytes / 1e6:,.0f} MB",
        )
    if isinstance(row.process, PipelineError):
        last = " ".join(str(row.process).split())
    else:
        numbers[3] = f"{row.process / 1e6:,.0f} MB"
    return (row.name, row.family, *numbers, "yes" if row.in_grid else "no", last)


def _changes(variant: Variant) -> str:
    """The overrides, as they would stand in the file; the family has a column of its own."""
    model = {key: value for key, value in variant.model.items() if key != "family"}
    data = {"train_images": variant.data.train_images} if variant.data else {}
    return ", ".join(f"{key}: {_written(value)}" for key, value in {**model, **variant.train, **data}.items())


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)  # which is YAML, too
