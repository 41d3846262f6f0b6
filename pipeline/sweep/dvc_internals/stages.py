"""Query, commit and restore the train and evaluate stages of a grid in DVC."""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import json
import logging
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import click
from dvc.config import NoRemoteError
from dvc.dependency import Dependency, param
from dvc.dvcfile import LOCK_FILE
from dvc.exceptions import ConfirmRemoveError, DvcException
from dvc.lock import LockError
from dvc.output import Output
from dvc.repo import Repo, lock_repo
from dvc.scm import SCMError
from dvc.stage import PipelineStage
from dvc.stage.cache import RunCacheNotFoundError
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.artifacts.project import EVALUATION, RUNS, Project
from pipeline.artifacts.weights_folder import WEIGHTS
from pipeline.errors import PipelineError, user_message
from pipeline.params.custom_code import CUSTOM
from pipeline.params.merge_conflict import find_conflict
from pipeline.runtime.process import run_command, show_command
from pipeline.runtime.shutdown import check_signals, is_stopping, sleep
from pipeline.runtime.stage_status import MAX_LINES
from pipeline.sweep.dvc_internals.lock_file import MergedLock, is_in_order, update_lock, write_lock
from pipeline.sweep.dvc_internals.parsed_lock import PARSED_LOCK, parse_lock_once
from pipeline.sweep.dvc_internals.reservation import remove_broken_list, reserve_folders

BROKEN_LOCK = f"{LOCK_FILE}.broken"
RETRY_SECONDS, MAX_RETRIES = 2, 60  # a DVC command may still run after the sweep that started it was killed


class Refusal(Enum):
    """Reason why a finished stage was not committed."""

    DEPENDENCIES = "parameters, data or code changed while they ran"
    OUTPUTS = "their files were removed"
    GONE = "dvc.yaml no longer has them"


