"""What a run left on disk, read once for all that compare it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import runs
from pipeline.analysis.intervals import Floats, Integers
from pipeline.errors import PipelineError
from pipeline.runs import Evaluation, RunRecord


class RunFiles:
    """The files of a run and of its evaluation; what is missing or broken raises `PipelineError` when it is asked for.

    Only what several ask for is kept: a grid can have a thousand runs.

    Args:
        run: the run's name.
        root: the project's folder.
        folders: of the training and of the evaluation, if these are not in the project's.
    """

    def __init__(self, run: str, root: Path, folders: tuple[Path, Path] | None = None) -> None:
        self.run = run
        self._trained, self._evaluated = folders or (root / runs.RUNS / run, root / runs.EVALUATION / run)

    @cached_property
    def record(self) -> RunRecord:
        """How it was trained, and how that ended."""
        return RunRecord.read(self._trained)

    @cached_property
    def evaluation(self) -> Evaluation:
        """Its scores."""
        return Evaluation.read(self._evaluated)

    @cached_property
    def history(self) -> pd.DataFrame:
        """A row an epoch."""
        try:
            table = pd.read_csv(self._trained / runs.HISTORY)
        except (OSError, ValueError) as error:
            raise self._train_again(runs.HISTORY, error) from None
        if lacking := set(runs.HISTORY_COLUMNS) - set(table.columns):
            raise self._train_again(runs.HISTORY, ValueError(f"it has no column {min(lacking)}"))
        return table

    def image_losses(self, side: str) -> tuple[Floats, Integers, Integers]:
        """Of `train` or `validation`: losses (epochs x N), counted pixels and places in the split (N each)."""
        try:
            with np.load(self._trained / runs.IMAGE_LOSSES, allow_pickle=False) as file:
                return (
                    file[side].astype(np.float64),
                    file[f"{side}_pixels"].astype(np.int64),
                    file[f"{side}_index"].astype(np.int64),
                )
        except (OSError, ValueError, KeyError) as error:
            raise self._train_again(runs.IMAGE_LOSSES, error) from None

    def per_image(self) -> pd.DataFrame:
        """A row an image of every split, with the scores of the best epoch."""
        path = self._evaluated / runs.PER_IMAGE
        try:
            return pd.read_csv(path, dtype={"id": str})
        except (OSError, ValueError) as error:
            raise PipelineError(f"{path} cannot be read ({error}). Run `pipeline evaluate {self.run}` again.") from None

    def _train_again(self, file: str, error: Exception) -> PipelineError:
        path = self._trained / file
        return PipelineError(f"{path} cannot be read ({error}). Train it again: dvc repro --force train@{self.run}")
