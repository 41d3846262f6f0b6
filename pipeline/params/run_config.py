"""Read a run's parameters from its record."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from pipeline.artifacts.run_folder import RunFolder, RunRecord
from pipeline.errors import PipelineError
from pipeline.params import Cell


def read_run_config(record: RunRecord, folder: Path) -> Cell:
    """Read the parameters that a run was trained with from its record.

    Args:
        record: Record of the run.
        folder: Folder of the run, for error messages.

    Raises:
        PipelineError: The record was written by another version of the pipeline.
    """
    try:
        return Cell.model_validate_json(json.dumps(record.cell))
    except ValidationError:
        raise PipelineError(
            f"{folder / RunFolder.RECORD} has parameters from another version. Train the run again: "
            f"dvc repro --force train@{record.run}"
        ) from None
