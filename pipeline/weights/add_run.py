"""Copy the weights of a run to `weights/`, so that other runs can start from them."""

from __future__ import annotations

from pathlib import Path

from pipeline.artifacts.project import RUNS, Project
from pipeline.artifacts.run_folder import RunFolder
from pipeline.artifacts.weights_folder import WEIGHTS
from pipeline.atomic_io import write_bytes
from pipeline.errors import PipelineError


def add_run(run: Path, project: Project) -> Path:
    """Copy the weights of a finished run to `weights/<run>.safetensors`.

    Networks start from a copy, because in DVC the runs of a grid cannot depend on each other, and because DVC removes
    the folder of a run before it trains the run again.

    Args:
        run: the name of a run of this project, or the path of a run folder in any project.
        project: the project whose `weights/` receives the copy.

    Returns:
        The path of the copy, relative to the project.

    Raises:
        PipelineError: The run is missing, diverged, or has no weights; or the target exists with different weights.
    """
    folder = project.run(run.name) if len(run.parts) == 1 else RunFolder(run)
    if not folder.exists():
        raise PipelineError(
            f"{folder.path} is not a run folder: it has no {RunFolder.RECORD}. Give the name of a folder in "
            f"{RUNS}/, such as unet-0.004-0, or the path of a run folder in another project."
        )
    record = folder.record
    if record.status == "diverged":
        raise PipelineError(
            f"{folder.path} diverged in epoch {record.diverged_epoch}, so other runs cannot start from its weights. "
            "Choose a run that finished."
        )
    with folder.reading(RunFolder.WEIGHTS) as path:
        content = path.read_bytes()
    target = WEIGHTS / f"{record.run}.safetensors"
    path = project.home / target
    if path.exists() and path.read_bytes() != content:
        raise PipelineError(
            f"{target} exists with different weights. Rename or remove it, and run the same command again."
        )
    write_bytes(path, content)
    return target
