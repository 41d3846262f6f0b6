"""Stages that were begun and have not ended well: what they last said, and how they ended.

A file a stage in `.scratch/attempts/`, which is no stage's output: it is there while the stage works, goes when the
work is done, and stays where the stage failed or was killed, so that the report can say why a run is not there.
"""

from __future__ import annotations

import contextlib
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from pipeline import runs
from pipeline.atomic_io import as_json, parsed, write_text
from pipeline.errors import PipelineError, user_message

LAST = 12  # lines that are kept
FOLDER = runs.SCRATCH / "attempts"

State = Literal["running", "failed", "killed"]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Attempt:
    """A stage that is under way, or that ended badly."""

    stage: str  # prepare, train, evaluate, compare, showcase, report, or sweep for what comes before any of them
    run: str  # empty where the stage is of the whole grid
    state: State
    reason: str  # a sentence: what went wrong, or how far it is
    lines: tuple[str, ...]  # what it last said
    ended: datetime  # when it last said something, in this machine's time

    @property
    def name(self) -> str:
        """As DVC calls the stage."""
        return f"{self.stage}@{self.run}" if self.run else self.stage


@contextlib.contextmanager
def attempt(stage: str, run: str = "", root: Path = Path()) -> Iterator[Say]:
    """A block that does the work of a stage; gives a function that takes what it says, a line a call.

    Whatever ends the block goes on as it came. Where the record itself cannot be written, the work goes on without.
    """
    path = _path(root, stage, run)
    lines: deque[str] = deque(maxlen=LAST)

    def record(state: State, reason: str) -> None:
        with contextlib.suppress(OSError):  # a full disk: the stage will say so itself
            write_text(path, as_json({"state": state, "reason": reason, "lines": list(lines)}))

    def say(line: str) -> None:
        lines.append(line)
        record("running", line)

    lock = _lock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except (OSError, Timeout):  # nowhere to write to, or the same is under way elsewhere, and that one tells
        yield lambda _: None
        if not _is_held(path):  # that one is gone, and the work is done all the same
            path.unlink(missing_ok=True)
        return
    try:
        record("running", "")
        try:
            yield say
        except (KeyboardInterrupt, SystemExit, BrokenPipeError):  # the last: who waited for it is gone
            if path.exists():  # or somebody took it away, who knows that the work was done before
                record("killed", _stopped(lines, "It was stopped"))
            raise
        except BaseException as error:
            if isinstance(error, (PipelineError, OSError)):
                reason = user_message(error)
                lines.append(reason)
            else:
                reason = f"{type(error).__name__}: {error}"
                lines.extend("".join(traceback.format_exception(error)).splitlines())
            record("failed", reason)
            raise
        path.unlink(missing_ok=True)
    finally:
        lock.release()


def read_attempt(stage: str, run: str = "", root: Path = Path()) -> Attempt | None:
    """What is known of a stage that is under way or ended badly; None where there is nothing to say of it."""
    path = _path(root, stage, run)
    if not path.exists():
        return None
    try:
        found = parsed(path, f"pipeline {stage}", lambda content: _read(stage, run, content, _when(path)))
    except PipelineError:  # a record that helps nobody must not stop anybody
        return Attempt(stage, run, "failed", f"How it ended is not known: {path} cannot be read.", (), _when(path))
    if found.state == "running" and not _is_held(path):
        ended = _stopped(found.lines, "Its process was killed")
        reason = f"{ended} Where memory was short, `pipeline sweep --jobs 1` leaves more for each."
        return replace(found, state="killed", reason=reason)
    return found


def forget_attempt(stage: str, run: str = "", root: Path = Path()) -> None:
    """Take a stage for done though its last attempt was not: what it makes is up to date after all."""
    _path(root, stage, run).unlink(missing_ok=True)


def read_attempts(root: Path = Path()) -> list[Attempt]:
    """All that is known, stages of the whole grid first."""
    places = [path.stem.partition("@") for path in sorted((root / FOLDER).glob("*.json"))]
    found = [read_attempt(stage, run, root) for stage, _, run in sorted(places, key=lambda place: place[2])]
    return [one for one in found if one is not None]


def _path(root: Path, stage: str, run: str) -> Path:
    return root / FOLDER / (f"{stage}@{Path(run).name}.json" if run else f"{stage}.json")


def _when(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime)


def _lock(path: Path) -> FileLock:
    """Held by the process that works, and let go by the system when that process is gone, however it went."""
    return FileLock(path.with_name(f"{path.name}.lock"))


def _is_held(path: Path) -> bool:
    lock = _lock(path)
    try:
        lock.acquire(timeout=0)
    except (OSError, Timeout):  # where nothing can be written, nothing was written of a death either
        return True
    lock.release()
    return False


def _stopped(lines: deque[str] | tuple[str, ...], how: str) -> str:
    return f"{how} after {lines[-1]}." if lines else f"{how} before it had said anything."


def _read(stage: str, run: str, content: dict[str, Any], ended: datetime) -> Attempt:
    state: State = content["state"]
    if state not in ("running", "failed", "killed"):
        raise KeyError(state)
    return Attempt(stage, run, state, str(content["reason"]), tuple(str(line) for line in content["lines"]), ended)
