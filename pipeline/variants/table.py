"""Table of the variants in `params.yaml`, with the cost of training them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError
from pipeline.models.factory import build_cell_network
from pipeline.models.precision import resolve_precision
from pipeline.params import Cell, Params, Variant
from pipeline.variants.complexity import Complexity, measure_complexity
from pipeline.variants.data_shape import DataShape, choose_input_size, describe_data
from pipeline.variants.model_checks import find_size_problem
from pipeline.wording import align_columns

HEADER = ("variant", "family", "parameters", "MACs", "step memory", "process memory", "grid", "overrides")
NUMERIC_COLUMNS = range(2, 6)


@dataclass(frozen=True)
class VariantRow:
    """A variant and the cost of its training; costs that could not be measured are None."""

    name: str
    family: str
    overrides: str
    in_grid: bool
    complexity: Complexity | None
    process: int | None  # bytes, peak memory of a training process
    problem: str  # why the cost could not be measured; empty otherwise


def measure_variants(
    params: Params, root: Path, measure_process: Callable[[Cell, DataShape], int]
) -> Iterator[VariantRow]:
    """Measure the cost of each variant, in the order of `params.yaml`.

    `measure_process` measures the peak memory of a process that trains a cell; it may raise `PipelineError`.
    """
    data = describe_data(params, Project(root))
    for name, variant in params.variants.items():
        cell = params.cell(name, params.grid.learning_rate[0], params.grid.seed[0])
        complexity, process = None, None
        try:
            size = choose_input_size(cell, data.size)
            problem = find_size_problem(cell, size) or ""
            if not problem:
                network = build_cell_network(cell, data.channels, data.classes)
                precision = resolve_precision(cell.train.precision)
                complexity = measure_complexity(network, data.channels, size, cell.train.batch_size, precision)
                process = measure_process(cell, data)
        except PipelineError as error:
            problem = str(error)
        overrides, in_grid = _format_overrides(variant), name in params.grid.variant
        yield VariantRow(name, cell.model.family, overrides, in_grid, complexity, process, problem)


def format_table(rows: Sequence[VariantRow]) -> str:
    """Format the rows as columns of plain text; a row without measurements ends with the reason."""
    columns = list(zip(HEADER, *(_format_row(row) for row in rows), strict=True))
    return "\n".join(align_columns(columns, set(range(len(HEADER))) - set(NUMERIC_COLUMNS)))


def _format_row(row: VariantRow) -> tuple[str, ...]:
    numbers = ["-"] * len(NUMERIC_COLUMNS)
    if row.complexity is not None:
        numbers[:3] = (
            f"{row.complexity.parameters:,}",
            f"{row.complexity.multiply_accumulates / 1e6:,.0f} M",
            f"{row.complexity.training_bytes / 1e6:,.0f} MB",
        )
    if row.process is not None:
        numbers[3] = f"{row.process / 1e6:,.0f} MB"
    last = " ".join(row.problem.split()) or row.overrides
    return (row.name, row.family, *numbers, "yes" if row.in_grid else "no", last)


def _format_overrides(variant: Variant) -> str:
    """Format the overrides as in params.yaml, without the family, which has its own column."""
    model = {key: value for key, value in variant.model.items() if key != "family"}
    data = {"max_train_images": variant.data.max_train_images} if variant.data else {}
    return ", ".join(
        f"{key}: {value if isinstance(value, str) else json.dumps(value)}"  # valid YAML
        for key, value in {**model, **variant.train, **data}.items()
    )
