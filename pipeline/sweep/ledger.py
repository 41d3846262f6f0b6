"""What DVC says is stale, what it has in its run cache, and handing finished cells to it.

`dvc repro` runs one stage after the other. A sweep runs the cells itself and then records them as `dvc commit` would,
so that afterwards DVC finds nothing to do for them. DVC promises no interface for recording several stages in one
write, and one write a cell would rewrite the whole lock file each time; so that way is taken here, in one place.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from enum import Enum
from pathlib import Path

import click
from dvc.config import NoRemoteError
from dvc.dvcfile import LOCK_FILE as LOCK
from dvc.exceptions import ConfirmRemoveError, DvcException
from dvc.lock import LockError
from dvc.repo import Repo, lock_repo
from dvc.scm import SCMError
from dvc.stage import PipelineStage
from dvc.stage.cache import RunCacheNotFoundError

from pipeline import runs
from pipeline.errors import PipelineError
from pipeline.params.custom_code import CUSTOM
from pipeline.params.merge_conflict import find_conflict
from pipeline.project import project_folder
from pipeline.runtime.process import run_command
from pipeline.runtime.shutdown import check_signals, is_stopping, sleep
from pipeline.runtime.stage_status import MAX_LINES
from pipeline.sweep.dvc_cells import (
    cell_status,
    commit_cell,
    hash_dependencies,
    is_only_change,
    names_of_runs,
    output_hash,
)
from pipeline.sweep.dvc_memory import forget_trees, parsed_once
from pipeline.sweep.lock_file import is_in_order, replace_lock, write_lock
from pipeline.sweep.lock_merge import MergedLock, merge_lock
from pipeline.sweep.reserve import mend_list, reserved

BROKEN_LOCK = f"{LOCK}.broken"
PAUSE, TRIES = 2, 60  # seconds, and how often: for a `dvc repro` that outlived the sweep that began it


class Refusal(Enum):
    """Why a finished cell was not recorded."""

    DEPENDENCIES = "parameters, data or code changed"
    OUTPUTS = "their files were changed or removed"
    GONE = "dvc.yaml no longer has them"


class Ledger:
    """DVC's view of the train and evaluate cells of one dvc.yaml; what DVC refuses is a `PipelineError`.

    A project may hold several, a study each: DVC's own status looks at all of them, which takes long and tells nothing
    here. So stages are read from the one file, and known by the names that they have in it. Whoever holds DVC's lock is
    waited for.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        logging.getLogger("dvc").setLevel(logging.WARNING)  # it has a line for each stage
        stages = root / "dvc.yaml"
        if stages.exists() and (conflict := find_conflict(stages.read_text(encoding="utf-8", errors="replace"))):
            raise PipelineError(f"{stages}: {conflict.describe()}")
        with _explained():
            self._open()
            mend_list(Path(self._repo.tmp_dir or root))

    @contextlib.contextmanager
    def reserved(self, among: Collection[str] | None) -> Iterator[None]:
        """Keep other DVC commands away from runs and evaluations while the block lasts.

        Args:
            among: names of the runs; None for all.

        Raises:
            PipelineError: A DVC command is at work on one of them.
        """
        parts = [self._root / part for part in (runs.RUNS, runs.EVALUATION)]
        folders = parts if among is None else [part / name for part in parts for name in among]
        with reserved(self._repo, folders):
            yield

    def make(self, stage: str) -> None:
        """Bring a stage, and what it needs, up to date by `dvc repro`; raises `PipelineError` where that fails."""
        command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", stage]
        for patience in (*[PAUSE] * TRIES, 0):
            code, output = run_command(command, self._root)
            if code and "it is being blocked by" in output and patience:
                sleep(patience)  # a command that a killed sweep started runs until it is done
            elif not code or not self._mended():
                break
        if code:
            said = "\n".join(output.strip().splitlines()[-MAX_LINES:])
            raise PipelineError(f"`dvc repro {stage}` failed:\n{said}")

    def resolve_conflict(self) -> MergedLock | None:
        """Rebuild dvc.lock if git could not merge it; returns None if it has no conflict markers, or not in order."""
        lock = self._root.absolute() / LOCK
        try:
            text = lock.read_text(encoding="utf-8")
            if find_conflict(text) is None:
                return None
            merged = merge_lock(text)
        except (FileNotFoundError, ValueError, DvcException):  # an unreadable file is renamed by `make`
            return None
        replace_lock(lock, merged.content)
        return merged

    def recognize(self, trained: Mapping[str, Collection[str]], is_current: Callable[[str], bool]) -> list[str]:
        """Record trainings whose entries were dropped, as far as their output is up to date.

        Args:
            trained: by stage, hashes of the output that DVC had recorded.
            is_current: whether the folder of a run, by name, has the results of its present parameters.

        Returns:
            The stages that were recorded.
        """
        with _explained(), self._locked() as cells:
            found = [
                cell
                for name, hashes in trained.items()
                if (cell := cells.get(name))
                and is_current(name.partition("@")[2])
                and output_hash(cell) in hashes
                and commit_cell(cell)
            ]
            self._dump(found)
        return [cell.name for cell in found]

    def fetch(self, among: Collection[str]) -> list[str]:
        """Fetch recorded outputs of runs that are not in DVC's cache; returns the stages that were fetched."""
        with _explained(), self._locked() as cells:
            missing = [
                cell
                for name, cell in cells.items()
                if name.partition("@")[2] in among
                and all(out.hash_info for out in cell.outs)
                and not cell.outs_cached()
            ]
            if missing:
                with contextlib.suppress(NoRemoteError):
                    self._repo.fetch([cell.addressing for cell in missing])
            forget_trees()
            return [cell.name for cell in missing if cell.outs_cached()]

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
                status = {name: cell_status(cell) for name, cell in asked.items()}
                custom = project_folder(self._root) / CUSTOM
                unaffected = [
                    name
                    for name, cell in asked.items()
                    if name.partition("@")[2] in without_custom
                    and is_only_change(custom, status[name])
                    and commit_cell(cell)
                ]
                self._dump([asked[name] for name in unaffected])
                status |= {name: {} for name in unaffected}
        train = [run for run in names_of_runs(status, "train") if status[f"train@{run}"]]
        evaluate = [run for run in names_of_runs(status, "evaluate") if run in train or status[f"evaluate@{run}"]]
        return train, evaluate

    def restore(self, stage: str, names: list[str]) -> list[str]:
        """Check out what DVC's run cache holds of these cells; returns their names."""
        if not names:
            return []
        with _explained(), self._locked() as cells:
            restored = [name for name in names if self._restored(cells[f"{stage}@{name}"])]
            self._dump([cell for name in restored if commit_cell(cell := cells[f"{stage}@{name}"])])
        return restored

    def made_from(self, stages: list[str]) -> dict[str, str]:
        """What each of these depends on, as it is now, as a digest; without an evaluation's run folder.

        Taken before a cell is begun, it says afterwards whether parameters, data or code changed meanwhile.
        """
        if not stages:
            return {}
        with _explained(), self._locked() as cells:
            return {stage: hash_dependencies(cells[stage]) for stage in stages if stage in cells}

    def record(self, finished: Mapping[str, str]) -> dict[str, Refusal]:
        """Record stages that just succeeded, all in one write of the lock file.

        Args:
            finished: by stage, what `made_from` said of it when it was begun.

        Returns:
            The stages that were not recorded, and why: their entries would be false.
        """
        if not finished:
            return {}
        refused, good = dict[str, Refusal](), []
        with _explained(), self._locked() as cells:
            # Training before evaluation: the one's output is the other's dependency.
            for name in sorted(finished, key=lambda name: not name.startswith("train@")):
                cell = cells.get(name)
                if cell is None:
                    refused[name] = Refusal.GONE
                elif hash_dependencies(cell) != finished[name]:
                    refused[name] = Refusal.DEPENDENCIES
                elif not commit_cell(cell):
                    refused[name] = Refusal.OUTPUTS
                else:
                    good.append(cell)
            self._dump(good)
        return refused

    def tidy(self) -> None:
        """Bring the entries of dvc.lock into the order of dvc.yaml, and remove those of other stages."""
        with _explained():
            self._open()
            with self._locked():
                self._dump([])

    def _open(self) -> None:
        self._repo = Repo(self._root)

    def _mended(self) -> bool:
        """Rename dvc.lock and print a message if DVC cannot read it; returns whether it was renamed.

        DVC writes it in place, so a kill can leave half of it. DVC's run cache still has the stages that were
        recorded on this machine.
        """
        lock = self._root / LOCK
        if not lock.exists() or not (reason := self._loading_error()):
            return False
        aside = lock.rename(lock.with_name(BROKEN_LOCK))
        if self._loading_error():  # something else cannot be read
            aside.rename(lock)
            return False
        click.echo(
            f"{LOCK} cannot be read ({reason}). It is kept as {BROKEN_LOCK}, and its runs are looked up in DVC's "
            "cache. Or restore it, `git checkout dvc.lock`, and run the same command again.",
            err=True,
        )
        return True

    def _loading_error(self) -> str:
        """Why DVC cannot read dvc.yaml or dvc.lock; empty if it can."""
        try:
            self._open()
            self._repo.stage.load_all(str(self._root / "dvc.yaml"))
        except DvcException as error:
            return str(error.__cause__ or error).partition("\n")[0]
        return ""

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
        """Write committed cells into dvc.lock, and all entries in order."""
        lock = self._root.absolute() / LOCK
        if cells or not is_in_order(lock, self._names):
            write_lock(lock, cells, self._names, self._repo.stage_cache)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[dict[str, PipelineStage]]:
        """DVC's lock held; gives the cells by name."""
        with _hold_lock(self._repo), parsed_once():
            stages = self._repo.stage.load_all(str(self._root / "dvc.yaml"))
            self._names = [stage.name for stage in stages]
            yield {stage.name: stage for stage in stages if "@" in stage.name}


@contextlib.contextmanager
def _hold_lock(repo: Repo) -> Iterator[None]:
    """Hold DVC's lock for a block, and wait for it until a signal arrives: DVC itself would wait for ever."""
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(lock_repo(repo))
                break
            except LockError:  # after three seconds
                check_signals()
                if is_stopping():
                    raise PipelineError(
                        "Another DVC command holds DVC's lock, so what finished is not recorded yet. The next "
                        "`pipeline sweep` records it."
                    ) from None
        yield


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