class DvcStages:
    """The train and evaluate stages of the dvc.yaml in `root`, by their names in that file.

    Only this file is read, whereas DVC's own commands also read those of all studies. Stages are loaded once, because
    DVC parses all of dvc.lock to load them. Methods wait while another process holds DVC's lock, and raise DVC's
    errors as `PipelineError`.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock_file = root.absolute() / LOCK_FILE
        self._stages: dict[str, PipelineStage] = {}
        self._committed: dict[str, PipelineStage] = {}  # stages that were committed, but are not in dvc.lock yet
        logging.getLogger("dvc").setLevel(logging.WARNING)  # it logs one line per stage
        path = root / "dvc.yaml"
        if path.exists() and (conflict := find_conflict(path.read_text(encoding="utf-8", errors="replace"))):
            raise PipelineError(f"{path}: {conflict}")
        with _convert_errors():
            self._repo = Repo(root)
            remove_broken_list(Path(self._repo.tmp_dir or root))

    def reserve(self, names: Collection[str] | None) -> contextlib.AbstractContextManager[None]:
        """Reserve the folders of the named runs and their evaluations for a block; None reserves those of all runs.

        Raises:
            PipelineError: Another DVC command uses one of the folders.
        """
        parts = [self._root / part for part in (RUNS, EVALUATION)]
        folders = parts if names is None else [part / name for part in parts for name in names]
        return reserve_folders(self._repo, folders)

    def reproduce(self, stage: str) -> None:
        """Run `dvc repro` for a stage unless it is up to date.

        Raises:
            PipelineError: The command failed.
        """
        if self._is_current(stage):
            return
        command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", stage]
        for retry in range(MAX_RETRIES + 1):
            code, output = run_command(command, self._root)
            if code and "it is being blocked by" in output and retry < MAX_RETRIES:
                sleep(RETRY_SECONDS)
            elif not code or not self._set_aside_broken_lock():
                break
        self._stages = {}
        if code:
            tail = "\n".join(output.strip().splitlines()[-MAX_LINES:])
            raise PipelineError(f"`dvc repro {stage}` failed:\n{tail}")

    def reproduce_others(self) -> int:
        """Run `dvc repro` if a stage other than those of the runs is stale, and return its exit code, otherwise 0.

        `dvc repro` would check each run again, one by one.
        """
        with self._locked() as stages:
            others = [stage for name, stage in stages.items() if not name.startswith(("train@", "evaluate@"))]
            if not any(stage.status(check_updates=True) for stage in others):
                return 0
        return show_command([sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--quiet"], self._root)

    def merge_lock(self) -> MergedLock | None:
        """Resolve the merge conflict in dvc.lock; return None if it has none, or one that cannot be parsed."""
        try:
            text = self._lock_file.read_text(encoding="utf-8")
            if find_conflict(text) is None:
                return None
            merged = MergedLock.from_text(text)
        except (FileNotFoundError, ValueError, DvcException):  # `reproduce` renames an unreadable file
            return None
        write_lock(self._lock_file, merged.entries)
        self._stages = {}
        return merged

    def commit_recognized(self, trained: Mapping[str, Collection[str]], is_current: Callable[[str], bool]) -> list[str]:
        """Commit train stages whose entries were dropped in a merge, if their run folders are up to date.

        Args:
            trained: the recorded hashes of the output of each dropped train stage.
            is_current: returns whether the folder of a run, given by name, has the results of its current parameters.

        Returns:
            The names of the committed stages.
        """
        with self._locked() as stages:
            return [
                name
                for name, hashes in trained.items()
                if name in stages
                and is_current(name.partition("@")[2])
                and _hash(stages[name].outs[0]) in hashes
                and self._commit(stages[name])
            ]

    def fetch(self, names: Collection[str]) -> list[str]:
        """Fetch the runs' recorded outputs that are missing from DVC's cache, and return the fetched stages."""
        with self._locked() as stages:
            missing = [
                stage
                for name, stage in stages.items()
                if name.partition("@")[2] in names
                and all(out.hash_info for out in stage.outs)
                and not stage.outs_cached()
            ]
            if missing:
                with contextlib.suppress(NoRemoteError):
                    self._repo.fetch([stage.addressing for stage in missing])
            return [stage.name for stage in missing if stage.outs_cached()]

    def find_stale(
        self, names: Collection[str], is_current: Callable[[str], bool] = lambda _: False
    ) -> tuple[list[str], list[str]]:
        """Find the runs to train and the runs to evaluate, in the order of the grid.

        Runs to train are also listed as runs to evaluate, although DVC does not report their evaluations as stale until
        they have been trained.

        Args:
            names: the runs to check.
            is_current: returns whether the folder of a run, given by name, has the results of its current parameters.
                If only `custom/` or `weights/` changed, such a run is committed without training, because all variants
                depend on these folders in dvc.yaml.
        """
        home = Project(self._root).home
        stale = set()
        with self._locked() as stages:
            for name, stage in stages.items():
                run = name.partition("@")[2]
                if run not in names:
                    continue
                status = stage.status(check_updates=True)
                _forget_listings()
                if not status:
                    continue
                shared = is_only_change((home / CUSTOM, home / WEIGHTS), status)
                if not shared or not is_current(run) or not self._commit(stage):
                    stale.add(name)
        runs_of = [name.removeprefix("train@") for name in stages if name.startswith("train@")]
        train = [run for run in runs_of if f"train@{run}" in stale]
        return train, [run for run in runs_of if run in train or f"evaluate@{run}" in stale]

    def restore(self, stage: str, names: Collection[str]) -> list[str]:
        """Restore the `train` or `evaluate` stage of runs from DVC's run cache, and return the restored runs."""
        with self._locked() as stages:
            restored = [
                name
                for name in names
                if self._restore(stages[f"{stage}@{name}"]) and self._commit(stages[f"{stage}@{name}"])
            ]
        if names:
            self._stages = {}  # reload, because a lookup in the run cache stores the current hashes in a stage
        return restored

    def hash_dependencies(self, names: Collection[str]) -> dict[str, str]:
        """Hash the current dependencies of stages for `commit`, excluding the run folder of an evaluation."""
        with self._locked() as stages:
            return {name: _hash_dependencies(stages[name]) for name in names if name in stages}

    def commit(self, finished: Mapping[str, str]) -> dict[str, Refusal]:
        """Add finished stages to DVC's cache and run cache; `update_lock` records them in dvc.lock.

        Args:
            finished: each stage's dependency hash from when it started.

        Returns:
            The reason for each stage that was not committed because its entry would be wrong.
        """
        refused = {}
        with self._locked() as stages:
            # Train stages first, because evaluations depend on their outputs.
            for name in sorted(finished, key=lambda name: not name.startswith("train@")):
                if name not in stages:
                    refused[name] = Refusal.GONE
                elif _hash_dependencies(stages[name]) != finished[name]:
                    refused[name] = Refusal.DEPENDENCIES
                elif not self._commit(stages[name]):
                    refused[name] = Refusal.OUTPUTS
        return refused

    def update_lock(self) -> dict[str, Refusal]:
        """Write committed stages to dvc.lock in the order of dvc.yaml, and remove entries of stages not in dvc.yaml.

        Returns:
            The committed stages that dvc.yaml no longer has.
        """
        committed = self._committed
        if committed:
            self._stages = {}  # reload, because dvc.yaml or params.yaml may have changed
        with self._locked() as stages:
            names = list(stages)
            known = [stage for name, stage in committed.items() if name in stages]
            if known or not is_in_order(self._lock_file, names):
                update_lock(self._lock_file, known, names, self._repo.stage_cache)
        self._committed = {}
        return {name: Refusal.GONE for name in committed if name not in stages}

    def _is_current(self, stage: str) -> bool:
        """Return whether a stage is up to date; False if DVC fails, because `dvc repro` then waits or reports why.

        The check takes a tenth as long as `dvc repro`, which starts a Python interpreter.
        """
        try:
            with lock_repo(self._repo):
                return not self._load()[stage].status(check_updates=True)
        except (DvcException, OSError, KeyError):
            return False
        finally:
            _forget_listings()

    def _load(self) -> dict[str, PipelineStage]:
        """Load all stages, unless they are loaded, in the order of dvc.yaml. DVC's lock must be held."""
        if not self._stages:
            with parse_lock_once(self._lock_file, self._root / PARSED_LOCK):
                loaded = self._repo.stage.load_all(str(self._root / "dvc.yaml"))
            self._stages = {stage.name: self._committed.get(stage.name, stage) for stage in loaded}
        return self._stages

    def _commit(self, stage: PipelineStage) -> bool:
        """Commit a stage as `dvc commit` does, but do not write dvc.lock; return False if a file is missing."""
        try:
            stage.save()
            stage.commit()
        except DvcException:
            return False
        finally:
            _forget_listings()
        self._committed[stage.name] = stage
        return True

    def _restore(self, stage: PipelineStage) -> bool:
        try:
            self._repo.stage_cache.restore(stage)
        except RunCacheNotFoundError:
            return False
        except ConfirmRemoveError:  # the folder has results of other parameters that were never committed
            stage.remove_outs(force=True)
            self._repo.stage_cache.restore(stage)
        return True

    @contextlib.contextmanager
    def _locked(self) -> Iterator[dict[str, PipelineStage]]:
        """Hold DVC's lock for a block, and yield the stages by name."""
        with _convert_errors(), _hold_lock(self._repo), _read_params_once(), _hash_once():
            try:
                yield self._load()
            finally:
                _forget_listings()

    def _set_aside_broken_lock(self) -> bool:
        """Rename dvc.lock and print a message if DVC cannot read it; return whether it was renamed.

        DVC writes the file in place, so a killed command can leave it incomplete. The stages that ran on this machine
        are still in DVC's run cache.
        """
        if not self._lock_file.exists() or not (reason := self._find_loading_error()):
            return False
        broken = self._lock_file.rename(self._lock_file.with_name(BROKEN_LOCK))
        if self._find_loading_error():  # another file cannot be read
            broken.rename(self._lock_file)
            return False
        click.echo(
            f"{LOCK_FILE} cannot be read ({reason}). It was renamed to {BROKEN_LOCK}, and its runs are restored from "
            f"DVC's cache as far as possible. To restore the file instead, run `git checkout {LOCK_FILE}` and the same "
            "command again.",
            err=True,
        )
        return True

    def _find_loading_error(self) -> str:
        """Return the reason why DVC cannot read dvc.yaml or dvc.lock; empty if it can."""
        try:
            self._repo = Repo(self._root)
            self._repo.stage.load_all(str(self._root / "dvc.yaml"))
        except DvcException as error:
            return str(error.__cause__ or error).partition("\n")[0]
        return ""


