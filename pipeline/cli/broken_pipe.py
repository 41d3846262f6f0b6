"""Exit without a message when the reader of the output has exited, as in `pipeline params | head -1`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from pipeline.runtime.operating_system import has_reader

EXIT_CODE = 141  # 128 + SIGPIPE, as reported by a shell for a program that SIGPIPE killed


@contextlib.contextmanager
def exit_on_broken_pipe() -> Iterator[None]:
    """Exit with `EXIT_CODE` if stdout or stderr is a broken pipe; other broken pipes remain errors.

    SIGPIPE itself remains ignored, which is Python's default, because it would kill a run without cleanup.
    """
    try:
        yield
    except (BrokenPipeError, SystemExit) as error:
        # rich turns a broken pipe into SystemExit.
        is_pipe = isinstance(error, BrokenPipeError) or isinstance(error.__context__, BrokenPipeError)
        broken = [stream for stream in (1, 2) if not has_reader(stream)]
        if not (is_pipe and broken):
            raise
        for stream in broken:
            _discard(stream)
        sys.exit(EXIT_CODE)


def flush_output() -> None:
    """Flush stdout and stderr, because errors cannot be handled when Python flushes them at exit."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()


def _discard(stream: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream)
    os.close(null)
