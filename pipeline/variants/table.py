"""The table of the variants of `params.yaml`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError
from pipeline.models.factory import build_network
from pipeline.models.precision import resolve_precision
from pipeline.params import Cell, Params, Variant
from pipeline.variants.complexity import Complexity, measure_complexity
from pipeline.variants.data_shape import DataShape, describe_data
from pipeline.variants.model_checks import find_size_problem

HEADER = ("variant", "family", "parameters", "MACs", "step memory", "process memory", "grid", "overrides")
NUMERIC_COLUMNS = range(2, 6)


@dataclass(frozen=True)
class VariantRow:
    """A variant and the cost of its training, or the error that prevented the measurement."""

    name: str
    family: str
    overrides: str
    in_grid: bool
    complexity: Complexity | PipelineError
    process: int | PipelineError  # bytes, peak memory of a training process


def measure_variants(
    params: Params, root: Path, measure_process: Callable[[Cell, DataShape], int]
) -> Iterator[VariantRow]:
    """Measure each variant, in the order of the file.

    Args:
        params: All parameters.
        root: Folder of the project.
        measure_process: Measures the peak memory of a process that trains a cell; may raise `PipelineError`.
    """
    data = describe_data(params, Project(root))
    for name, variant in params.variants.items():
        cell = params.cell(name, params.grid.learning_rate[0], params.grid.seed[0])
        complexity: Complexity | PipelineError
        process: int | PipelineError
        try:
            if problem := find_size_problem(cell.model, data.size):
                raise PipelineError(problem)
            network = build_network(cell.model, data.channels, data.classes)
            precision = resolve_precision(cell.train.precision)
            complexity = measure_complexity(network, data.channels, data.size, cell.train.batch_size, precision)
            process = _measure_or_error(measure_process, cell, data)
        except PipelineError as error:
            complexity = process = error
        yield VariantRow(
            name, cell.model.family, _format_overrides(variant), name in params.grid.variant, complexity, process
        )


def _measure_or_error(
    measure_process: Callable[[Cell, DataShape], int], cell: Cell, data: DataShape
) -> int | PipelineError:
    try:
        return measure_process(cell, data)
    except PipelineError as error:
        return error


def format_table(rows: Sequence[VariantRow]) -> str:
    """Format columns of plain text; the reason for a missing measurement is at the end of its row."""
    table = [HEADER, *(_format_row(row) for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEADER))]
    lines = (
        "  ".join(
            entry.rjust(width) if column in NUMERIC_COLUMNS else entry.ljust(width)
            for column, (entry, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in table
    )
    return "\n".join(line.rstrip() for line in lines)


def _format_row(row: VariantRow) -> tuple[str, ...]:
    numbers, last = ["-"] * len(NUMERIC_COLUMNS), row.overrides
    if isinstance(row.complexity, Complexity):
        numbers[:3] = (
            f"{row.complexity.parameters:,}",
            f"{row.complexity.multiply_accumulates / 1e6:,.0f} M",
            f"{row.complexity.training_bytes / 1e6:,.0f} MB",
        )
    if isinstance(row.process, PipelineError):
        last = " ".join(str(row.process).split())
    else:
        numbers[3] = f"{row.process / 1e6:,.0f} MB"
    return (row.name, row.family, *numbers, "yes" if row.in_grid else "no", last)


def _format_overrides(variant: Variant) -> str:
    """Format the overrides as in the file, without the family, which has its own column."""
    model = {key: value for key, value in variant.model.items() if key != "family"}
    data = {"max_train_images": variant.data.max_train_images} if variant.data else {}
    return ", ".join(f"{key}: {_format_value(value)}" for key, value in {**model, **variant.train, **data}.items())


def _format_value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)  # valid YAML
