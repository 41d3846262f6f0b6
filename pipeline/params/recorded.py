"""A run's parameters out of its record."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from pipeline import runs
from pipeline.errors import PipelineError
from pipeline.params import Cell
from pipeline.runs import RunRecord


def recorded_cell(record: RunRecord, folder: Path) -> Cell:
    """The parameters as the run was trained, wherever `params.yaml` has moved on to; `folder` is the run's.

    Raises `PipelineError` where the record is of another version.
    """
    try:
        return Cell.model_validate_json(json.dumps(record.cell))
    except ValidationError:
        raise PipelineError(
            f"{folder / runs.RECORD} holds parameters of another version. Train it again: "
            f"dvc repro --force train@{record.run}"
        ) from None
