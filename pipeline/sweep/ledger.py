"""What DVC says is stale, what it has in its run cache, and handing finished cells to it.

`dvc repro` runs one stage after the other. A sweep runs the cells itself and then records them as `dvc commit` would,
so that afterwards DVC finds nothing to do for them. DVC promises no interface for recording several stages in one
write, and one write a cell would rewrite the whole lock file each time; so that way is taken here, in one place.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dvc.dvcfile import LOCK_FILE as LOCK
from dvc.dvcfile import Lockfile
from dvc.exceptions import ConfirmRemoveError, DvcException
from dvc.repo import Repo, lock_repo
from dvc.scm import SCMError
from dvc.stage import PipelineStage
from dvc.stage.cache import RunCacheNotFoundError

from pipeline import runs
from pipeline.attempts import LAST
from pipeline.custom_code import CUSTOM
from pipeline.errors import PipelineError
from pipeline.project import project_folder
from pipeline.sweep.dvc_memory import forget_trees, parsed_once
from pipeline.sweep.lock_file import write_lock

PAUSE, TRIES = 2, 60  # seconds, and how often: for a `dvc repro` that outlived the sweep that began it


class Ledger:
    """DVC's view of the train and evaluate cells of one dvc.yaml; what DVC refuses is a `PipelineError`.

    A project may hold several, a study each: DVC's own status looks at all of them, which takes long and tells nothing
    here. So stages are read from the one file, and known by the names that they have in it. Whoever holds DVC's lock is
    waited for.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        logging.getLogger("dvc").setLevel(logging.WARNING)  # it has a line for each stage
        with _explained():
            self._open()
            _mend_rwlock(Path(self._repo.tmp_dir or root))

    def make(self, stage: str) -> None:
        """Bring a stage, and what it needs, up to date by `dvc repro`; raises `PipelineError` where that fails."""
        command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", stage]
        for patience in (*[PAUSE] * TRIES, 0):
            done = subprocess.run(
                command, cwd=self._root, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            if done.returncode and "it is being blocked by" in done.stdout and patience:
                time.sleep(patience)  # what a killed sweep began goes on until it is done
            elif not done.returncode or not self._mended():
                break
        if done.returncode:
            said = "\n".join(done.stdout.strip().splitlines()[-LAST:])
            raise PipelineError(f"`dvc repro {stage}` failed:\n{said}")

    def stale(self, among: Collection[str], without_custom: Collection[str] = ()) -> tuple[list[str], list[str]]:
        """Names of the runs to train and of those to evaluate, in the order of the grid; of others nothing is asked.

        DVC looks one step ahead, at files as they are; so an evaluation whose training is stale is stale too.

        Args:
            among: the runs to look at.
            without_custom: runs whose network and optimizer are not in `custom/`. If only that folder changed, they
                are recorded as they are, since dvc.yaml cannot have a dependency of some variants only.
        """
        with _explained():
            self._open()  # what it read before may be old by now
            with self._locked() as cells:
                asked = {name: cell for name, cell in cells.items() if name.partition("@")[2] in among}
                status = {name: _status(cell) for name, cell in asked.items()}
                custom = project_folder(self._root) / CUSTOM
                unaffected = [
                    name
                    for name, cell in asked.items()
                    if name.partition("@")[2] in without_custom
                    and _is_only_change(custom, status[name])
                    and _committed(cell)
                ]
                self._dump([asked[name] for name in unaffected])
                status |= {name: {} for name in unaffected}
        train = [run for run in _runs(status, "train") if status[f"train@{run}"]]
        evaluate = [run for run in _runs(status, "evaluate") if run in train or status[f"evaluate@{run}"]]
        return train, evaluate

    def restore(self, stage: str, names: list[str]) -> list[str]:
        """Check out what DVC's run cache holds of these cells; returns their names."""
        if not names:
            return []
        with _explained(), self._locked() as cells:
            restored = [name for name in names if self._restored(cells[f"{stage}@{name}"])]
            self._dump([cell for name in restored if _committed(cell := cells[f"{stage}@{name}"])])
        return restored

    def made_from(self, stages: list[str]) -> dict[str, str]:
        """What each of these depends on, as it is now, as a digest; without an evaluation's run folder.

        Taken before a cell is begun, it says afterwards whether parameters, data or code changed meanwhile.
        """
        if not stages:
            return {}
        with _explained(), self._locked() as cells:
            return {stage: _dependencies(cells[stage]) for stage in stages if stage in cells}

    def record(self, finished: Mapping[str, str]) -> list[str]:
        """Record stages that just succeeded, all in one write of the lock file.

        Args:
            finished: by stage, what `made_from` said of it when it was begun.

        Returns:
            The stages that were left out, since parameters, data or code are no longer what they began with: recorded,
            they would pass for what was never trained.
        """
        if not finished:
            return []
        changed, good = [], []
        with _explained(), self._locked() as cells:
            # Training before evaluation: the one's output is the other's dependency.
            for name in sorted(finished, key=lambda name: not name.startswith("train@")):
                cell = cells.get(name)
                if cell is None or _dependencies(cell) != finished[name] or not _committed(cell):
                    changed.append(name)
                else:
                    good.append(cell)
            self._dump(good)
        return changed

    def tidy(self) -> None:
        """Bring the entries of dvc.lock into the order of dvc.yaml, and remove those of other stages."""
        with _explained():
            self._open()
            with self._locked():
                lock = self._root.absolute() / LOCK
                entries = list(Lockfile(self._repo, str(lock)).load().get("stages", {}))
                if entries != [name for name in self._names if name in entries]:
                    write_lock(lock, [], self._names)

    def _open(self) -> None:
        self._repo = Repo(self._root, _wait_for_lock=True)

    def _mended(self) -> bool:
        """Whether dvc.lock could not be read and was put aside: a kill may leave half of it where DVC itself writes it.

        Nothing is lost with it, since DVC's run cache has what was recorded.
        """
        lock = self._root / LOCK
        if not lock.exists() or self._can_load():
            return False
        aside = lock.rename(lock.with_name(f".{LOCK}.broken"))
        if self._can_load():
            aside.unlink()
            return True
        aside.rename(lock)  # something else cannot be read
        return False

    def _can_load(self) -> bool:
        try:
            self._open()
            self._repo.stage.load_all(str(self._root / "dvc.yaml"))
        except DvcException:
            return False
        return True

    def _restored(self, cell: PipelineStage) -> bool:
        try:
            self._repo.stage_cache.restore(cell)
        except RunCacheNotFoundError:
            return False
        except ConfirmRemoveError:  # what lies there was made from other parameters and never recorded
            cell.remove_outs(force=True)
            self._repo.stage_cache.restore(cell)
        return True

    def _dump(self, cells: list[PipelineStage]) -> None:
        """Write committed cells into dvc.lock."""
        if cells:
            write_lock(self._root.absolute() / LOCK, cells, self._names)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[dict[str, PipelineStage]]:
        """DVC's lock held; gives the cells by name."""
        with lock_repo(self._repo), parsed_once():
            stages = self._repo.stage.load_all(str(self._root / "dvc.yaml"))
            self._names = [stage.name for stage in stages]
            yield {stage.name: stage for stage in stages if "@" in stage.name}


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


def _mend_rwlock(folder: Path) -> None:
    """Remove DVC's list of who reads and writes what, where a kill left half of it: DVC would refuse all work."""
    path = folder / "rwlock"
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except ValueError:
        path.unlink(missing_ok=True)


def _committed(cell: PipelineStage) -> bool:
    """Whether DVC's cache could take what a cell made, as `dvc commit` has it do; not where a file is gone."""
    try:
        cell.save()
        cell.commit()
    except DvcException:
        return False
    finally:
        forget_trees()
    return True


def _status(cell: PipelineStage) -> dict[str, Any]:
    try:
        return dict(cell.status(check_updates=True))
    finally:
        forget_trees()


def _is_only_change(folder: Path, status: Mapping[str, Any]) -> bool:
    """Return whether a folder that a cell depends on is the only change in its DVC status."""
    changes = [change for found in status.values() for change in found]
    if len(changes) != 1 or not isinstance(changes[0], dict):
        return False
    ((kind, paths),) = changes[0].items()
    return kind == "changed deps" and [Path(path).resolve() for path in paths] == [folder.resolve()]


def _dependencies(cell: PipelineStage) -> str:
    """A digest of a cell's dependencies as of now, without the run folder: its own training is about to write it."""
    hashes = {}
    for dependency in cell.deps:
        if not dependency.def_path.startswith(f"{runs.RUNS}/"):
            try:
                dependency.save()
                hashes[dependency.def_path] = dependency.hash_info.value
            except DvcException:  # somebody removed it, which is a change like another
                hashes[dependency.def_path] = None
    forget_trees()
    return hashlib.sha256(json.dumps(hashes, sort_keys=True, default=str).encode()).hexdigest()


def _runs(cells: Iterable[str], stage: str) -> list[str]:
    prefix = f"{stage}@"
    return [cell.removeprefix(prefix) for cell in cells if cell.startswith(prefix)]
