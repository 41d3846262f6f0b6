"""Train U-Nets at several learning rates, and report which learn best and which memorize their training images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.notebook.project_results import ProjectResults

__all__ = ["open"]


def open(folder: str | Path = ".") -> ProjectResults:  # noqa: A001
    """Open the results of a project or study, for use in notebooks and scripts.

    Args:
        folder: The folder that contains `params.yaml`.

    Raises:
        PipelineError: The folder has no results yet; the message says what to run.
    """
    from pipeline.notebook.project_results import ProjectResults

    return ProjectResults(Path(folder))
