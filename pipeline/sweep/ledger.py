"""What DVC says is stale, what it has in its run cache, and handing finished cells to it.

`dvc repro` runs one stage after the other. A sweep runs the cells itself and then records them as `dvc commit` would,
so that afterwards DVC finds nothing to do for them. DVC promises no interface for recording several stages in one
write, and one write a cell would rewrite the whole lock file each time; so that way is taken here, in one place.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from dvc.exceptions import ConfirmRemoveError, DvcException
from dvc.repo import Repo, lock_repo
from dvc.scm import SCMError
from dvc.stage import PipelineStage
from dvc.stage.cache import RunCacheNotFoundError

from pipeline import runs
from pipeline.attempts import LAST
from pipeline.errors import PipelineError


class Ledger:
    """DVC's view of the train and evaluate cells of one dvc.yaml; what DVC refuses is a `PipelineError`.

    A project may hold several, a study each: DVC's own status looks at all of them, which takes long and tells nothing
    here. So stages are read from the one file, and known by the names that they have in it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._started: dict[str, dict[str, object]] = {}  # stage to its dependencies' hashes when its cell started
        with _explained():
            self._repo = Repo(root)

    def reproduce(self, target: str) -> None:
        """Run `dvc repro` for one stage and what it needs; raises `PipelineError` where it fails."""
        command = [sys.executable, "-m", "dvc", "repro", target]
        done = subprocess.run(
            command, cwd=self._root, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if done.returncode:
            said = "\n".join(done.stdout.strip().splitlines()[-LAST:])
            raise PipelineError(f"`dvc repro {target}` failed:\n{said}")

    def stale(self) -> tuple[list[str], list[str]]:
        """Names of the runs to train and of those to evaluate, in the order of the grid.

        DVC looks one step ahead, at files as they are; so an evaluation whose training is stale is stale too.
        """
        with _explained():
            self._repo = Repo(self._root)  # what it read before may be old by now
            with lock_repo(self._repo):
                status = {name: cell.status(check_updates=True) for name, cell in self._cells().items()}
        train = [run for run in _runs(status, "train") if status[f"train@{run}"]]
        evaluate = [run for run in _runs(status, "evaluate") if run in train or status[f"evaluate@{run}"]]
        return train, evaluate

    def restore(self, stage: str, names: list[str]) -> list[str]:
        """Check out what DVC's run cache holds of these cells; returns their names."""
        with _explained(), lock_repo(self._repo):
            cells = self._cells()
            restored = [name for name in names if self._restored(cells[f"{stage}@{name}"])]
            self._write([cells[f"{stage}@{name}"] for name in restored])
        return restored

    def begin(self, trained: list[str], evaluated: list[str]) -> None:
        """Remember what these cells depend on, as it is now: it is what they are about to be made from."""
        with _explained(), lock_repo(self._repo):
            cells = self._cells()
            for name in _addresses(trained, evaluated):
                self._started[name] = _dependencies(cells[name])

    def record(self, trained: list[str], evaluated: list[str]) -> list[str]:
        """Record cells that just succeeded, all in one write of the lock file.

        Returns:
            The stages that were left out, since parameters, data or code are no longer what they began with: recorded,
            they would pass for what was never trained.
        """
        changed = []
        with _explained(), lock_repo(self._repo):
            cells, good = self._cells(), []
            for name in _addresses(trained, evaluated):
                cell = cells.get(name)
                if cell is None or _dependencies(cell) != self._started[name]:
                    changed.append(name)
                else:
                    good.append(cell)
            self._write(good)
        return changed

    def _restored(self, cell: PipelineStage) -> bool:
        try:
            self._repo.stage_cache.restore(cell)
        except RunCacheNotFoundError:
            return False
        except ConfirmRemoveError:  # what lies there was made from other parameters and never recorded
            cell.remove_outs(force=True)
            self._repo.stage_cache.restore(cell)
        return True

    def _write(self, cells: list[PipelineStage]) -> None:
        for cell in cells:
            cell.save()
            cell.commit()
        if cells:
            cells[0].dvcfile.dump_stages(cells, update_pipeline=False)

    def _cells(self) -> dict[str, PipelineStage]:
        stages = self._repo.stage.load_all(str(self._root / "dvc.yaml"))
        return {stage.name: stage for stage in stages if "@" in stage.name}


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except SCMError:
        raise PipelineError(
            "DVC wants a git repository and there is none. For a folder without git, tell it so once: "
            "dvc config --local core.no_scm true"
        ) from None
    except DvcException as error:
        raise PipelineError(f"DVC says: {error}") from None


def _dependencies(cell: PipelineStage) -> dict[str, object]:
    """Hashes by dependency, as of now; without an evaluation's run folder, which its own training is about to write."""
    hashes = {}
    for dependency in cell.deps:
        if not dependency.def_path.startswith(f"{runs.RUNS}/"):
            dependency.save()
            hashes[dependency.def_path] = dependency.hash_info
    return hashes


def _addresses(trained: list[str], evaluated: list[str]) -> list[str]:
    """Training before evaluation: the one's output is the other's dependency."""
    return [*(f"train@{run}" for run in trained), *(f"evaluate@{run}" for run in evaluated)]


def _runs(cells: Iterable[str], stage: str) -> list[str]:
    prefix = f"{stage}@"
    return [cell.removeprefix(prefix) for cell in cells if cell.startswith(prefix)]
