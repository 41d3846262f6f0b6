"""The one exception that a user's mistake raises, and the words for what the system refuses."""

from __future__ import annotations

import errno

_ADVICE = {
    errno.ENOSPC: "the disk is full. Free some space",
    errno.EDQUOT: "your disk quota is used up. Free some space",
    errno.EFBIG: "the file would be larger than this system allows. Raise the limit (ulimit -f)",
    errno.EROFS: "the disk is read-only. Make it writable",
}


class PipelineError(Exception):
    """Something that the user can mend; the command line prints its text, without a traceback, and exits with 1.

    The text names the file or key, what was found, what was expected and what to do.
    """


def user_message(error: PipelineError | OSError) -> str:
    """Say what is wrong and what to do; of an `OSError`, the file, the reason and the advice."""
    if isinstance(error, PipelineError):
        return str(error)
    name = error.filename2 or error.filename or "A file, which the system does not name"
    advice = _ADVICE.get(error.errno or 0, f"{error.strerror or error or type(error).__name__}. Fix this")
    return f"{name}: {advice}, then run the same command again."
