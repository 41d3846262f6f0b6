"""Record the status of stages that are running or did not succeed.

Each of these stages has a file in `.cache/attempts/`. The file exists while the stage runs. It is removed if the stage
succeeds, and kept if the stage fails or is killed, so that the report can name the reason.
"""

from __future__ import annotations

import contextlib
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from pipeline.artifacts.project import CACHE
from pipeline.artifacts.status import StageState
from pipeline.atomic_io import write_bytes
from pipeline.errors import PipelineError, user_message
from pipeline.runtime.work_lock import WorkLock

MAX_LINES = 12
FOLDER = CACHE / "attempts"


@dataclass(frozen=True)
class StageStatus:
    """Status of a stage that is running or did not succeed."""

    # prepare, train, evaluate, compare, showcase, ensemble or report; or sweep, for errors outside of these stages
    stage: str
    run: str  # empty for a stage of the whole grid
    state: StageState
    reason: str  # a sentence with the error; the latest message if the stage is running
    lines: tuple[str, ...]  # the last messages
    time: datetime  # local time of the last message

    @property
    def name(self) -> str:
        """Name of the stage in DVC."""
        return f"{self.stage}@{self.run}" if self.run else self.stage


_JSON = TypeAdapter(StageStatus)


@contextlib.contextmanager
def record_stage(stage: str, run: str = "", root: Path = Path()) -> Iterator[Callable[[str], None]]:
    """Record the status of a stage while a block runs it.

    Exceptions from the block are recorded and raised again. If the status cannot be written, it is not recorded.

    Yields:
        A function that records a message, one line per call.
    """
    path, name = _path(root, stage, run), Path(run).name
    lock = _lock(path)
    lines: deque[str] = deque(maxlen=MAX_LINES)

    def record(state: StageState, reason: str) -> None:
        with contextlib.suppress(OSError):  # for example a full disk, which the stage itself reports
            write_bytes(path, _JSON.dump_json(StageStatus(stage, name, state, reason, tuple(lines), datetime.now())))

    def report(line: str) -> None:
        lines.append(line)
        record("running", line)

    with contextlib.ExitStack() as stack:
        try:
            is_held = stack.enter_context(lock.try_hold())
        except OSError:
            is_held = False
        if not is_held:  # another process runs the same stage and records it
            yield lambda _: None
            if not lock.is_held():  # the other process has died, but this one has completed the stage
                path.unlink(missing_ok=True)
            return
        record("running", "")
        try:
            yield report
        except (KeyboardInterrupt, SystemExit, BrokenPipeError):  # broken pipe: the reader of the output has exited
            record("killed", _describe_end(lines, "It was stopped"))
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


def read_stage_status(stage: str, run: str = "", root: Path = Path()) -> StageStatus | None:
    """Read the status of a stage; None if the stage is not running and has not failed."""
    path = _path(root, stage, run)
    try:
        status = _JSON.validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValidationError):  # a broken status must not stop a command
        reason = f"The reason is unknown, because {path} cannot be read."
        return StageStatus(stage, run, "failed", reason, (), datetime.fromtimestamp(path.stat().st_mtime))
    if status.state == "running" and not _lock(path).is_held():
        end = _describe_end(status.lines, "Its process was killed")
        return replace(
            status,
            state="killed",
            reason=f"{end} If memory ran out, `pipeline sweep --workers 1` leaves more memory for each run.",
        )
    return status


def list_stage_statuses(root: Path = Path()) -> list[StageStatus]:
    """Read the status of all stages that are running or did not succeed, with stages of the whole grid first."""
    names = [path.stem.partition("@") for path in sorted((root / FOLDER).glob("*.json"))]
    found = [read_stage_status(stage, run, root) for stage, _, run in sorted(names, key=lambda name: name[2])]
    return [status for status in found if status is not None]


def clear_stage_status(stage: str, run: str = "", root: Path = Path()) -> None:
    """Remove the status of a stage whose results are up to date."""
    _path(root, stage, run).unlink(missing_ok=True)


def _path(root: Path, stage: str, run: str) -> Path:
    return root / FOLDER / (f"{stage}@{Path(run).name}.json" if run else f"{stage}.json")


def _lock(path: Path) -> WorkLock:
    return WorkLock(path.with_name(f"{path.name}.lock"))


def _describe_end(lines: deque[str] | tuple[str, ...], how: str) -> str:
    return f"{how} after {lines[-1]}." if lines else f"{how} before its first message."
