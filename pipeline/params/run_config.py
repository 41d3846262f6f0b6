"""Read a run's parameters from its record."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from pipeline.artifacts.run_folder import RunFolder, RunRecord
from pipeline.errors import PipelineError
from pipeline.params import Cell


def read_run_config(record: RunRecord, folder: Path) -> Cell:
    """Read the parameters that a run was trained with, whatever `params.yaml` says now; messages name its folder.

    Raises:
        PipelineError: The record is of another version.
    """
    try:
        return Cell.model_validate_json(json.dumps(record.cell))
    except ValidationError:
        raise PipelineError(
            f"{folder / RunFolder.RECORD} holds parameters of another version. Train it again: "
            f"dvc repro --force train@{record.run}"
        ) from None
