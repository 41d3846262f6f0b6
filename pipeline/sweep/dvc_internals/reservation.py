"""Reserve folders in DVC's record of readers and writers, so that `dvc repro` does not change them."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.rwlock import RWLOCK_FILE, rwlock

from pipeline.errors import PipelineError


@contextlib.contextmanager
def reserve_folders(repo: Repo, folders: Sequence[Path]) -> Iterator[None]:
    """Hold DVC's write lock on folders for the duration of a block. DVC ignores the locks of dead processes.

    Raises:
        PipelineError: A DVC command reads or writes one of the folders.
    """
    logging.getLogger("dvc.rwlock").setLevel(logging.ERROR)  # it warns about each lock of a dead process
    entries = rwlock(
        repo.tmp_dir,
        repo.fs,
        " ".join(sys.argv),  # the name that DVC's own calls in this process use, so that they are not blocked
        [],
        [str(folder.resolve()) for folder in folders],
        repo.config["core"].get("hardlink_lock", False),
    )
    try:
        entries.__enter__()
    except LockError as error:
        holders = re.findall(r"^ *\(PID (\d+)\): (.*)$", str(error), re.MULTILINE)
        named = ", ".join(f"`{command}` (process {process})" for process, command in holders) or str(error)
        raise PipelineError(
            f"Another DVC command uses these runs: {named}. Wait until it ends, or stop it, and run the same command "
            "again."
        ) from None
    try:
        yield
    finally:
        # DVC asserts that its entries still exist, but its own messages suggest removing the file by hand.
        with contextlib.suppress(AssertionError, DvcException):
            entries.__exit__(None, None, None)


def remove_broken_list(folder: Path) -> None:
    """Remove DVC's list of readers and writers if a killed process left it incomplete, since DVC commands would fail.

    `folder` is DVC's folder for temporary files.
    """
    path = folder / RWLOCK_FILE
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except ValueError:
        path.unlink(missing_ok=True)