def is_only_change(folders: Collection[Path], status: Mapping[str, Any]) -> bool:
    """Return whether DVC reports changes of a stage only in these folders, on which the stage depends."""
    changes = [change for found in status.values() for change in found]
    if len(changes) != 1 or not isinstance(changes[0], dict):
        return False
    ((kind, paths),) = changes[0].items()
    return kind == "changed deps" and {Path(path).resolve() for path in paths} <= {
        folder.resolve() for folder in folders
    }


def _hash(item: Output) -> Any:
    """Compute DVC's hash of a dependency or output; None if it is missing, which counts as a change."""
    try:
        return item.get_hash().value
    except (DvcException, OSError):
        return None


def _hash_dependencies(stage: PipelineStage) -> str:
    """Hash a stage's dependencies except the run folder, which training in the same job may change."""
    hashes = {item.def_path: _hash(item) for item in stage.deps if not item.def_path.startswith(f"{RUNS}/")}
    return hashlib.sha256(json.dumps(hashes, sort_keys=True, default=str).encode()).hexdigest()


def _forget_listings() -> None:
    """Remove the listings of hashed folders, which DVC keeps. It compares each new listing with all of them."""
    MemoryFileSystem.store.clear()


@contextlib.contextmanager
def _read_params_once() -> Iterator[None]:
    """Make DVC parse params.yaml once during a block, and search it once for the keys that several stages share."""
    load, read = param.load_path, param.read_param_file
    read_once = functools.cache(read)

    def read_keys(fs: Any, path: str, keys: list[str] | None, flatten: bool) -> Any:
        # Return copies, because YAML would write an object shared by two stages as an alias.
        return copy.deepcopy(read_once(fs, path, tuple(keys or ()), flatten))

    param.load_path, param.read_param_file = functools.cache(load), read_keys
    try:
        yield
    finally:
        param.load_path, param.read_param_file = load, read


