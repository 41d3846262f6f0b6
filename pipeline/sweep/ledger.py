"""What DVC says is stale, what it has in its run cache, and handing finished cells to it.

`dvc repro` runs one stage after the other. A sweep runs the cells itself and then records them as `dvc commit` would,
so that afterwards DVC finds nothing to do for them. DVC promises no interface for recording several stages in one
write, and one write a cell would rewrite the whole lock file each time; so that way is taken here, in one place.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dvc.repo import Repo, lock_repo
from dvc.stage import PipelineStage
from dvc.stage.cache import RunCacheNotFoundError

from pipeline.errors import PipelineError


class Ledger:
    """DVC's view of a project's train and evaluate cells."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._repo = Repo(root)

    def reproduce(self, target: str) -> None:
        """Run `dvc repro` for one stage and what it needs; raises `PipelineError` where it fails."""
        done = subprocess.run([sys.executable, "-m", "dvc", "repro", target], cwd=self._root, check=False)
        if done.returncode:
            raise PipelineError(f"`dvc repro {target}` failed; what it said stands above.")

    def stale(self) -> tuple[list[str], list[str]]:
        """Names of the runs to train and of those to evaluate, in the order of the grid.

        DVC looks one step ahead, at files as they are; so an evaluation whose training is stale is stale too.
        """
        self._repo = Repo(self._root)  # what it read before may be old by now
        status = self._repo.status()
        cells = [stage.addressing for stage in self._repo.index.stages if "@" in stage.addressing]
        stale = {cell for cell in cells if cell in status}
        train = [run for run in _runs(cells, "train") if f"train@{run}" in stale]
        evaluate = [run for run in _runs(cells, "evaluate") if run in train or f"evaluate@{run}" in stale]
        return train, evaluate

    def restore(self, stage: str, names: list[str]) -> list[str]:
        """Check out what DVC's run cache holds of these cells; returns their names."""
        with lock_repo(self._repo):
            stages = self._stages(stage, names)
            restored = [name for name, cell in zip(names, stages, strict=True) if self._restored(cell)]
            self._write(self._stages(stage, restored))
        return restored

    def record(self, trained: list[str], evaluated: list[str]) -> None:
        """Record cells that just succeeded, all in one write of the lock file; training before evaluation."""
        with lock_repo(self._repo):
            self._write(self._stages("train", trained) + self._stages("evaluate", evaluated))

    def _restored(self, cell: PipelineStage) -> bool:
        try:
            self._repo.stage_cache.restore(cell)
        except RunCacheNotFoundError:
            return False
        return True

    def _write(self, cells: list[PipelineStage]) -> None:
        for cell in cells:
            cell.save()
            cell.commit()
        if cells:
            cells[0].dvcfile.dump_stages(cells, update_pipeline=False)

    def _stages(self, stage: str, names: list[str]) -> list[PipelineStage]:
        known = {cell.addressing: cell for cell in self._repo.index.stages}
        return [known[f"{stage}@{name}"] for name in names]


def _runs(cells: list[str], stage: str) -> list[str]:
    prefix = f"{stage}@"
    return [cell.removeprefix(prefix) for cell in cells if cell.startswith(prefix)]