@contextlib.contextmanager
def _hash_once() -> Iterator[None]:
    """Make DVC hash each dependency once during a block, because stages of a grid share most of them."""
    hashes: dict[str, Any] = {}

    def get_hash(item: Dependency) -> Any:
        if item.fs_path not in hashes:
            hashes[item.fs_path] = Output.get_hash(item)
        return hashes[item.fs_path]

    Dependency.get_hash = get_hash  # inherited from Output
    try:
        yield
    finally:
        del Dependency.get_hash


@contextlib.contextmanager
def _hold_lock(repo: Repo) -> Iterator[None]:
    """Hold DVC's lock for a block; wait for it without a time limit, but stop waiting at a signal."""
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(lock_repo(repo))
                break
            except LockError:  # raised after three seconds
                check_signals()
                if is_stopping():
                    raise PipelineError(
                        "Another DVC command holds DVC's lock, so finished runs are not recorded. The next "
                        "`pipeline sweep` records them."
                    ) from None
        yield


@contextlib.contextmanager
def _convert_errors() -> Iterator[None]:
    try:
        yield
    except SCMError:
        raise PipelineError(
            "DVC requires a git repository, but this folder is not in one. Run `git init`, or `dvc config --local "
            "core.no_scm true` to use DVC without git."
        ) from None
    except DvcException as error:
        raise PipelineError(f"DVC: {error}") from None
    except OSError as error:  # for example a full disk
        raise PipelineError(f"DVC: {user_message(error)}") from None
